package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// Tests of former handles, which are held for the accounts that had them.

// holding sets the default hold of handles, which test servers otherwise switch off.
var holding = config(func(c *gatehouse.Config) { c.Handles.Hold = 0 })

const (
	handleHold  = 30 * 24 * time.Hour
	heldHandles = "held_handles" // the table
)

// rename changes an account's handle with the account's token.
func (s *api) rename(a *gatehousetest.Account, handle string) *answer {
	s.t.Helper()
	return s.do(bearer(a.AccessJWT), "identity.updateHandle", object{"handle": handle})
}

// give changes an account's handle as an admin.
func (s *api) give(a *gatehousetest.Account, handle string) *answer {
	s.t.Helper()
	return s.do(admin, "admin.updateAccountHandle", object{"did": a.DID, "handle": handle})
}

// take signs up a new account with a handle.
func (s *api) take(handle string, more ...object) *answer {
	s.t.Helper()
	label, _, _ := strings.Cut(newHandle(), ".")
	return s.do(nobody, "server.createAccount", applicant(label, append(more, object{"handle": handle})...))
}

// offered calls checkHandleAvailability, and returns whether the handle is available and which
// handles are suggested in its place.
func (s *api) offered(handle string) (available bool, suggestions string) {
	s.t.Helper()
	result := s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle}).ok()["result"].(object)
	const prefix = "com.atproto.temp.checkHandleAvailability#"
	if kind := result["$type"]; kind != prefix+"resultAvailable" && kind != prefix+"resultUnavailable" {
		s.t.Errorf("checkHandleAvailability of %s: %v", handle, result)
	}
	return result["$type"] == prefix+"resultAvailable", fmt.Sprint(result["suggestions"])
}

// keeps checks that a handle is held back from others: neither a new account nor the account from
// gets it, and it isn't available.
func (s *api) keeps(from *gatehousetest.Account, handle string) {
	s.t.Helper()
	message := "Handle already taken: " + strings.ToLower(handle)
	s.take(handle).refused(400, "HandleNotAvailable", message)
	s.rename(from, handle).refused(400, "HandleNotAvailable", message)
	if available, _ := s.offered(handle); available {
		s.t.Errorf("checkHandleAvailability says that %s is available, want it held", handle)
	}
}

// doesNotResolve checks that a handle doesn't resolve.
func (s *api) doesNotResolve(handle string) {
	s.t.Helper()
	s.do(nobody, "identity.resolveHandle", object{"handle": handle}).refused(400, "HandleNotFound", "Unable to resolve handle")
	if status, body := s.get(handle, "/.well-known/atproto-did"); status != 404 {
		s.t.Errorf("atproto-did at %s: %d %s, want 404", handle, status, body)
	}
}

func TestFormerHandlesAreHeldForTheirOwners(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice, mallory := s.signUp("alice.test"), s.signUp("mallory.test")
				s.rename(alice, "alicia.test").ok()
				s.keeps(mallory, "alice.test")
				s.keeps(mallory, "ALICE.test")
				s.doesNotResolve("alice.test")
				s.login("alice.test", alice.Password).refused(401, "AuthenticationRequired", "Invalid identifier or password")

				// The owner takes the handle back, and the one given up for it is held instead.
				s.rename(alice, "Alice.test").ok()
				s.keeps(mallory, "alicia.test")
				s.doesNotResolve("alicia.test")
				if got := s.do(nobody, "identity.resolveHandle", object{"handle": "alice.test"}).text("did"); got != alice.DID {
					t.Errorf("alice.test resolves to %s, want %s", got, alice.DID)
				}
				if n := s.rows(heldHandles); n != 1 {
					t.Errorf("%d handles are held, want 1", n)
				}

				// Repeating the change doesn't prolong the hold.
				s.Clock.Advance(handleHold - time.Hour)
				s.again(alice)
				s.again(mallory)
				s.rename(alice, "alice.test").ok()
				s.maintain()
				s.Clock.Advance(time.Hour - time.Millisecond)
				s.keeps(mallory, "alicia.test")
				s.Clock.Advance(time.Millisecond)
				if available, _ := s.offered("alicia.test"); !available {
					t.Error("alicia.test isn't available after its hold has expired")
				}
				s.rename(mallory, "alicia.test").ok() // the expired hold is not purged yet
				s.maintain()
				if n := s.rows(heldHandles); n != 1 { // mallory.test is held now
					t.Errorf("%d handles are held, want 1", n)
				}
				s.rename(alice, "alicia.test").refused(400, "HandleNotAvailable", "Handle already taken: alicia.test")
				s.Clock.Advance(handleHold)
				s.maintain()
				if n := s.rows(heldHandles); n != 0 {
					t.Errorf("%d handles are held, want none", n)
				}
			}, holding, config(func(c *gatehouse.Config) { c.DIDs.Method = method }))
		})
	}
}

func TestHeldHandlesAreNotSuggested(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.signUp("wanted.test")
		if _, suggestions := s.offered("wanted.test"); !contains(suggestions, "wanted-1.test") {
			t.Fatalf("the suggestions are %s, want wanted-1.test among them", suggestions)
		}
		bob := s.signUp("wanted-1.test")
		s.rename(bob, "bob.test").ok()
		if available, suggestions := s.offered("wanted.test"); available || contains(suggestions, "wanted-1.test") || !contains(suggestions, "wanted-2.test") {
			t.Errorf("available: %t, suggestions: %s; want wanted-2.test suggested and not the held wanted-1.test", available, suggestions)
		}
		s.Clock.Advance(handleHold)
		if _, suggestions := s.offered("wanted.test"); !contains(suggestions, "wanted-1.test") {
			t.Errorf("the suggestions are %s, want wanted-1.test among them after its hold has expired", suggestions)
		}
	}, holding)
}

func TestAdminsCanReassignHeldHandles(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob, mallory := s.signUp("alice.test"), s.signUp("bob.test"), s.signUp("mallory.test")
		s.rename(alice, "alicia.test").ok()
		s.give(bob, "alice.test").ok()
		s.take("bob.test").ok() // a handle that an admin replaces isn't held
		s.rename(alice, "alice.test").refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
		// From then on bob is its owner, and can take it back.
		s.rename(bob, "bobby.test").ok()
		s.keeps(mallory, "alice.test")
		s.keeps(alice, "alice.test")
		s.rename(bob, "alice.test").ok()

		// The former owner can't take back a handle that an admin has reserved.
		s.rename(mallory, "malory.test").ok()
		s.do(admin, "temp.addReservedHandle", object{"handle": "mallory.test"}).ok()
		s.rename(mallory, "mallory.test").refused(400, "HandleNotAvailable", "Reserved handle")
		s.give(mallory, "mallory.test").ok()
		s.take("malory.test").ok()
	}, holding)
}

// TestRevokedSessionsCannotReclaimHandles checks that neither an ended session nor the token of a
// taken-down account can take back a handle, which stays held for its owner.
func TestRevokedSessionsCannotReclaimHandles(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		mallory := s.signUp("mallory.test")
		for _, e := range append([]ending{revocation}, endings...) {
			alice := s.someone()
			old, now := alice.Handle, newHandle()
			thief := *alice
			if e.name == revocation.name {
				_, app := s.appLogin(alice, "kept", false)
				thief.AccessJWT = app["accessJwt"].(string)
			}
			s.rename(alice, now).ok()
			e.end(s, alice)
			e.refuses(s.rename(&thief, old))
			if e.name == "a takedown" {
				thief.AccessJWT = s.leave(alice).text("accessJwt")
				s.rename(&thief, old).refused(400, "InvalidToken", "Bad token scope")
			}
			s.doesNotResolve(old)
			info := s.do(admin, "admin.getAccountInfo", object{"did": alice.DID})
			if info.status != 200 { // the account was deleted, and its holds with it
				s.take(old).ok()
				continue
			}
			if info.object["handle"] != now {
				t.Errorf("the account's handle after %s is %v, want %s", e.name, info.object["handle"], now)
			}
			s.keeps(mallory, old)
		}
	}, holding)
}

func TestHandlesOnForeignDomainsAreNotHeld(t *testing.T) {
	t.Parallel()
	network := handles{}
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
		network["name.example.com"] = syntax.DID(alice.DID)
		s.rename(alice, "name.example.com").ok()
		s.keeps(bob, "alice.test")
		s.rename(alice, "alicia.test").ok()
		network["name.example.com"] = syntax.DID(bob.DID) // the domain has got another owner
		s.rename(bob, "name.example.com").ok()
	}, holding, config(func(c *gatehouse.Config) { c.Handles.Resolver = network }))
}

// TestHandleHoldIsConfigurable checks that the operator can switch holds off or change their
// length.
func TestHandleHoldIsConfigurable(t *testing.T) {
	t.Parallel()
	for hold, want := range map[time.Duration]time.Duration{-1: 0, time.Hour: time.Hour, 0: handleHold} {
		t.Run(hold.String(), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
				s.rename(alice, "alicia.test").ok()
				if want > 0 {
					s.Clock.Advance(want - time.Millisecond)
					s.again(bob)
					s.keeps(bob, "alice.test")
					s.Clock.Advance(time.Millisecond)
				}
				s.take("alice.test").ok()
			}, config(func(c *gatehouse.Config) { c.Handles.Hold = hold }))
		})
	}
}

// TestThievesCannotEvictHeldHandles checks that a handle stays held for its owner although a thief
// with the owner's app password gives up more handles than an account can have held, or takes the
// handle back and gives it up again when the account has no place left.
func TestThievesCannotEvictHeldHandles(t *testing.T) {
	t.Parallel()
	const most = 10
	onEach(t, func(t *testing.T, s *api) {
		alice, mallory := s.signUp("alice.test"), s.signUp("mallory.test")
		password, _ := s.appLogin(alice, "a careless app", false)
		thief := &gatehousetest.Account{DID: alice.DID, Password: password}
		s.again(thief)
		others := func(round string) {
			t.Helper()
			for i := range most + 2 {
				s.rename(thief, fmt.Sprintf("%s%d.test", round, i)).ok()
			}
			s.keeps(mallory, "alice.test")
			if n := s.rows(heldHandles); n != most {
				t.Errorf("%d handles are held, want %d", n, most)
			}
		}
		others("first")
		s.keeps(mallory, "first8.test")
		s.take("first9.test").ok() // not held, since the account has no place left
		for range 3 {
			s.rename(thief, "alice.test").ok()
			s.rename(thief, newHandle()).ok()
			s.keeps(mallory, "alice.test")
		}
		// The same some weeks later, when the first holds expire.
		s.Clock.Advance(20 * 24 * time.Hour)
		s.again(thief)
		s.again(mallory)
		s.rename(thief, "alice.test").ok()
		others("second")
		s.Clock.Advance(15 * 24 * time.Hour)
		s.maintain()
		s.again(thief)
		s.again(mallory)
		s.keeps(mallory, "alice.test")
		others("third")

		s.again(alice)
		s.rename(alice, "alice.test").ok()
		// An expired hold takes no place, even if it is not purged yet.
		s.Clock.Advance(handleHold)
		s.again(alice)
		s.again(mallory)
		s.rename(alice, "alicia.test").ok()
		s.rename(alice, newHandle()).ok()
		s.keeps(mallory, "alice.test")
		s.keeps(mallory, "alicia.test")
		// The holds of one account take no places of another.
		s.rename(mallory, "malory.test").ok()
		s.keeps(alice, "mallory.test")
	}, holding)
}

func TestHandleOfADeletedAccount(t *testing.T) {
	t.Parallel()
	leave := func(s *api, a *gatehousetest.Account) {
		s.t.Helper()
		s.do(bearer(a.AccessJWT), "server.requestAccountDelete", nil).ok()
		s.do(nobody, "server.deleteAccount", object{"did": a.DID, "password": a.Password, "token": s.Mail.Code(a.Email)}).ok()
	}
	t.Run("is free", func(t *testing.T) {
		onEach(t, func(t *testing.T, s *api) {
			alice := s.signUp("alice.test")
			s.rename(alice, "alicia.test").ok()
			leave(s, alice)
			if n := s.rows(heldHandles); n != 0 {
				t.Errorf("%d handles are held for a deleted account, want none", n)
			}
			s.take("alicia.test").ok()
			s.take("alice.test").ok() // alice may sign up again
		}, holding)
	})
	// With did:web, a new account with the handle would get the same DID. That doesn't make it the
	// former owner, so the handle is held from it too.
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run("is held with did:"+string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice, bob, carol := s.signUp("alice.test"), s.signUp("bob.test"), s.signUp("carol.test")
				s.rename(carol, "caroline.test").ok()
				leave(s, alice)
				s.do(admin, "admin.deleteAccount", object{"did": carol.DID}).ok()
				for _, handle := range []string{"alice.test", "carol.test", "caroline.test"} {
					s.keeps(bob, handle)
					s.doesNotResolve(handle)
				}
				s.take("alice.test", object{"did": alice.DID}).refused(401, "AuthenticationRequired")
				s.Clock.Advance(7*24*time.Hour - time.Millisecond)
				s.again(bob)
				s.keeps(bob, "alice.test")
				s.give(bob, "carol.test").ok()
				s.Clock.Advance(time.Millisecond)
				s.take("alice.test").ok()
				s.take("caroline.test").ok()
				s.maintain()
				if n := s.rows(heldHandles); n != 0 {
					t.Errorf("%d handles are held, want none", n)
				}
			}, holding, config(func(c *gatehouse.Config) { c.DIDs.Method, c.Handles.HoldAfterDeletion = method, 7*24*time.Hour }))
		})
	}
}

// TestReturningAccountReclaimsItsHandle checks that a deleted account that returns with its DID
// gets the handle that is held for it.
func TestReturningAccountReclaimsItsHandle(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, mallory, local := s.outsider(), s.outsider(), s.signUp("bob.test")
		come := func(who *outsider) *answer {
			t.Helper()
			id := who.id.String()
			return s.do(bearer(s.serviceToken(who.key, id, "server.createAccount")), "server.createAccount",
				object{"did": id, "handle": "alice.test", "email": newHandle() + "@example.com", "password": "password"})
		}
		come(alice).ok()
		s.do(admin, "admin.deleteAccount", object{"did": alice.id}).ok()
		s.keeps(local, "alice.test")
		come(mallory).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
		s.take("alice.test", object{"did": alice.id.String()}).refused(401, "AuthenticationRequired") // without service auth
		if back := come(alice); back.text("did") != alice.id.String() || back.text("handle") != "alice.test" {
			t.Errorf("createAccount of the returning account: %s, want %s with alice.test", back.body, alice.id)
		}
		if n := s.rows(heldHandles); n != 0 {
			t.Errorf("%d handles are held, want none", n)
		}
	}, holding, config(func(c *gatehouse.Config) { c.Handles.HoldAfterDeletion = 7 * 24 * time.Hour }))
}

// TestRaceForAHandleWhoseHoldExpires checks that nobody gets a handle while its owner is giving it
// up, and that exactly one of many competitors gets it when the hold expires.
func TestRaceForAHandleWhoseHoldExpires(t *testing.T) {
	t.Parallel()
	const changing = racers / 2
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		all := []*gatehousetest.Account{alice}
		for i := 1; i < changing; i++ {
			all = append(all, s.signUp(fmt.Sprintf("racer%d.test", i)))
		}
		take := func(i int) *answer {
			if i < changing {
				return s.rename(all[i], "alice.test")
			}
			return s.take("alice.test")
		}
		counts := tally(race(func(i int) *answer {
			if i == 0 {
				return s.rename(alice, "alicia.test")
			}
			return take(i)
		}))
		if counts[""] != 1 || counts["HandleNotAvailable"] != racers-1 {
			t.Errorf("answers by error while the handle is given up: %v, want only the owner's change to succeed", counts)
		}
		s.Clock.Advance(handleHold)
		for _, a := range all {
			s.again(a)
		}
		if counts := tally(race(take)); counts[""] != 1 || counts["HandleNotAvailable"] != racers-1 {
			t.Errorf("answers by error when the hold has expired: %v, want one success and HandleNotAvailable for the others", counts)
		}
		for _, a := range all {
			if here, there := handlesOf(t, s, s.Gatehouse.Directory, a.DID); here != there {
				t.Errorf("the account's handle is %s and its DID document's %s, want the same", here, there)
			}
		}
	}, holding)
}

// TestInterruptedHandleChangesHoldOnce checks that an interrupted change holds the old handle once,
// whether the recovery pass or another call completes it, and that a failed change holds nothing.
func TestInterruptedHandleChangesHoldOnce(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			directory := newFaulty(t)
			s := newAPI(t, withStore(b.open(t)), holding, config(func(c *gatehouse.Config) { c.DIDs.Directory = directory }))
			alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
			fails := func(how string, change func() *answer) {
				t.Helper()
				directory.mode.Store(how)
				change().refused(502, "UpstreamFailure")
				directory.mode.Store(works)
			}
			has := func(handle string, held int) {
				t.Helper()
				if here, there := handlesOf(t, s, directory, alice.DID); here != "at://"+handle || there != here {
					t.Errorf("the account's handle is %s and its DID document's %s, want %s", here, there, handle)
				}
				if n := s.rows(heldHandles); n != held {
					t.Errorf("%d handles are held, want %d", n, held)
				}
			}
			to := func(handle string) func() *answer {
				return func() *answer { t.Helper(); return s.rename(alice, handle) }
			}

			// The change fails: the directory refuses it, or is unreachable for too long.
			fails(refuses, to("refused.test"))
			has("alice.test", 0)
			fails(unreachable, to("lost.test"))
			s.Clock.Advance(6 * time.Minute)
			s.maintain()
			has("alice.test", 0)
			s.take("lost.test").ok()

			// The recovery pass completes the change, and further passes change nothing.
			fails(dying, to("found.test"))
			s.keeps(bob, "alice.test") // still the account's handle
			for range 3 {
				s.maintain()
			}
			has("found.test", 1)
			s.keeps(bob, "alice.test")

			// Repeating the call completes the change.
			fails(dying, to("again.test"))
			to("again.test")().ok()
			to("again.test")().ok()
			has("again.test", 2)

			// An interrupted change to a handle that is held for the account: if the change fails,
			// the handle is held as before.
			fails(unreachable, to("alice.test"))
			s.Clock.Advance(6 * time.Minute)
			s.maintain()
			has("again.test", 2)
			s.keeps(bob, "alice.test")
			fails(dying, to("alice.test"))
			s.maintain()
			has("alice.test", 2)

			// An admin's change doesn't hold the old handle, even if the recovery pass completes
			// it.
			fails(dying, func() *answer { t.Helper(); return s.give(alice, "given.test") })
			s.maintain()
			has("given.test", 2)
			s.rename(bob, "alice.test").ok()
			if here, _ := handlesOf(t, s, directory, bob.DID); here != "at://alice.test" {
				t.Errorf("bob's handle is %s, want at://alice.test", here)
			}
		})
	}
}
