package gatehouse_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// deaf is a directory that takes operations, but can't be heard.
type deaf struct{ did.Directory }

func (d deaf) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	_ = d.Directory.Submit(ctx, id, op)
	return fmt.Errorf("%w: in this test", did.ErrUnavailable)
}

func (d deaf) Log(context.Context, syntax.DID) ([]*did.Operation, error) {
	return nil, fmt.Errorf("%w: in this test", did.ErrUnavailable)
}

// TestHooksSeeWhatIsRecoveredAtStart cuts a sign-up short and starts a server on its store, whose
// very first work is to finish it: that is a change like any other.
func TestHooksSeeWhatIsRecoveredAtStart(t *testing.T) {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	directory, err := did.NewLocal(ctx, memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan accounts.Kind, 10)
	cfg := gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1}, DIDs: gatehouse.DIDs{Directory: deaf{directory}},
		Hooks:         []accounts.Hook{func(_ context.Context, _ storage.Tx, c accounts.Change) error { seen <- c.Kind; return nil }},
		NoMaintenance: true, // the first server must not recover what it is about to do
	}
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"}); err == nil {
		t.Fatal("a directory that can't be heard ended a sign-up")
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if kind := <-seen; kind != accounts.Creating || len(seen) != 0 {
		t.Fatalf("first seen: %s, and %d more", kind, len(seen))
	}
	cfg.DIDs.Directory, cfg.NoMaintenance = directory, false
	cfg.Now = func() time.Time { return time.Now().Add(time.Second) } // what is pending is from before this start
	if srv, err = gatehouse.New(ctx, store, cfg); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	select {
	case kind := <-seen:
		if kind != accounts.Created {
			t.Errorf("seen at the start: %s", kind)
		}
	case <-time.After(time.Minute):
		t.Fatal("the sign-up was not recovered, or no hook saw it")
	}
}

// TestAHookVetoes refuses over HTTP what a hook refuses.
func TestAHookVetoes(t *testing.T) {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"},
		Hooks: []accounts.Hook{func(context.Context, storage.Tx, accounts.Change) error { return closed{} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	r := httptest.NewRequest("POST", "/xrpc/com.atproto.server.createAccount",
		strings.NewReader(`{"handle":"alice.test","email":"alice@example.com","password":"correct horse"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	if want := `{"error":"InvalidRequest","message":"We are closed on Sundays"}`; w.Code != 400 || w.Body.String() != want {
		t.Errorf("%d %s, want %s", w.Code, w.Body, want)
	}
}

// closed is an error that says what clients may see of it.
type closed struct{}

func (closed) Error() string         { return "closed" }
func (closed) PublicMessage() string { return "We are closed on Sundays" }
