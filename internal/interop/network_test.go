// Package interop tests the server with clients of other projects.
package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/auth/oauth"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/fetch"
)

// TestMain silences indigo's client, which logs each answer that asks for a nonce.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// The hosts of the network of a test.
const (
	serverOrigin = "https://pds.test"
	dataOrigin   = "https://data.test"
	appOrigin    = "https://app.example.com"
)

// network is a small internet on loopback: all names lead to one TLS server, which has a Gatehouse
// at pds.test and below it, and the documents of an application at app.example.com.
type network struct {
	t      *testing.T
	srv    *gatehousetest.Server // at pds.test
	client *http.Client          // of those who trust the network's certificate authority
	mux    *http.ServeMux
}

// account is an account with a second factor.
type account = *gatehousetest.Account

func newNetwork(t *testing.T, app *oauth.ClientConfig) *network {
	t.Helper()
	n := &network{t: t, mux: http.NewServeMux()}
	listening := httptest.NewUnstartedServer(nil)
	certificate, pool := newCertificate(t)
	listening.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, listening.Listener.Addr().String())
		},
	}
	n.client = &http.Client{Transport: transport}
	n.srv = n.serve("pds.test", "/", func(c *gatehouse.Config) { c.OAuth.Resources = []string{"did:web:data.test"} })
	n.mux.HandleFunc("GET app.example.com/client.json", func(w http.ResponseWriter, r *http.Request) {
		m := app.ClientMetadata()
		name := "Example"
		m.ClientName = &name
		if app.IsConfidential() {
			uri := appOrigin + "/jwks.json"
			m.JWKSURI = &uri
		}
		writeJSON(w, m)
	})
	n.mux.HandleFunc("GET app.example.com/jwks.json", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, app.PublicJWKS()) })
	listening.Config.Handler = n.mux
	listening.StartTLS()
	t.Cleanup(listening.Close)
	t.Cleanup(transport.CloseIdleConnections)
	return n
}

// serve adds a server for accounts below pds.test, and an embedder's route beside it.
func (n *network) serve(host, pattern string, configure func(*gatehouse.Config)) *gatehousetest.Server {
	n.t.Helper()
	srv := gatehousetest.NewServer(n.t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Hostname = host
		c.HandleDomains = []string{".pds.test"}
		c.PublicURL = "https://" + host
		c.Now = time.Now // indigo's client looks at its own clock
		c.OAuth.Documents = fetch.New(fetch.Config{Transport: n.client.Transport})
		configure(c)
	}))
	n.mux.Handle(pattern, srv.Gatehouse.Handler())
	n.mux.Handle("POST "+host+"/posts", srv.Gatehouse.RequireAuth(createPost)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, gatehouse.Auth(r.Context()).Account.DID.String())
	})))
	return srv
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// newCertificate returns a certificate for the hosts of the network, and who vouches for it.
func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"pds.test", "*.pds.test", "data.test", "app.example.com"},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// signUp creates an account with a second factor.
func (n *network) signUp(handle string) account {
	n.t.Helper()
	a := n.srv.CreateAccount(handle)
	emails, did := n.srv.Gatehouse.Accounts.Emails(), syntax.DID(a.DID)
	if err := emails.RequestConfirmation(n.t.Context(), did); err != nil {
		n.t.Fatal(err)
	}
	if err := emails.Confirm(n.t.Context(), did, a.Email, n.srv.Mail.Code(a.Email)); err != nil {
		n.t.Fatal(err)
	}
	if err := emails.Update(n.t.Context(), did, accounts.EmailUpdate{Address: a.Email, Factor: accounts.EnableFactor}); err != nil {
		n.t.Fatal(err)
	}
	return a
}
