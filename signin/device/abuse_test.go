package device_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
)

// TestACopiedCookieEndsTheDevice: when one of two that have the cookie has gone on with its
// successor, the other gives the copy away, whichever of them is the thief.
func TestACopiedCookieEndsTheDevice(t *testing.T) {
	for name, first := range map[string]int{"the owner goes on": 0, "the thief goes on": 1} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			s.SignUp("alice")
			s.SignUp("bob")
			owner := newBrowser(t, s)
			owner.signIn("alice", true)
			owner.signIn("bob", true)
			thief := owner.copied()
			both := []*browser{owner, thief}
			one, other := both[first], both[1-first]
			s.Advance(4 * time.Hour)
			before := one.cookie
			one.check("the one that goes on", "bob alice")
			if one.cookie == before {
				t.Fatal("the secret wasn't replaced")
			}
			one.check("with the successor", "bob alice")
			s.Advance(2 * time.Minute)
			other.check("the other", "no device")
			one.check("the one that went on, then", "no device")
			if n := browserSessions(t, s, "alice") + browserSessions(t, s, "bob"); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
			if n := devices(t, s); n != 0 {
				t.Errorf("%d devices are left", n)
			}
		})
	}
}

// TestACopiedCookieEndsTheDeviceInEachCall, not only when it is looked up.
func TestACopiedCookieEndsTheDeviceInEachCall(t *testing.T) {
	for name, call := range map[string]func(s *domaintest.Services, cookie string) error{
		"SignOut": func(s *domaintest.Services, cookie string) error {
			return s.Devices.SignOut(ctx, cookie, "did:plc:other")
		},
		"End": func(s *domaintest.Services, cookie string) error { return s.Devices.End(ctx, cookie) },
		"SignIn": func(s *domaintest.Services, cookie string) error {
			_, _, _, err := s.Devices.SignIn(ctx, cookie, password("bob"), true)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			s.SignUp("alice")
			s.SignUp("bob")
			owner := newBrowser(t, s)
			owner.signIn("alice", true)
			thief := owner.copied()
			s.Advance(4 * time.Hour)
			owner.check("the owner", "alice")
			owner.check("with the successor", "alice")
			s.Advance(2 * time.Minute)
			must(t, call(s, thief.cookie))
			owner.check("the owner, then", "no device")
			if n := browserSessions(t, s, "alice"); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

// TestAnOldCopyEndsTheDevice: one of a secret that was replaced several times.
func TestAnOldCopyEndsTheDevice(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	owner := newBrowser(t, s)
	owner.signIn("alice", true)
	thief := owner.copied()
	for range 3 {
		s.Advance(4 * time.Hour)
		owner.check("the owner", "alice")
	}
	thief.check("the thief", "no device")
	owner.check("the owner, then", "no device")
}

// TestALateCookieOfTwoReplacements leads to the latest one.
func TestALateCookieOfTwoReplacements(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	b := newBrowser(t, s)
	b.signIn("alice", true)
	late := b.copied()
	for range 2 {
		s.Advance(4 * time.Hour)
		b.check("the browser", "alice")
	}
	late.check("the late cookie", "alice")
	if late.cookie != b.cookie {
		t.Error("it got another cookie than the browser")
	}
}

// TestTheLogTellsOfCopies, and has no cookie in it.
func TestTheLogTellsOfCopies(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	var log strings.Builder
	var err error
	s.Devices, err = device.New(ctx, s.Store, s.Sessions, s.SignIn, device.Config{
		Secret: make([]byte, 32), Now: s.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	must(t, err)
	owner := newBrowser(t, s)
	owner.signIn("alice", true)
	thief := owner.copied()
	for range 3 {
		s.Advance(4 * time.Hour)
		owner.check("the owner", "alice")
	}
	if log.Len() != 0 {
		t.Errorf("before the thief comes: %s", log.String())
	}
	thief.check("the thief", "no device")
	id, secret, _ := strings.Cut(thief.cookie, ".")
	if strings.Count(log.String(), id) != 1 || strings.Contains(log.String(), secret[:43]) {
		t.Errorf("the log: %s", log.String())
	}
}

// TestASignInWithACopiedCookie is one on a new device, and what was on the old one has ended.
func TestASignInWithACopiedCookie(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	s.SignUp("mallory")
	owner := newBrowser(t, s)
	owner.signIn("alice", true)
	id := owner.find().ID
	thief := owner.copied()
	s.Advance(4 * time.Hour)
	owner.find()
	owner.find()
	s.Advance(2 * time.Minute)
	if si := thief.signIn("mallory", true); si.Session.Device == id {
		t.Error("the thief signed in on the owner's device")
	}
	thief.check("the thief", "mallory")
	owner.check("the owner", "no device")
}

// TestALostAnswerSignsNobodyOut: a browser that never got the successor is given it again.
func TestALostAnswerSignsNobodyOut(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	b := newBrowser(t, s)
	b.signIn("alice", true)
	s.Advance(4 * time.Hour)
	lost := b.copied()
	lost.check("the answer that gets lost", "alice")
	s.Advance(24 * time.Hour)
	b.check("a day later", "alice")
	if b.cookie != lost.cookie {
		t.Error("it got another successor")
	}
	b.check("with the successor", "alice")
}

// TestTheCookieChangesAtASignIn: what somebody put into a browser, or read there before, opens
// nothing afterwards.
func TestTheCookieChangesAtASignIn(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	s.SignUp("mallory")
	attacker := newBrowser(t, s)
	_, cookie, err := s.Devices.Create(ctx)
	must(t, err)
	attacker.cookie = cookie
	id := attacker.find().ID
	victim := attacker.copied()
	victim.signIn("alice", true)
	if victim.cookie == attacker.cookie {
		t.Fatal("the cookie is the same")
	}
	if got := victim.find(); got.ID != id {
		t.Errorf("the device was %s, and is %s", id, got.ID)
	}
	attacker.check("the attacker, at once", "no device")
	if attacker.cookie != cookie {
		t.Error("the attacker was given a cookie")
	}
	// Signing in with the old cookie doesn't lead to the victim's device either.
	mallory := attacker.copied()
	if si := mallory.signIn("mallory", true); si.Session.Device == id {
		t.Error("the attacker signed in on the victim's device")
	}
	mallory.check("the attacker's own device", "mallory")
	must(t, s.Devices.SignOut(ctx, attacker.cookie, didOf(t, s, "alice")))
	must(t, s.Devices.End(ctx, attacker.cookie))
	victim.check("the victim", "alice")
	s.Advance(2 * time.Minute)
	attacker.check("the attacker, later", "no device")
}

// TestSuccessorsBeforeASignInAreWorthNothing: neither the cookie that was replaced through use, nor
// the successor that was never used.
func TestSuccessorsBeforeASignInAreWorthNothing(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	s.SignUp("bob")
	b := newBrowser(t, s)
	b.signIn("alice", true)
	s.Advance(4 * time.Hour)
	old := b.copied()
	successor := b.copied()
	successor.check("which gets the successor", "alice")
	b.signIn("bob", true) // with the old cookie, in its grace period
	for what, other := range map[string]*browser{"the old cookie": old, "its successor": successor} {
		before := other.cookie
		other.check(what, "no device")
		if other.cookie != before {
			t.Errorf("%s was renewed", what)
		}
	}
	b.check("the browser itself", "bob alice")
}

// TestCookiesThatNobodyIssued open nothing, and do no harm to the device whose ID they name.
func TestCookiesThatNobodyIssued(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	b, other := newBrowser(t, s), newBrowser(t, s)
	b.signIn("alice", true)
	other.signIn("alice", true)
	for name, cookie := range madeUp(b.cookie, other.cookie) {
		if d, renewed, err := s.Devices.Find(ctx, cookie); d != nil || renewed != "" || err != nil {
			t.Errorf("%s: %+v, %q, %v", name, d, renewed, err)
		}
		if err := errors.Join(s.Devices.SignOut(ctx, cookie, alice), s.Devices.End(ctx, cookie)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, si, given, err := s.Devices.SignIn(ctx, cookie, password("alice"), false)
		if err != nil || given == cookie || si.Session.Device == b.cookie[:26] {
			t.Errorf("a sign-in with %s: %+v, %q, %v", name, si, given, err)
		}
		s.Advance(10 * time.Second) // within the budget of guesses
		b.check(name, "alice")
	}
	other.check("the other browser", "alice")
	// A secret of another server is as unknown.
	foreign := newBrowser(t, domaintest.New(t))
	foreign.s.SignUp("alice")
	foreign.signIn("alice", true)
	if d, _, err := s.Devices.Find(ctx, foreign.cookie); d != nil || err != nil {
		t.Errorf("a cookie of another server: %+v, %v", d, err)
	}
}

// madeUp returns what looks like a cookie to somebody, and was never issued. They are named by how
// they differ from one that was.
func madeUp(cookie, other string) map[string]string {
	return map[string]string{
		"nothing":                  "",
		"a dot":                    ".",
		"the ID alone":             cookie[:26],
		"the ID and a dot":         cookie[:27],
		"no ID":                    cookie[26:],
		"no dot":                   cookie[:26] + cookie[27:],
		"another sign for the dot": cookie[:26] + ":" + cookie[27:],
		"a shorter secret":         cookie[:len(cookie)-1],
		"a longer secret":          cookie + "a",
		"a space at the end":       cookie + " ",
		"a space before":           " " + cookie,
		"quotes":                   `"` + cookie + `"`,
		"a NUL":                    cookie[:50] + "\x00" + cookie[51:],
		"invalid UTF-8":            cookie[:50] + "\xff" + cookie[51:],
		"another secret":           cookie[:27] + flip(cookie[27:]),
		"another ID":               flip(cookie[:26]) + cookie[26:],
		"another tag":              cookie[:len(cookie)-1] + flip(cookie[len(cookie)-1:]),
		"the secret of another":    cookie[:27] + other[27:],
		"the ID of another":        other[:27] + cookie[27:],
		"twice":                    cookie + cookie,
		"very long":                cookie + string(make([]byte, 1<<20)),
	}
}

// flip replaces the first character.
func flip(s string) string {
	if s[0] == 'a' {
		return "b" + s[1:]
	}
	return "a" + s[1:]
}

// TestOnlyOwnersSignIn: an app password is as good as a wrong one, and counts as one.
func TestOnlyOwnersSignIn(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	thief := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.1"})
	_, privileged, err := s.AppPasswords.Create(ctx, alice, "privileged", true)
	must(t, err)
	_, app, err := s.AppPasswords.Create(ctx, alice, "app", false)
	must(t, err)
	b := newBrowser(t, s)
	b.signIn("alice", true)
	cookie := b.cookie
	for i := range 30 {
		secret := []string{"wrong", app, privileged}[i%3]
		d, si, renewed, err := s.Devices.SignIn(thief, b.cookie, signin.Attempt{Identifier: "alice.test", Password: secret}, true)
		if !errors.Is(err, accounts.ErrBadCredentials) || err.Error() != "Invalid identifier or password" || d != nil || si != nil || renewed != "" {
			t.Fatalf("guess %d: %+v, %+v, %q, %v", i, d, si, renewed, err)
		}
	}
	if _, _, _, err := s.Devices.SignIn(thief, "", password("alice"), true); !errors.Is(err, ratelimit.ErrLimited) {
		t.Errorf("the right password then: %v", err)
	}
	if n := browserSessions(t, s, "alice"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	b.check("who was signed in before", "alice")
	if b.cookie != cookie {
		t.Error("refused sign-ins have changed the cookie")
	}
	b.signIn("alice", true) // from another address
}

// TestAnAccountThatIsTakenDownCannotSignIn, not even to leave, which is done with tokens.
func TestAnAccountThatIsTakenDownCannotSignIn(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	must(t, s.Accounts.TakeDown(ctx, alice, ""))
	a := password("alice")
	a.AllowTakendown = true
	if d, _, cookie, err := s.Devices.SignIn(ctx, "", a, true); !errors.Is(err, sessions.ErrAccountTakedown) || d != nil || cookie != "" {
		t.Errorf("%+v, %q, %v", d, cookie, err)
	}
	must(t, s.Accounts.Restore(ctx, alice))
	if n := browserSessions(t, s, "alice") + devices(t, s); n != 0 {
		t.Errorf("%d sessions and devices", n)
	}
}

// TestWhatHappensDuringASignIn is seen by it: nobody is signed in, and the browser is as it was.
func TestWhatHappensDuringASignIn(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*domaintest.Services, syntax.DID) error
		want      error
	}{
		"a takedown": {func(s *domaintest.Services, id syntax.DID) error {
			return s.Accounts.TakeDown(ctx, id, "")
		}, sessions.ErrAccountTakedown},
		"a new password": {func(s *domaintest.Services, id syntax.DID) error {
			return s.Accounts.SetPassword(ctx, id, "another password")
		}, accounts.ErrBadCredentials},
		"a deletion": {func(s *domaintest.Services, id syntax.DID) error {
			return s.Accounts.DeleteNow(ctx, id)
		}, accounts.ErrBadCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			alice := s.SignUp("alice").Account.DID
			s.SignUp("bob")
			b := newBrowser(t, s)
			b.signIn("bob", true)
			during := domaintest.Before(ctx, func() { must(t, c.meanwhile(s, alice)) })
			if d, _, cookie, err := s.Devices.SignIn(during, b.cookie, password("alice"), true); !errors.Is(err, c.want) || d != nil || cookie != "" {
				t.Errorf("%+v, %q, %v", d, cookie, err)
			}
			b.check("after that", "bob")
			if n := devices(t, s); n != 1 {
				t.Errorf("%d devices", n)
			}
		})
	}
}

// TestSecondFactor: the code is asked for and used up, and a wrong one leaves everything as it was.
func TestSecondFactor(t *testing.T) {
	s := domaintest.New(t)
	a := s.SignUp("alice").Account
	must(t, s.Accounts.Emails().RequestConfirmation(ctx, a.DID))
	must(t, s.Accounts.Emails().Confirm(ctx, a.DID, a.Email, s.Code("alice")))
	must(t, s.Accounts.Emails().Update(ctx, a.DID, accounts.EmailUpdate{Address: a.Email, Factor: accounts.EnableFactor}))
	b := newBrowser(t, s)
	attempt := password("alice")
	if _, _, _, err := s.Devices.SignIn(ctx, "", attempt, true); !errors.Is(err, signin.ErrFactorRequired) {
		t.Fatalf("without a code: %v", err)
	}
	attempt.Code = "AAAAA-AAAAA"
	if _, _, _, err := s.Devices.SignIn(ctx, "", attempt, true); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with a wrong code: %v", err)
	}
	if n := browserSessions(t, s, "alice") + devices(t, s); n != 0 {
		t.Errorf("%d sessions and devices before the code", n)
	}
	attempt.Code = s.Code("alice")
	_, _, cookie, err := s.Devices.SignIn(ctx, "", attempt, true)
	must(t, err)
	b.cookie = cookie
	b.check("with the code", "alice")
	if _, _, _, err := s.Devices.SignIn(ctx, b.cookie, attempt, true); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with a used code: %v", err)
	}
	b.check("after that", "alice")
}

// TestParallelRequestsWhileTheSecretIsReplaced: all tabs that load at once stay signed in and get
// the same cookie.
func TestParallelRequestsWhileTheSecretIsReplaced(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	other := s.Another()
	b := newBrowser(t, s)
	b.signIn("alice", true)
	for range 5 {
		s.Advance(4 * time.Hour)
		tabs := make([]*browser, 50)
		for i := range tabs {
			if tabs[i] = b.copied(); i%2 == 1 {
				tabs[i].s = other // another process on the same store
			}
		}
		before := b.cookie
		var out atomic.Int32
		all(len(tabs), func(i int) {
			if tabs[i].who() != "alice" {
				out.Add(1)
			}
		})
		if out.Load() > 0 {
			t.Fatalf("%d of %d tabs are signed out", out.Load(), len(tabs))
		}
		b.cookie = tabs[0].cookie
		for _, tab := range tabs {
			if tab.cookie != b.cookie || tab.cookie == before {
				t.Fatal("the tabs have different cookies, or the old one")
			}
		}
		// Some are late: the successor has been used already.
		late := &browser{t: t, s: s, cookie: before}
		b.check("with the successor", "alice")
		late.check("a late request", "alice")
		if late.cookie != b.cookie {
			t.Error("a late request got another cookie")
		}
	}
}

// TestSignInsAtOnce of one browser: each of them succeeds, and whatever cookie the browser keeps is
// good. Only one of them happens on the device that the browser had, since for all others its
// cookie was worth nothing any longer.
func TestSignInsAtOnce(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Accounts.Limits.Limiter = ratelimit.Off{} })
	s.SignUp("alice")
	s.SignUp("bob")
	d, cookie, err := s.Devices.Create(ctx)
	must(t, err)
	tabs := make([]*browser, 10)
	var onIt atomic.Int32
	all(len(tabs), func(i int) {
		tabs[i] = &browser{t: t, s: s, cookie: cookie}
		_, si, renewed, err := s.Devices.SignIn(ctx, cookie, password([]string{"alice", "bob"}[i%2]), true)
		if err != nil {
			t.Error(err)
			return
		}
		if tabs[i].cookie = renewed; si.Session.Device == d.ID {
			onIt.Add(1)
		}
	})
	if onIt.Load() != 1 {
		t.Errorf("%d sign-ins happened on the browser's device", onIt.Load())
	}
	for i, tab := range tabs {
		tab.check("a tab", []string{"alice", "bob"}[i%2])
	}
	(&browser{t: t, s: s, cookie: cookie}).check("the former cookie", "no device")
}

// TestASignInWhileRequestsAreUnderWay: what comes late with the former cookie opens nothing, and
// ends nothing.
func TestASignInWhileRequestsAreUnderWay(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	_, cookie, err := s.Devices.Create(ctx)
	must(t, err)
	b := &browser{t: t, s: s, cookie: cookie}
	all(20, func(i int) {
		if i == 10 {
			b.signIn("alice", true)
			return
		}
		late := &browser{t: t, s: s, cookie: cookie}
		if who := late.who(); who != "" && who != "no device" {
			t.Errorf("a request with the former cookie sees %q", who)
		}
	})
	b.check("the browser", "alice")
	s.Advance(30 * time.Second)
	(&browser{t: t, s: s, cookie: cookie}).check("a late one", "no device")
	b.check("the browser, then", "alice")
}
