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
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	httpweb "github.com/gatehouse-at/gatehouse/web"
)

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

func TestClientOfADirectoryUnderAPath(t *testing.T) {
	l, _ := newLocal(t)
	server := httptest.NewServer(http.StripPrefix("/plc", httpweb.PLCDirectory(l, nil)))
	defer server.Close()
	for _, path := range []string{"/plc", "/plc/"} {
		ids := newIdentities(t, newClient(t, server.URL+path))
		m := ids.mint()
		ids.submit(m)
		if d, err := ids.Data(ctx, m.DID); err != nil || d.Handle() != "alice.test" {
			t.Errorf("%s: %v, %v", path, d, err)
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
		{"accepts the operation and loses the answer", func(n int32, w http.ResponseWriter, r *http.Request) bool {
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
				if test.name == "accepts the operation and loses the answer" && r.Method == "POST" && n.Load() == 0 {
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

// TestClientAnswers gives the client answers of directories and of proxies in between, and genuine
// and forged logs.
func TestClientAnswers(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	m, other := ids.mint(), ids.mint()
	second := next(t, m.Operation, ids.Signer, handle("bob.test"))
	third := next(t, second, ids.Signer, handle("carol.test"))
	stranger, _ := newKey(t)
	encode := func(ops ...*did.Operation) string {
		b, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	forged := *second
	forged.AlsoKnownAs = []string{"at://mallory.test"}
	for _, c := range []struct {
		name   string
		status int
		answer string
		want   error
	}{
		{"a log", 200, encode(m.Operation, second, third), nil},
		{"another DID's log", 200, encode(other.Operation), did.ErrUnavailable},
		{"a log without its beginning", 200, encode(second, third), did.ErrUnavailable},
		{"a log with a gap", 200, encode(m.Operation, third), did.ErrUnavailable},
		{"a log with a fork", 200, encode(m.Operation, second, next(t, m.Operation, ids.owner, handle("x.test"))), did.ErrUnavailable},
		{"a log with a forged operation", 200, encode(m.Operation, &forged), did.ErrUnavailable},
		{"a log with a stranger's operation", 200, encode(m.Operation, next(t, m.Operation, stranger, handle("x.test"))), did.ErrUnavailable},
		{"a log with null in it", 200, encode(m.Operation, nil), did.ErrUnavailable},
		{"an empty log", 200, "[]", did.ErrUnavailable},
		{"half a log", 200, encode(m.Operation)[:100], did.ErrUnavailable},
		{"a page", 200, "<html>welcome</html>", did.ErrUnavailable},
		{"not found", 404, `{"message":"DID not registered"}`, did.ErrNotFound},
		{"gone", 410, `{"message":"DID not available"}`, did.ErrNotFound},
		{"not found, says a proxy", 404, "<html>no such page</html>", did.ErrUnavailable},
		{"forbidden", 403, `{"message":"go away"}`, did.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, l, func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
				return true
			})
			log, err := newClient(t, server.URL).Log(ctx, m.DID)
			if !errors.Is(err, c.want) || c.want == nil && (err != nil || len(log) != 3) {
				t.Errorf("Log: %v, %v; want %v", log, err, c.want)
			}
		})
	}
}

// TestClientContinuesAnOldLog makes an operation that follows the first form of a genesis
// operation.
func TestClientContinuesAnOldLog(t *testing.T) {
	v := loadVectors(t).Operations[4]
	l, _ := newLocal(t)
	server := serve(t, l, func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprintf(w, "[%s]", v.Op)
		return true
	})
	log, err := newClient(t, server.URL).Log(ctx, v.DID)
	if err != nil {
		t.Fatal(err)
	}
	op, err := log[len(log)-1].Next()
	if err != nil || op.Type != did.TypeOperation || op.Prev != v.CID || len(op.RotationKeys) != 2 || op.Data(v.DID).Handle() == "" {
		t.Errorf("the next operation is %+v, %v", op, err)
	}
}

func TestClientRequestsOnlyDIDs(t *testing.T) {
	l, _ := newLocal(t)
	server := serve(t, l, func(_ http.ResponseWriter, r *http.Request) bool {
		t.Errorf("%s %s was asked for", r.Method, r.URL)
		return false
	})
	c := newClient(t, server.URL)
	m := newIdentities(t, l).mint()
	for _, id := range []syntax.DID{
		"", "did:plc:", "did:plc:../../_health", "did:plc:aaaaaaaaaaaaaaaaaaaaaaa/", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa?x",
		"did:plc:AAAAAAAAAAAAAAAAAAAAAAAA", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:aaaaaaaaaaaaaaaaaaaaaaa1", "did:web:example.com",
	} {
		if _, err := c.Log(ctx, id); !errors.Is(err, did.ErrNotFound) {
			t.Errorf("the log of %q: %v", id, err)
		}
		if err := c.Submit(ctx, id, m.Operation); !errors.Is(err, did.ErrRefused) {
			t.Errorf("an operation of %q: %v", id, err)
		}
	}
}

// TestClientTimesOut uses a directory that begins an answer and doesn't end it.
func TestClientTimesOut(t *testing.T) {
	l, _ := newLocal(t)
	m := newIdentities(t, l).mint()
	release := make(chan struct{})
	var tries atomic.Int32
	server := serve(t, l, func(w http.ResponseWriter, _ *http.Request) bool {
		tries.Add(1)
		_, _ = io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		<-release
		return true
	})
	defer close(release)
	c, err := did.NewClient(did.ClientConfig{URL: server.URL, Timeout: 20 * time.Millisecond, Tries: 2, Backoff: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(ctx, m.DID, m.Operation); !errors.Is(err, did.ErrUnavailable) || tries.Load() != 2 {
		t.Errorf("Submit: %v after %d tries", err, tries.Load())
	}
}

func TestClientFollowsNoRedirects(t *testing.T) {
	l, _ := newLocal(t)
	elsewhere := serve(t, l, func(http.ResponseWriter, *http.Request) bool {
		t.Error("the redirect was followed")
		return false
	})
	server := serve(t, l, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusPermanentRedirect)
		return true
	})
	c, m := newClient(t, server.URL), newIdentities(t, l).mint()
	if err := c.Submit(ctx, m.DID, m.Operation); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("Submit: %v", err)
	}
	if _, err := c.Log(ctx, m.DID); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("Log: %v", err)
	}
}

func TestClientHonorsItsContext(t *testing.T) {
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
	for _, url := range []string{"plc.directory", "ftp://plc.directory", "https:///path", "https://user@plc.directory", "https://plc.directory?x", "https://plc.directory#x", "https://"} {
		if _, err := did.NewClient(did.ClientConfig{URL: url}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	for _, cfg := range []did.ClientConfig{{Timeout: -1}, {Tries: -1}, {Backoff: -1}} {
		if _, err := did.NewClient(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
