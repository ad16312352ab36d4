package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// handlesOf returns an account's handle on the server and in its DID document.
func handlesOf(t *testing.T, s *api, directory did.Directory, id string) (here, there string) {
	t.Helper()
	a, err := s.Gatehouse.Accounts.Get(context.Background(), syntax.DID(id))
	if err != nil {
		t.Fatal(err)
	}
	op, err := (&did.Registrar{Directory: directory}).Data(context.Background(), syntax.DID(id))
	if err != nil {
		t.Fatal(err)
	}
	return "at://" + a.Handle.String(), op.AlsoKnownAs[0]
}

// TestHandleChangeWithAFaultyDirectory makes handle changes fail at the directory in every way. In
// the end the account and its DID document have the same handle, and no other handle stays
// reserved.
func TestHandleChangeWithAFaultyDirectory(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			directory := newFaulty(t)
			rotationKey := privateKey(t)
			plc := &did.Registrar{Directory: directory, Signer: rotationKey}
			s := newAPI(t, withStore(b.open(t)), config(func(c *gatehouse.Config) { c.DIDs.Directory, c.DIDs.RotationKey = directory, rotationKey }))
			alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
			agree := func(want string) {
				t.Helper()
				if here, there := handlesOf(t, s, directory, alice.DID); here != "at://"+want || there != here {
					t.Errorf("the account's handle is %s and its DID document's %s, want %s", here, there, want)
				}
			}

			// The directory refuses the operation: the new handle is free at once.
			directory.mode.Store(refuses)
			s.rename(alice, "refused.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			agree("alice.test")
			s.rename(bob, "refused.test").ok()

			// The directory isn't reachable: the new handle stays reserved for a few minutes.
			directory.mode.Store(unreachable)
			s.rename(alice, "lost.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			s.maintain()
			s.rename(bob, "lost.test").refused(400, "HandleNotAvailable", "Handle already taken: lost.test")
			s.do(nobody, "server.createAccount", object{"handle": "lost.test", "email": "lost@example.com", "password": "password"}).
				refused(400, "HandleNotAvailable", "Handle already taken: lost.test")
			agree("alice.test")
			s.Clock.Advance(6 * time.Minute)
			s.maintain()
			s.rename(bob, "lost.test").ok()
			agree("alice.test")

			// The directory accepts the operation but becomes unreachable: repeating the change
			// completes it, and so does the recovery pass.
			directory.mode.Store(dying)
			s.rename(alice, "again.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			s.rename(alice, "again.test").ok()
			agree("again.test")
			directory.mode.Store(dying)
			s.rename(alice, "found.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			s.maintain()
			agree("found.test")
			s.rename(bob, "again.test").ok() // the handle before it is free

			// The directory's answer is lost: the server finds the operation in the DID's log.
			directory.mode.Store(losesAnswer)
			s.rename(alice, "asked.test").ok()
			directory.mode.Store(works)
			agree("asked.test")

			// A DID document may list other names before the handle.
			if err := plc.Change(context.Background(), syntax.DID(alice.DID), func(op *did.Operation) {
				op.AlsoKnownAs = append([]string{"https://alice.example.com"}, op.AlsoKnownAs...)
			}); err != nil {
				t.Fatal(err)
			}
			directory.mode.Store(dying)
			s.rename(alice, "named.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			s.maintain()
			if a, err := s.Gatehouse.Accounts.Get(context.Background(), syntax.DID(alice.DID)); err != nil || a.Handle != "named.test" {
				t.Errorf("the account with another name before its handle: %+v, %v; want the handle named.test", a, err)
			}
			if err := plc.Change(context.Background(), syntax.DID(alice.DID), func(op *did.Operation) {
				op.AlsoKnownAs = op.AlsoKnownAs[1:]
			}); err != nil {
				t.Fatal(err)
			}

			// Another change is requested while the outcome of the first is unknown.
			directory.mode.Store(dying)
			s.rename(alice, "first.test").refused(502, "UpstreamFailure")
			directory.mode.Store(works)
			s.rename(alice, "second.test").ok()
			s.maintain()
			agree("second.test")
			s.rename(bob, "first.test").ok()
		})
	}
}

// TestRaceBetweenHandleChangesAndSignUps has accounts change to a handle while others sign up with
// it. Exactly one of them gets it.
func TestRaceBetweenHandleChangesAndSignUps(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		const changing = racers / 2
		var all []*gatehousetest.Account
		for i := range changing {
			all = append(all, s.signUp(fmt.Sprintf("racer%d.test", i)))
		}
		counts := tally(race(func(i int) *answer {
			if i < changing {
				return s.do(bearer(all[i].AccessJWT), "identity.updateHandle", object{"handle": "wanted.test"})
			}
			return s.do(nobody, "server.createAccount", object{
				"handle": "wanted.test", "email": fmt.Sprintf("other%d@example.com", i), "password": "password",
			})
		}))
		if counts[""] != 1 || counts["HandleNotAvailable"] != racers-1 {
			t.Errorf("answers by error: %v, want one success and HandleNotAvailable for the others", counts)
		}
		for _, a := range all {
			if here, there := handlesOf(t, s, s.Gatehouse.Directory, a.DID); here != there {
				t.Errorf("the account's handle is %s and its DID document's %s, want the same", here, there)
			}
		}
	})
}

// TestConcurrentHandleChangesOfOneAccount checks that concurrent changes leave the account and its
// DID document with the same new handle.
func TestConcurrentHandleChangesOfOneAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		counts := tally(race(func(i int) *answer {
			return s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": fmt.Sprintf("name%d.test", i)})
		}))
		if counts[""] == 0 || counts[""]+counts["InvalidRequest"] != racers {
			t.Errorf("answers by error: %v, want successes and InvalidRequest only", counts)
		}
		if here, there := handlesOf(t, s, s.Gatehouse.Directory, alice.DID); here != there || here == "at://alice.test" {
			t.Errorf("the account's handle is %s and its DID document's %s, want the same new one", here, there)
		}
	})
}
