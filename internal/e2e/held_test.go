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

// Tests of handles that were given up, and are held for the accounts that had them.

// holding configures the default HandleHold, which the test server switches off.
var holding = config(func(c *gatehouse.Config) { c.Handles.Hold = 0 })

const (
	handleHold  = 30 * 24 * time.Hour
	heldHandles = "held_handles" // the table
)

func (s *api) rename(a *gatehousetest.Account, handle string) *answer {
	s.t.Helper()
	return s.do(bearer(a.AccessJWT), "identity.updateHandle", object{"handle": handle})
}

func (s *api) give(a *gatehousetest.Account, handle string) *answer {
	s.t.Helper()
	return s.do(admin, "admin.updateAccountHandle", object{"did": a.DID, "handle": handle})
}

// take signs a stranger up with a handle.
func (s *api) take(handle string, more ...object) *answer {
	s.t.Helper()
	label, _, _ := strings.Cut(newHandle(), ".")
	return s.do(nobody, "server.createAccount", applicant(label, append(more, object{"handle": handle})...))
}

// offered reports whether a handle is said to be available, and what is suggested in its place.
func (s *api) offered(handle string) (available bool, suggestions string) {
	s.t.Helper()
	result := s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle}).ok()["result"].(object)
	const prefix = "com.atproto.temp.checkHandleAvailability#"
	if kind := result["$type"]; kind != prefix+"resultAvailable" && kind != prefix+"resultUnavailable" {
		s.t.Errorf("checkHandleAvailability of %s: %v", handle, result)
	}
	return result["$type"] == prefix+"resultAvailable", fmt.Sprint(result["suggestions"])
}

// keeps checks that nobody gets a handle, neither with a sign-up nor with a change of handle.
func (s *api) keeps(from *gatehousetest.Account, handle string) {
	s.t.Helper()
	message := "Handle already taken: " + strings.ToLower(handle)
	s.take(handle).refused(400, "HandleNotAvailable", message)
	s.rename(from, handle).refused(400, "HandleNotAvailable", message)
	if available, _ := s.offered(handle); available {
		s.t.Errorf("%s is said to be available", handle)
	}
}

// leadsNowhere checks that a handle doesn't resolve.
func (s *api) leadsNowhere(handle string) {
	s.t.Helper()
	s.do(nobody, "identity.resolveHandle", object{"handle": handle}).refused(400, "HandleNotFound", "Unable to resolve handle")
	if status, body := s.get(handle, "/.well-known/atproto-did"); status != 404 {
		s.t.Errorf("atproto-did of %s: %d %s", handle, status, body)
	}
}

func TestAHandleGivenUpIsHeldForItsOwner(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice, mallory := s.signUp("alice.test"), s.signUp("mallory.test")
				s.rename(alice, "alicia.test").ok()
				s.keeps(mallory, "alice.test")
				s.keeps(mallory, "ALICE.test")
				s.leadsNowhere("alice.test")
				s.login("alice.test", alice.Password).refused(401, "AuthenticationRequired", "Invalid identifier or password")

				// She takes it back, and what she gives up for it is held in its place.
				s.rename(alice, "Alice.test").ok()
				s.keeps(mallory, "alicia.test")
				s.leadsNowhere("alicia.test")
				if got := s.do(nobody, "identity.resolveHandle", object{"handle": "alice.test"}).text("did"); got != alice.DID {
					t.Errorf("alice.test leads to %s", got)
				}
				if n := s.rows(heldHandles); n != 1 {
					t.Errorf("%d handles are held, want 1", n)
				}

				// The same change once more changes nothing about it.
				s.Clock.Advance(handleHold - time.Hour)
				s.again(alice)
				s.again(mallory)
				s.rename(alice, "alice.test").ok()
				s.maintain()
				s.Clock.Advance(time.Hour - time.Millisecond)
				s.keeps(mallory, "alicia.test")
				s.Clock.Advance(time.Millisecond)
				if available, _ := s.offered("alicia.test"); !available {
					t.Error("alicia.test isn't available after its time")
				}
				s.rename(mallory, "alicia.test").ok() // before anything has cleared it away
				s.maintain()
				if n := s.rows(heldHandles); n != 1 { // mallory.test
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

func TestAHeldHandleIsNotSuggested(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.signUp("wanted.test")
		if _, suggestions := s.offered("wanted.test"); !contains(suggestions, "wanted-1.test") {
			t.Fatalf("suggested: %s", suggestions)
		}
		bob := s.signUp("wanted-1.test")
		s.rename(bob, "bob.test").ok()
		if available, suggestions := s.offered("wanted.test"); available || contains(suggestions, "wanted-1.test") || !contains(suggestions, "wanted-2.test") {
			t.Errorf("available: %t, suggested: %s", available, suggestions)
		}
		s.Clock.Advance(handleHold)
		if _, suggestions := s.offered("wanted.test"); !contains(suggestions, "wanted-1.test") {
			t.Errorf("after its time suggested: %s", suggestions)
		}
	}, holding)
}

func TestAnAdminGivesAHeldHandleAway(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob, mallory := s.signUp("alice.test"), s.signUp("bob.test"), s.signUp("mallory.test")
		s.rename(alice, "alicia.test").ok()
		s.give(bob, "alice.test").ok()
		s.take("bob.test").ok() // what an admin takes away is free
		s.rename(alice, "alice.test").refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
		// From then on it is bob's, also to take back.
		s.rename(bob, "bobby.test").ok()
		s.keeps(mallory, "alice.test")
		s.keeps(alice, "alice.test")
		s.rename(bob, "alice.test").ok()

		// A handle that an admin reserves isn't taken back either.
		s.rename(mallory, "malory.test").ok()
		s.do(admin, "temp.addReservedHandle", object{"handle": "mallory.test"}).ok()
		s.rename(mallory, "mallory.test").refused(400, "HandleNotAvailable", "Reserved handle")
		s.give(mallory, "mallory.test").ok()
		s.take("malory.test").ok()
	}, holding)
}

// TestWhatEndedTakesNoHandleBack: neither a session that has ended nor the token of an account that
// is taken down takes back a handle, which stays held for its owner.
func TestWhatEndedTakesNoHandleBack(t *testing.T) {
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
			s.leadsNowhere(old)
			info := s.do(admin, "admin.getAccountInfo", object{"did": alice.DID})
			if info.status != 200 { // and its holds are gone with it
				s.take(old).ok()
				continue
			}
			if info.object["handle"] != now {
				t.Errorf("after %s the handle is %v, want %s", e.name, info.object["handle"], now)
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
		network["name.example.com"] = syntax.DID(bob.DID) // the domain has another owner
		s.rename(bob, "name.example.com").ok()
	}, holding, config(func(c *gatehouse.Config) { c.Handles.Resolver = network }))
}

// TestHoldsAreTheOperators: the operator can switch holds off, or change their length.
func TestHoldsAreTheOperators(t *testing.T) {
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

// TestAThiefDoesNotPushAHandleOut: a handle stays held for its owner, though a thief gives up more
// handles than are held, or takes it back and gives it up again when all places are taken.
func TestAThiefDoesNotPushAHandleOut(t *testing.T) {
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
		s.take("first9.test").ok() // there is no place for it: nobody hoards
		for range 3 {
			s.rename(thief, "alice.test").ok()
			s.rename(thief, newHandle()).ok()
			s.keeps(mallory, "alice.test")
		}
		// Some weeks later, when the first of them come to their end.
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
		// What has come to its end takes no place, even before it is cleared away.
		s.Clock.Advance(handleHold)
		s.again(alice)
		s.again(mallory)
		s.rename(alice, "alicia.test").ok()
		s.rename(alice, newHandle()).ok()
		s.keeps(mallory, "alice.test")
		s.keeps(mallory, "alicia.test")
		// What is held for others takes no place from anybody else.
		s.rename(mallory, "malory.test").ok()
		s.keeps(alice, "mallory.test")
	}, holding)
}

func TestTheHandleOfADeletedAccount(t *testing.T) {
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
				t.Errorf("%d handles are held for a DID that is gone", n)
			}
			s.take("alicia.test").ok()
			s.take("alice.test").ok() // she starts again
		}, holding)
	})
	// With a did:web whoever signs up with the handle would have the DID: that makes nobody its
	// former owner.
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run("is held with did:"+string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice, bob, carol := s.signUp("alice.test"), s.signUp("bob.test"), s.signUp("carol.test")
				s.rename(carol, "caroline.test").ok()
				leave(s, alice)
				s.do(admin, "admin.deleteAccount", object{"did": carol.DID}).ok()
				for _, handle := range []string{"alice.test", "carol.test", "caroline.test"} {
					s.keeps(bob, handle)
					s.leadsNowhere(handle)
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

// TestWhoComesBackWithTheDIDHasTheHandleBack: an account that returns with its DID gets the handle
// that is held for it.
func TestWhoComesBackWithTheDIDHasTheHandleBack(t *testing.T) {
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
		s.take("alice.test", object{"did": alice.id.String()}).refused(401, "AuthenticationRequired") // without a proof
		if back := come(alice); back.text("did") != alice.id.String() || back.text("handle") != "alice.test" {
			t.Errorf("back: %s", back.body)
		}
		if n := s.rows(heldHandles); n != 0 {
			t.Errorf("%d handles are held, want none", n)
		}
	}, holding, config(func(c *gatehouse.Config) { c.Handles.HoldAfterDeletion = 7 * 24 * time.Hour }))
}

// TestRaceForAHandleWhoseHoldEnds: of many who want a handle exactly one gets it when the hold
// ends, and nobody while its owner is giving it up.
func TestRaceForAHandleWhoseHoldEnds(t *testing.T) {
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
			t.Errorf("while it is given up: %v", counts)
		}
		s.Clock.Advance(handleHold)
		for _, a := range all {
			s.again(a)
		}
		if counts := tally(race(take)); counts[""] != 1 || counts["HandleNotAvailable"] != racers-1 {
			t.Errorf("when its hold ends: %v", counts)
		}
		for _, a := range all {
			if here, there := handlesOf(t, s, s.Gatehouse.Directory, a.DID); here != there {
				t.Errorf("an account is %s, its DID says %s", here, there)
			}
		}
	}, holding)
}

// TestAHandleChangeCutShortHoldsOnce: a change that was cut short holds the old handle once,
// whoever completes it; one that fails holds nothing.
func TestAHandleChangeCutShortHoldsOnce(t *testing.T) {
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
					t.Errorf("the account is %s, its DID says %s; want %s", here, there, handle)
				}
				if n := s.rows(heldHandles); n != held {
					t.Errorf("%d handles are held, want %d", n, held)
				}
			}
			to := func(handle string) func() *answer {
				return func() *answer { t.Helper(); return s.rename(alice, handle) }
			}

			// It comes to nothing: the directory refuses, or is away for long.
			fails(refuses, to("refused.test"))
			has("alice.test", 0)
			fails(unreachable, to("lost.test"))
			s.Clock.Advance(6 * time.Minute)
			s.maintain()
			has("alice.test", 0)
			s.take("lost.test").ok()

			// The recovery pass ends it, however often it runs.
			fails(dying, to("found.test"))
			s.keeps(bob, "alice.test") // it is hers still
			for range 3 {
				s.maintain()
			}
			has("found.test", 1)
			s.keeps(bob, "alice.test")

			// The same again ends it.
			fails(dying, to("again.test"))
			to("again.test")().ok()
			to("again.test")().ok()
			has("again.test", 2)

			// To a handle that is held for her, and not to that in the end: it is held as before.
			fails(unreachable, to("alice.test"))
			s.Clock.Advance(6 * time.Minute)
			s.maintain()
			has("again.test", 2)
			s.keeps(bob, "alice.test")
			fails(dying, to("alice.test"))
			s.maintain()
			has("alice.test", 2)

			// An admin's change holds nothing, whoever ends it.
			fails(dying, func() *answer { t.Helper(); return s.give(alice, "given.test") })
			s.maintain()
			has("given.test", 2)
			s.rename(bob, "alice.test").ok()
			if here, _ := handlesOf(t, s, directory, bob.DID); here != "at://alice.test" {
				t.Errorf("bob is %s", here)
			}
		})
	}
}
