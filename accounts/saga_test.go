package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestRecoveryIgnoresChangesInProgress: while one process submits an operation, a recovery doesn't
// touch the change, neither in that process nor in another that has just started on the same store,
// even if the clock is set back meanwhile.
func TestRecoveryIgnoresChangesInProgress(t *testing.T) {
	dir := watch(t)
	clock := gatehousetest.NewClock()
	cfg := gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
		Logger: slog.New(slog.DiscardHandler), NoMaintenance: true, Now: clock.Now, DIDs: gatehouse.DIDs{Directory: dir},
	}
	store := memory.New()
	defer store.Close()
	start := func() *gatehouse.Server {
		t.Helper()
		srv, err := gatehouse.New(t.Context(), struct{ storage.Store }{store}, cfg) // several processes may have it open
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	srv := start()
	pending := func(when string, recovering *gatehouse.Server) {
		t.Helper()
		if err := recovering.Accounts.Maintain(ctx); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if a, err := srv.Accounts.Find(ctx, "alice.test"); !errors.Is(err, accounts.ErrNotFound) {
			t.Errorf("%s the sign-up was finished: %+v, %v", when, a, err)
		}
	}
	dir.submitted = func(context.Context) error {
		dir.submitted = nil
		pending("in the same process", srv)
		pending("in another process", start())
		clock.Advance(-time.Hour)
		pending("in the same process, with the clock set back", srv)
		pending("in another process, with the clock set back", start())
		return nil
	}
	if _, err := srv.Accounts.Create(ctx, params("alice")); err != nil {
		t.Fatal(err)
	}

	// When a process dies, another takes over after the time in which the first would have
	// finished.
	dies, die := context.WithCancel(ctx)
	dir.submitted = func(context.Context) error { panic("the process dies") }
	func() {
		defer die()
		defer func() { _ = recover() }()
		_, _ = srv.Accounts.Create(dies, params("bob"))
	}()
	dir.submitted = nil
	other := start()
	for _, want := range []bool{false, true} {
		if err := other.Accounts.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Accounts.Find(ctx, "bob.test"); (err == nil) != want {
			t.Errorf("finished: %t, want %t (%v)", err == nil, want, err)
		}
		clock.Advance(time.Minute)
	}
}

// TestTheOnlyProcessRecoversAtOnce: if the only process that can have the store open dies during a
// change, the next one recovers that at once, whatever the clock says.
func TestTheOnlyProcessRecoversAtOnce(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice, bob := s.SignUp("alice").Account, s.SignUp("bob").Account
	killed := func(what string, act func() error) {
		t.Helper()
		dir.submitted = func(context.Context) error { panic("the process dies") }
		defer func() {
			dir.submitted = nil
			if recover() == nil {
				t.Fatalf("%s: the process didn't die", what)
			}
		}()
		_ = act()
	}
	killed("a sign-up", func() error { _, err := s.Accounts.Create(ctx, params("carol")); return err })
	killed("a handle change", func() error { return s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false) })
	killed("a key rotation", func() error { _, err := s.Accounts.Identity().RotateSigningKey(ctx, bob.DID); return err })
	srv := s.Another(func(c *domaintest.Config) { c.Now = func() time.Time { return s.Now().Add(-time.Hour) } })
	if err := srv.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Accounts.Find(ctx, "carol.test"); err != nil {
		t.Errorf("the sign-up: %v", err)
	}
	if a, err := srv.Accounts.Get(ctx, alice.DID); err != nil || a.Handle != "alicia.test" {
		t.Errorf("the handle change: %+v, %v", a, err)
	}
	if a, err := srv.Accounts.Get(ctx, bob.DID); err != nil || a.SigningKey != dir.data(t, bob.DID).VerificationMethods[did.AtprotoKey] || a.SigningKey == bob.SigningKey {
		t.Errorf("the key rotation: %+v, %v", a, err)
	}
	if n := records(t, s, "did_changes"); n != 0 {
		t.Errorf("%d changes are left", n)
	}
}

// TestALostAnswerIsRecoveredAtOnce: a change is recovered without a delay if the process gave it up
// because the directory's answer was lost.
func TestALostAnswerIsRecoveredAtOnce(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account
	lost := fmt.Errorf("%w: in this test", did.ErrUnavailable)
	losing := func(what string, act func() error) {
		t.Helper()
		dir.submitted = func(context.Context) error {
			dir.asked = func() error { return lost }
			return lost
		}
		if err := act(); !errors.Is(err, accounts.ErrDirectory) {
			t.Errorf("%s: %v", what, err)
		}
		dir.submitted, dir.asked = nil, nil
	}
	losing("a sign-up", func() error { _, err := s.Accounts.Create(ctx, params("bob")); return err })
	losing("a handle change", func() error { return s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false) })
	if err := s.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	for _, handle := range []string{"bob.test", "alicia.test"} {
		if _, err := s.Accounts.Find(ctx, handle); err != nil {
			t.Errorf("%s: %v", handle, err)
		}
	}
}

// TestADIDIsTombstonedAfterALongOutage: the DID of a refused sign-up is tombstoned even if the
// directory was unavailable for two days.
func TestADIDIsTombstonedAfterALongOutage(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	hookOnce(s, accounts.Created, errVeto)
	var id syntax.DID
	gone := fmt.Errorf("%w: in this test", did.ErrUnavailable)
	s.AddHook(func(_ context.Context, _ storage.Tx, c accounts.Change) error {
		id = c.Account.DID
		return nil
	})
	dir.submitted = func(context.Context) error {
		dir.asked = func() error { return gone }
		return nil
	}
	if _, err := s.Accounts.Create(ctx, params("alice")); !errors.Is(err, errVeto) {
		t.Fatal(err)
	}
	dir.submitted = nil
	s.Advance(48 * time.Hour)
	if err := s.Accounts.Maintain(ctx); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("without a directory: %v", err)
	}
	dir.asked = nil
	if err := s.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := (&did.Registrar{Directory: dir.Directory}).Data(ctx, id); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("the DID: %v", err)
	}
	if n := records(t, s, "did_changes"); n != 0 {
		t.Errorf("%d changes are left", n)
	}
}

// earlier is a document of an earlier version.
type earlier struct {
	key     string
	values  map[string]string // of unique indexes
	ordered map[string]string
	json    string
}

func (e *earlier) MarshalJSON() ([]byte, error) { return []byte(e.json), nil }

func (e *earlier) UnmarshalJSON(b []byte) error { e.json = string(b); return nil }

// TestChangesOfAnEarlierVersionAreRecovered: sign-ups whose state is in their accounts, one of them
// published, and a tombstone that is stored as a deletion.
func TestChangesOfAnEarlierVersionAreRecovered(t *testing.T) {
	dir := watch(t)
	store := memory.New()
	defer store.Close()
	clock := gatehousetest.NewClock()
	key, err := did.ParseRotationKey("0101010101010101010101010101010101010101010101010101010101010101")
	if err != nil {
		t.Fatal(err)
	}
	plc := &did.Registrar{Directory: dir, Signer: key, PublicURL: "https://pds.test"}
	mint := func(label string) (syntax.DID, *did.Operation) {
		t.Helper()
		id, op, err := plc.Mint(ctx, did.MintParams{Handle: syntax.Handle(label + ".test"), SigningKey: "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"})
		if err != nil {
			t.Fatal(err)
		}
		return id, op
	}
	accountsBefore := storage.NewCollection("accounts", func(e *earlier) string { return e.key },
		storage.Unique("handle", func(e *earlier) string { return e.values["handle"] }),
		storage.Unique("email", func(e *earlier) string { return e.values["email"] }),
		storage.Ordered("pending", func(e *earlier) string { return e.ordered["pending"] }))
	changesBefore := storage.NewCollection("did_changes", func(e *earlier) string { return e.key },
		storage.Unique("to", func(e *earlier) string { return e.values["to"] }),
		storage.Ordered("until", func(e *earlier) string { return e.ordered["until"] }))
	for _, c := range []storage.Definer{accountsBefore, changesBefore} {
		table := c.Table()
		table.Owner = "" // that version stored none
		if err := store.Define(ctx, table); err != nil {
			t.Fatal(err)
		}
	}
	now := clock.Now().UTC().Truncate(time.Millisecond)
	put := func(c *storage.Collection[earlier], e *earlier) {
		t.Helper()
		if err := store.Update(ctx, func(tx storage.Tx) error { return c.Put(tx, e) }); err != nil {
			t.Fatal(err)
		}
	}
	for label, published := range map[string]bool{"alice": true, "bob": false} {
		id, op := mint(label)
		if published {
			if err := dir.Submit(ctx, id, op); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := json.Marshal(map[string]any{
			"did": id, "handle": label + ".test", "email": label + "@example.com", "createdAt": now, "status": "pending",
			"pending": map[string]any{"since": now, "operation": op},
		})
		if err != nil {
			t.Fatal(err)
		}
		put(accountsBefore, &earlier{
			key: id.String(), values: map[string]string{"handle": label + ".test", "email": label + "@example.com"},
			ordered: map[string]string{"pending": storage.TimeKey(now)}, json: string(raw),
		})
	}
	id, op := mint("carol")
	if err := dir.Submit(ctx, id, op); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"did": id, "kind": "deleted", "to": id, "since": now, "until": now})
	if err != nil {
		t.Fatal(err)
	}
	put(changesBefore, &earlier{
		key: storage.Join(id.String(), "deleted"), values: map[string]string{"to": storage.Join("deleted", id.String())},
		ordered: map[string]string{"until": storage.TimeKey(now)}, json: string(raw),
	})

	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1}, DIDs: gatehouse.DIDs{Directory: dir, RotationKey: key},
		Logger: slog.New(slog.DiscardHandler), NoMaintenance: true, Now: clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if page, err := srv.Accounts.List(ctx, "", 10); err != nil || len(page.Accounts) != 0 {
		t.Errorf("before the recovery: %v, %v", page, err)
	}
	clock.Advance(6 * time.Minute)
	if err := srv.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if page, err := srv.Accounts.List(ctx, "", 10); err != nil || len(page.Accounts) != 1 || page.Accounts[0].Handle != "alice.test" {
		t.Errorf("after the recovery: %v, %v", page, err)
	}
	if _, err := (&did.Registrar{Directory: dir}).Data(ctx, id); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("the DID that had to be tombstoned: %v", err)
	}
	if _, err := srv.Accounts.Create(ctx, params("bob")); err != nil {
		t.Errorf("the handle and the address of the sign-up that was undone: %v", err)
	}
	if problems, err := storage.Check(ctx, store, gatehouse.Collections()...); err != nil || len(problems) > 0 {
		t.Errorf("the store: %v, %v", problems, err)
	}
}
