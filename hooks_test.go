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

// unheard is a directory that takes operations, but whose answers are lost.
type unheard struct{ did.Directory }

func (d unheard) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	_ = d.Directory.Submit(ctx, id, op)
	return fmt.Errorf("%w: in this test", did.ErrUnavailable)
}

func (d unheard) Log(context.Context, syntax.DID) ([]*did.Operation, error) {
	return nil, fmt.Errorf("%w: in this test", did.ErrUnavailable)
}

// TestHooksSeeWhatIsRecoveredAtStart interrupts a sign-up, and starts another server on the store.
// It finishes the sign-up right away, and hooks see that like any other change.
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
		Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
		DIDs:  gatehouse.DIDs{Directory: unheard{directory}},
		Hooks: []accounts.Hook{func(_ context.Context, _ storage.Tx, c accounts.Change) error { seen <- c.Kind; return nil }},

		NoMaintenance: true, // so that the first server doesn't recover the sign-up that it is about to do
	}
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"}); err == nil {
		t.Fatal("the sign-up ended without an answer of the directory")
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if kind := <-seen; kind != accounts.Creating || len(seen) != 0 {
		t.Fatalf("the first change seen is %s, and there are %d more", kind, len(seen))
	}
	cfg.DIDs.Directory, cfg.NoMaintenance = directory, false
	cfg.Now = func() time.Time { return time.Now().Add(time.Second) } // so that the sign-up began before this start
	if srv, err = gatehouse.New(ctx, store, cfg); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	select {
	case kind := <-seen:
		if kind != accounts.Created {
			t.Errorf("the change seen at start is %s", kind)
		}
	case <-time.After(time.Minute):
		t.Fatal("the sign-up was not recovered, or no hook saw it")
	}
}

// TestAHookVetoes: what a hook refuses is refused over HTTP, with the message of the hook.
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

// closed is an error with a message for clients.
type closed struct{}

func (closed) Error() string         { return "closed" }
func (closed) PublicMessage() string { return "We are closed on Sundays" }
