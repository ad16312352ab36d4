package did_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	httpweb "github.com/gatehouse-at/gatehouse/web"
)

var ctx = context.Background()

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newLocal(t testing.TB) (*did.Local, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l, err := did.NewLocal(ctx, memory.New(), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// identities is a registrar with a directory, and the key of the owner of its DIDs.
type identities struct {
	*did.Registrar
	t       testing.TB
	owner   did.Signer // ranks above the server's key
	ownerID string
}

// minted is a new DID with its genesis operation.
type minted struct {
	DID       syntax.DID
	Operation *did.Operation
}

func newIdentities(t testing.TB, dir did.Directory) *identities {
	server, _ := newKey(t)
	owner, ownerID := newKey(t)
	return &identities{&did.Registrar{Directory: dir, Signer: server, PublicURL: "https://pds.example.com"}, t, owner, ownerID}
}

func (i *identities) mint() minted {
	i.t.Helper()
	_, signing := newKey(i.t)
	id, op, err := i.Mint(ctx, did.MintParams{Handle: "alice.test", SigningKey: signing, RecoveryKey: i.ownerID})
	if err != nil {
		i.t.Fatal(err)
	}
	return minted{id, op}
}

func (i *identities) submit(m minted) {
	i.t.Helper()
	if err := i.Submit(ctx, m.DID, m.Operation); err != nil {
		i.t.Fatal(err)
	}
}

// newDID publishes a DID in a directory.
func newDID(t testing.TB) (*did.Local, *identities, minted) {
	t.Helper()
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	return l, ids, m
}

// next makes the operation that follows another, signed by a key.
func next(t testing.TB, op *did.Operation, key did.Signer, change func(*did.Operation)) *did.Operation {
	t.Helper()
	n, err := op.Next()
	if err != nil {
		t.Fatal(err)
	}
	change(n)
	if err := n.Sign(key); err != nil {
		t.Fatal(err)
	}
	return n
}

func handle(h syntax.Handle) func(*did.Operation) { return func(o *did.Operation) { o.SetHandle(h) } }

// serve serves a local directory over HTTP. If fault isn't nil, it may answer requests instead.
func serve(t *testing.T, l *did.Local, fault func(http.ResponseWriter, *http.Request) bool) *httptest.Server {
	t.Helper()
	handler := httpweb.PLCDirectory(l, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault == nil || !fault(w, r) {
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func newClient(t *testing.T, url string) *did.Client {
	t.Helper()
	c, err := did.NewClient(did.ClientConfig{URL: url, Timeout: 2 * time.Second, Backoff: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
