package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
)

func withStore(s storage.Store) gatehousetest.Option { return gatehousetest.WithStore(s) }

func withHandler(wrap func(http.Handler) http.Handler) gatehousetest.Option {
	return gatehousetest.WithHandler(wrap)
}

// claimsOf returns what a token says, unverified.
func claimsOf(t *testing.T, token string) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// interleave is called whenever the server with an interleaving source of randomness makes an
// invite code, which is between its reading and its writing.
var interleave = func() {}

type interleaving struct{}

func (interleaving) Read(b []byte) (int, error) {
	if len(b) == 7 { // ten characters of five bits
		interleave()
	}
	return rand.Read(b)
}

var errMailDown = fmt.Errorf("%w: in this test", mail.ErrDelivery)
