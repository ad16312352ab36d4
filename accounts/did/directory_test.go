package did_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
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

// identities is a registrar over a directory, with the keys that it knows.
type identities struct {
	did.PLC
	t       testing.TB
	dir     did.Directory
	owner   did.Signer // ranks above the server's key
	ownerID string
}

func newIdentities(t testing.TB, dir did.Directory) *identities {
	server, _ := newKey(t)
	owner, ownerID := newKey(t)
	return &identities{did.PLC{Directory: dir, Signer: server, Endpoint: "https://pds.example.com"}, t, dir, owner, ownerID}
}

func (i *identities) mint() did.Minted {
	i.t.Helper()
	_, signing := newKey(i.t)
	m, err := i.Mint(ctx, did.MintParams{Handle: "alice.test", SigningKey: signing, RecoveryKey: i.ownerID})
	if err != nil {
		i.t.Fatal(err)
	}
	return m
}

func (i *identities) submit(m did.Minted) {
	i.t.Helper()
	if err := i.Submit(ctx, m.DID, m.Operation); err != nil {
		i.t.Fatal(err)
	}
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

func TestLocalTakesTheReferencesLog(t *testing.T) {
	l, _ := newLocal(t)
	for _, v := range loadVectors(t).Operations {
		op := parse(t, v.Op)
		for range 2 { // the second time it is there already
			if err := l.Submit(ctx, v.DID, op); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
		}
	}
}

func TestLocalChecksOperations(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	stranger, strangerID := newKey(t)
	m := ids.mint()
	refused := func(what string, id syntax.DID, op *did.Operation) {
		t.Helper()
		if err := l.Submit(ctx, id, op); !errors.Is(err, did.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("another's genesis", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", m.Operation)
	refused("a did:web", "did:web:example.com", m.Operation)
	second := next(t, m.Operation, ids.Signer, handle("bob.test"))
	refused("a second operation first", m.DID, second)
	forged := *m.Operation
	forged.AlsoKnownAs = []string{"at://mallory.test"}
	refused("a forged genesis", m.DID, &forged)
	ids.submit(m)
	ids.submit(m)
	refused("signed by a stranger", m.DID, next(t, m.Operation, stranger, handle("bob.test")))
	refused("signed by a key that it brings itself", m.DID, next(t, m.Operation, stranger, func(o *did.Operation) {
		o.RotationKeys = append(o.RotationKeys, strangerID)
	}))
	tampered := *second
	tampered.AlsoKnownAs = []string{"at://mallory.test"}
	refused("changed after it was signed", m.DID, &tampered)
	padded := *second
	padded.Sig += "="
	refused("a padded signature", m.DID, &padded)
	if err := l.Submit(ctx, m.DID, second); err != nil {
		t.Fatal(err)
	}
	refused("a fork by the same key", m.DID, next(t, m.Operation, ids.Signer, handle("carol.test")))
	tombstone := func(prev *did.Operation) *did.Operation {
		return next(t, prev, ids.Signer, func(o *did.Operation) { *o = did.Operation{Type: did.TypeTombstone, Prev: o.Prev} })
	}
	end := tombstone(second)
	if err := l.Submit(ctx, m.DID, end); err != nil {
		t.Fatal(err)
	}
	refused("after a tombstone", m.DID, tombstone(end))
	if _, err := did.Last(ctx, l, m.DID); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("Last after a tombstone: %v", err)
	}
}

func TestLocalRecoveryWithinThreeDays(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	for _, late := range []bool{false, true} {
		m := ids.mint()
		ids.submit(m)
		// The server's key is misused; the owner's key, which ranks above it, takes it back.
		stolen := next(t, m.Operation, ids.Signer, handle("mallory.test"))
		if err := l.Submit(ctx, m.DID, stolen); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(72 * time.Hour)
		if late {
			c.now = c.now.Add(time.Second)
		}
		err := l.Submit(ctx, m.DID, next(t, m.Operation, ids.owner, handle("alice2.test")))
		log, logErr := l.Log(ctx, m.DID)
		if logErr != nil {
			t.Fatal(logErr)
		}
		got := log[len(log)-1].Data(m.DID).Handle()
		if late {
			if !errors.Is(err, did.ErrRefused) || got != "mallory.test" {
				t.Errorf("after three days: %v, the handle is %s", err, got)
			}
			continue
		}
		audit, _ := l.Audit(ctx, m.DID)
		if err != nil || got != "alice2.test" || len(audit) != 3 || !audit[1].Nullified {
			t.Errorf("within three days: %v, the handle is %s, %+v", err, got, audit)
		}
	}
}

func TestLocalTakesOneOfTwoRivals(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		op := next(t, m.Operation, ids.Signer, handle(syntax.Handle(fmt.Sprintf("rival%d.test", i))))
		wg.Add(1)
		go func() {
			defer wg.Done()
			switch err := l.Submit(ctx, m.DID, op); {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, did.ErrRefused):
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d of 8 rivals were taken", taken.Load())
	}
}

// serve runs a local directory behind HTTP; fault may answer in its place.
func serve(t *testing.T, l *did.Local, fault func(http.ResponseWriter, *http.Request) bool) *httptest.Server {
	t.Helper()
	handler := xrpc.PLCDirectory(l)
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

func TestClient(t *testing.T) {
	l, _ := newLocal(t)
	c := newClient(t, serve(t, l, nil).URL)
	ids := newIdentities(t, c)
	m := ids.mint()
	if exists, err := ids.Exists(ctx, m.DID); err != nil || exists {
		t.Fatalf("before: %v, %v", exists, err)
	}
	ids.submit(m)
	ids.submit(m)
	if exists, err := ids.Exists(ctx, m.DID); err != nil || !exists {
		t.Fatalf("after: %v, %v", exists, err)
	}
	for range 2 {
		if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
			t.Fatal(err)
		}
	}
	log, err := c.Log(ctx, m.DID)
	if err != nil || len(log) != 2 || log[1].Data(m.DID).Handle() != "alice2.test" {
		t.Errorf("the log is %v, %v", log, err)
	}
	stranger, _ := newKey(t)
	if err := c.Submit(ctx, m.DID, next(t, log[1], stranger, handle("x.test"))); !errors.Is(err, did.ErrRefused) {
		t.Errorf("an operation of a stranger: %v", err)
	}
	for _, id := range []syntax.DID{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:example.com", "did:plc:../../x"} {
		if _, err := c.Log(ctx, id); !errors.Is(err, did.ErrNotFound) {
			t.Errorf("the log of %s: %v", id, err)
		}
	}
}

func TestClientWithAFaultyDirectory(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(n int32, w http.ResponseWriter, r *http.Request) bool
		want  error // of Submit
	}{
		{"fails twice", func(n int32, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				w.WriteHeader(500)
			}
			return n <= 2
		}, nil},
		{"always fails", func(_ int32, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }, did.ErrUnavailable},
		{"is too busy", func(_ int32, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(429); return true }, did.ErrUnavailable},
		{"hangs up", func(int32, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, did.ErrUnavailable},
		{"redirects", func(_ int32, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
			return true
		}, did.ErrUnavailable},
		{"answers without end", func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.Copy(w, io.LimitReader(neverEnding{}, 64<<20))
			return true
		}, did.ErrUnavailable},
		{"takes the operation and loses the answer", func(n int32, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "POST" || n > 1 {
				return false
			}
			panic(http.ErrAbortHandler)
		}, nil},
		{"says no", func(_ int32, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				w.WriteHeader(400)
				return true
			}
			return false
		}, did.ErrRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, _ := newLocal(t)
			ids := newIdentities(t, l)
			m := ids.mint()
			var n atomic.Int32
			server := serve(t, l, func(w http.ResponseWriter, r *http.Request) bool {
				if test.name == "takes the operation and loses the answer" && r.Method == "POST" && n.Load() == 0 {
					if err := l.Submit(r.Context(), m.DID, m.Operation); err != nil {
						t.Error(err)
					}
				}
				return test.fault(n.Add(1), w, r)
			})
			err := newClient(t, server.URL).Submit(ctx, m.DID, m.Operation)
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("Submit: %v, want %v", err, test.want)
			}
		})
	}
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) {
	return copy(b, bytes.Repeat([]byte(" "), len(b))), nil
}

func TestClientHonoursItsContext(t *testing.T) {
	l, _ := newLocal(t)
	release := make(chan struct{})
	defer close(release)
	arrived := make(chan struct{}, 8)
	server := serve(t, l, func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return true
	})
	ctx, cancel := context.WithCancel(ctx)
	go func() { <-arrived; cancel() }()
	if _, err := newClient(t, server.URL).Log(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); !errors.Is(err, context.Canceled) {
		t.Errorf("Log: %v", err)
	}
}

func TestClientRefusesBadURLs(t *testing.T) {
	for _, url := range []string{"plc.directory", "ftp://plc.directory", "https://plc.directory/path", "https://user@plc.directory", "https://plc.directory?x", "https://"} {
		if _, err := did.NewClient(did.ClientConfig{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

// TestDirectoryFormat reads the local directory as indigo's resolver does.
func TestDirectoryFormat(t *testing.T) {
	l, _ := newLocal(t)
	server := serve(t, l, nil)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
		t.Fatal(err)
	}
	base := identity.BaseDirectory{PLCURL: server.URL}
	doc, err := base.ResolveDID(ctx, m.DID)
	if err != nil {
		t.Fatal(err)
	}
	id := identity.ParseIdentity(doc)
	key, err := id.PublicKey()
	if err != nil || key.DIDKey() != m.Operation.VerificationMethods["atproto"] {
		t.Errorf("the signing key is %v, %v", key, err)
	}
	if h, err := id.DeclaredHandle(); err != nil || h != "alice2.test" || id.PDSEndpoint() != "https://pds.example.com" {
		t.Errorf("the identity is %+v, %v", id, err)
	}
	for path, want := range map[string]string{
		"":           `"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/v1","https://w3id.org/security/suites/secp256k1-2019/v1"]`,
		"/data":      `"alsoKnownAs":["at://alice2.test"]`,
		"/log":       `"prev":null`,
		"/log/audit": `"nullified":false`,
		"/log/last":  `"alsoKnownAs":["at://alice2.test"]`,
	} {
		resp, err := http.Get(server.URL + "/" + m.DID.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !json.Valid(body) || !strings.Contains(string(body), want) {
			t.Errorf("GET /{did}%s: %d %s", path, resp.StatusCode, body)
		}
	}
	resp, err := http.Get(server.URL + "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("an unknown DID: %v, %v", resp, err)
	}
	resp, err = http.Post(server.URL+"/"+m.DID.String(), "application/json", strings.NewReader("{}"))
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("no operation: %v, %v", resp, err)
	}
}

func TestResolver(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	r, err := did.NewResolver(did.ResolverConfig{Directory: l, Now: c.Now, Foreign: func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
		return json.RawMessage(`{"id":"` + id + `"}`), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := func(handle string) {
		t.Helper()
		doc, err := r.Resolve(ctx, m.DID)
		if err != nil || !strings.Contains(string(doc), handle) {
			t.Errorf("the document is %s, %v; want %s in it", doc, err, handle)
		}
	}
	want("alice.test")
	if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
		t.Fatal(err)
	}
	want("alice.test") // remembered
	r.Forget(m.DID)
	want("alice2.test")
	if err := ids.Change(ctx, m.DID, handle("alice3.test")); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(5 * time.Minute)
	want("alice3.test")
	if doc, err := r.Resolve(ctx, "did:web:example.com"); err != nil || string(doc) != `{"id":"did:web:example.com"}` {
		t.Errorf("a foreign DID: %s, %v", doc, err)
	}
	if _, err := r.Resolve(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("an unknown DID: %v", err)
	}
}

func TestWebDID(t *testing.T) {
	for host, want := range map[string]syntax.DID{
		"alice.example.com": "did:web:alice.example.com", "LOCALHOST:2583": "did:web:localhost%3A2583",
	} {
		if got, err := did.WebDID(host); err != nil || got != want {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
	if got, err := did.WebDID("no host"); err == nil {
		t.Errorf("no host: %s", got)
	}
}

func TestCheckRecoveryKey(t *testing.T) {
	_, key := newKey(t)
	for k, good := range map[string]bool{"": true, key: true, "did:plc:x": false, "did:key:z": false, "nonsense": false} {
		if err := did.CheckRecoveryKey(k); (err == nil) != good {
			t.Errorf("%q: %v", k, err)
		}
	}
}
