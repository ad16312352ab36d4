package invites_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestStandingsOfAnEarlierVersionAreKept starts on a store of an earlier version, in which the
// documents of accounts contain their standings.
func TestStandingsOfAnEarlierVersionAreKept(t *testing.T) {
	store := memory.New()
	defer store.Close()
	type account map[string]any
	value := func(name string) func(*account) string {
		return func(a *account) string { text, _ := (*a)[name].(string); return text }
	}
	before := storage.NewCollection("accounts", value("did"),
		storage.Unique("handle", value("handle")), storage.Unique("email", value("email")), storage.Ordered("pending", value("pending")))
	table := before.Table()
	table.Owner = "" // that version recorded no owner
	if err := store.Define(ctx, table); err != nil {
		t.Fatal(err)
	}
	const many = 1002 // more than one transaction reads
	id := func(i int) syntax.DID { return syntax.DID(fmt.Sprintf("did:web:a%04d.test", i)) }
	err := store.Update(ctx, func(tx storage.Tx) error {
		for i := range many {
			a := account{"did": id(i).String(), "handle": fmt.Sprintf("a%04d.test", i), "createdAt": "2026-01-01T00:00:00Z", "status": "active"}
			switch i {
			case 0, many - 1:
				a["invitesDisabled"], a["inviteNote"] = true, "spam"
			case 1:
				a["inviteNote"] = "sorry"
			}
			if err := before.Put(tx, &a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	start := func() *gatehouse.Server {
		t.Helper()
		srv, err := gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "pds.test", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
			Logger: slog.New(slog.DiscardHandler), NoMaintenance: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	want := func(srv *gatehouse.Server, i int, want invites.Standing) {
		t.Helper()
		sum, err := srv.Invites.Of(ctx, id(i))
		if err != nil || sum.Standing != want {
			t.Errorf("account %d: %+v, %v; want %+v", i, sum.Standing, err, want)
		}
	}
	srv := start()
	want(srv, 0, invites.Standing{Disabled: true, Note: "spam"})
	want(srv, many-1, invites.Standing{Disabled: true, Note: "spam"})
	want(srv, 1, invites.Standing{Note: "sorry"})
	want(srv, 2, invites.Standing{})
	err = errors.Join(srv.Invites.SetStanding(ctx, id(0), invites.Standing{}), srv.Accounts.DeleteNow(ctx, id(1)), srv.Close())
	if err != nil {
		t.Fatal(err)
	}
	srv = start()
	defer srv.Close()
	want(srv, 0, invites.Standing{})
	want(srv, many-1, invites.Standing{Disabled: true, Note: "spam"})
}
