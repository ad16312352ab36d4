package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Client addresses: the account owner's, a thief's and a third person's.
const (
	hers       = "192.0.2.1"
	theThiefs  = "203.0.113.1"
	somebodys  = "198.51.100.1"
	hersAsIPv6 = "2001:db8:1:1::1"
)

// remaining returns the value of an answer's RateLimit-Remaining header.
func remaining(a *answer) int {
	a.t.Helper()
	n, err := strconv.Atoi(a.header.Get("RateLimit-Remaining"))
	if err != nil {
		a.t.Fatalf("%s: RateLimit-Remaining is %q", a.method, a.header.Get("RateLimit-Remaining"))
	}
	return n
}

// TestPasswordGuessesShareOneBudget checks that one client address has 30 guesses at an account's
// password in five minutes, whichever identifier and method it uses.
func TestPasswordGuessesShareOneBudget(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
		thief := s.from(theThiefs)
		guess := func(i int) *answer {
			t.Helper()
			password := fmt.Sprint("guess ", i)
			switch i % 6 {
			case 0:
				return thief.login(alice.Handle, password)
			case 1:
				return thief.login("ALICE.test", password)
			case 2:
				return thief.login(alice.DID, password)
			case 3:
				return thief.login(alice.Email, password)
			case 4:
				return thief.login(alice.Handle, "aaaa-bbbb-cccc-dddd") // looks like an app password
			}
			return thief.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": password, "token": "AAAAA-AAAAA"})
		}
		for i := range 30 {
			guess(i).refused(401, "AuthenticationRequired")
		}
		for i := range 6 {
			guess(i).limitedNow()
		}
		thief.login(alice.Email, alice.Password).limitedNow() // even the right password
		thief.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": "AAAAA-AAAAA"}).limitedNow()
		// Neither the owner nor another account is locked out.
		s.from(hers).login(alice.Handle, alice.Password).ok()
		thief.login(bob.Handle, bob.Password).ok()
		s.Clock.Advance(5 * time.Minute)
		thief.login(alice.Handle, alice.Password).ok()
	}, limited)
}

// TestSpellingsShareOneBudgetOfGuesses checks that all spellings of an identifier, known or
// unknown, share the 30 guesses in five minutes of a client address, and that each login reports
// how many guesses are left.
func TestSpellingsShareOneBudgetOfGuesses(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
		for i, name := range []string{alice.Handle, alice.DID, "unknown.test", noSuchDID, "did:web:unknown.test"} {
			thief := s.from(fmt.Sprint("203.0.113.", i+1))
			spellings := slices.Collect(maps.Values(domaintest.Pasted(name)))
			for n := range 30 {
				a := thief.login(spellings[n%len(spellings)], "AAAA BBBB CCCC DDDD") // looks like an app password that was typed
				a.refused(401, "AuthenticationRequired", "Invalid identifier or password")
				if left := remaining(a); left != 29-n {
					t.Errorf("%s: %d guesses are left after %d, want %d", name, left, n+1, 29-n)
				}
			}
			for _, spelt := range spellings {
				thief.login(spelt, "wrong").limitedNow()
				if strings.HasPrefix(name, "did:plc:") {
					thief.do(nobody, "server.deleteAccount", object{"did": spelt, "password": "wrong", "token": "AAAAA-AAAAA"}).limitedNow()
				}
			}
			thief.login("@Bob.test", bob.Password).ok() // the address has not reached its own limit
		}
		s.from(hers).login(alice.Handle, alice.Password).ok()
	}, limited)
}

// TestPasswordGuessesPerDayAreLimited checks that a client address has 300 guesses at an account's
// password per day.
func TestPasswordGuessesPerDayAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.CreateAccount("alice.test")
	thief := s.from(theThiefs)
	for range 10 {
		for i := range 30 {
			thief.login([]string{alice.Handle, alice.DID, alice.Email}[i%3], "wrong").refused(401, "AuthenticationRequired")
		}
		s.Clock.Advance(5 * time.Minute)
	}
	for _, identifier := range []string{alice.Handle, alice.DID, alice.Email} {
		thief.login(identifier, "wrong").limitedNow()
	}
	s.Clock.Advance(24 * time.Hour)
	thief.login(alice.Handle, "wrong").refused(401, "AuthenticationRequired")
}

// TestGuessesAtUnknownNamesAreLimitedAlike checks that guesses at unknown identifiers are limited
// as those at accounts are, so that the limit doesn't reveal which accounts exist.
func TestGuessesAtUnknownNamesAreLimitedAlike(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	s.CreateAccount("alice.test")
	for i, name := range []string{"alice.test", "unknown.test"} {
		visitor := s.from(fmt.Sprint("203.0.113.", 10+i))
		for range 15 {
			visitor.login(name, "wrong").refused(401, "AuthenticationRequired")
			visitor.login(" @"+strings.ToUpper(name)+".", "wrong").refused(401, "AuthenticationRequired")
		}
		visitor.login(name, "wrong").limitedNow()
	}
}

// TestHashingIsLimitedByAddress checks that a client address can make the server hash passwords 100
// times in five minutes, in all methods and for all accounts together. A login with an app password
// needs no hashing and doesn't count.
func TestHashingIsLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.CreateAccount("alice.test")
	app := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).text("password")
	thief := s.from(theThiefs)
	for i := range 100 {
		thief.login(fmt.Sprintf("unknown%d.test", i), "wrong").refused(401, "AuthenticationRequired")
	}
	thief.login("another.test", "wrong").limitedNow()
	thief.login(alice.Handle, alice.Password).limitedNow()
	thief.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": "AAAAA-AAAAA"}).limitedNow()
	thief.do(nobody, "server.createAccount", object{"handle": "mallory.test", "email": "mallory@example.com", "password": "password"}).limitedNow()
	thief.login(alice.Handle, app).ok()
	s.from(hers).login(alice.Handle, alice.Password).ok()
	s.from(hersAsIPv6).login(alice.Handle, alice.Password).ok()
	s.Clock.Advance(5 * time.Minute)
	thief.login(alice.Handle, alice.Password).ok()
}

// TestInvalidTokensAreChargedToTheAddress checks that requests with an invalid token are charged to
// the client address and not to the token's account. An app that keeps sending an expired or
// revoked token locks out only itself.
func TestInvalidTokensAreChargedToTheAddress(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.CreateAccount("alice.test")
		dead := map[string]string{"expired access": alice.AccessJWT, "expired refresh": alice.RefreshJWT}
		s.Clock.Advance(91 * 24 * time.Hour)
		ended := s.Login(alice)
		dead["revoked access"], dead["revoked refresh"] = ended.AccessJWT, ended.RefreshJWT
		s.do(bearer(ended.RefreshJWT), "server.deleteSession", nil).ok()
		dead["junk"] = "junk"
		me := bearer(s.Login(alice).AccessJWT)
		left := func() int {
			t.Helper()
			return remaining(s.from(hers).do(me, "server.getSession", nil))
		}
		dead["altered"] = strings.TrimPrefix(me, "Bearer ")[:40] + "AAAA" + strings.TrimPrefix(me, "Bearer ")[44:]
		n := 0
		for name, token := range dead {
			n++
			app := s.from(fmt.Sprint("203.0.113.", n))
			before := left()
			there := remaining(app.do(nobody, "server.describeServer", nil))
			const tries = 5
			for range tries {
				method := "server.getSession"
				if strings.HasSuffix(name, "refresh") {
					method = "server.refreshSession"
				}
				if a := app.do(bearer(token), method, nil); a.status != 400 {
					t.Errorf("%s token: %d %s, want 400", name, a.status, a.body)
				}
			}
			if after := left(); after != before-1 {
				t.Errorf("%s token: the account was charged %d requests, want 1", name, before-after)
			}
			if gone := there - remaining(app.do(nobody, "server.describeServer", nil)); gone < tries+1 {
				t.Errorf("%s token: the address was charged %d requests, want at least %d", name, gone, tries+1)
			}
		}
	}, limited)
}

// TestAppPasswordsHaveTheirOwnRequestBudget checks that the sessions of an app password share a
// request budget, which is separate from those of the owner and of other app passwords.
func TestAppPasswordsHaveTheirOwnRequestBudget(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.CreateAccount("alice.test")
	me := s.from(hers)
	password := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).text("password")
	other := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "another"}).text("password")
	open := func(password string) string {
		t.Helper()
		return bearer(me.login(alice.Handle, password).text("accessJwt"))
	}
	first, second, third := open(password), open(password), open(other)
	left := func(who string) int { t.Helper(); return remaining(me.do(who, "server.getSession", nil)) }
	owners, others := left(bearer(alice.AccessJWT)), left(third)
	before := left(first)
	for range 5 {
		left(first)
	}
	if after := left(second); after != before-6 {
		t.Errorf("another session of the same app password has %d requests left, want %d", after, before-6)
	}
	if after := left(bearer(alice.AccessJWT)); after != owners-1 {
		t.Errorf("the owner was charged %d requests of the app password, want none", owners-1-after)
	}
	if after := left(third); after != others-1 {
		t.Errorf("another app password was charged %d of its requests, want none", others-1-after)
	}
	// The limits of single methods are separate too.
	for range 5 {
		me.do(first, "server.requestEmailConfirmation", nil).ok()
	}
	me.do(first, "server.requestEmailConfirmation", nil).limitedNow()
	me.do(bearer(alice.AccessJWT), "server.requestEmailConfirmation", nil).ok()
}

// basicAuth returns an Authorization header with a name and a password.
func basicAuth(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// TestAdminGuesses checks that after ten wrong admin passwords a client address can't authenticate
// as an admin for five minutes, and that each failure is in the log and in the audit log.
func TestAdminGuesses(t *testing.T) {
	t.Parallel()
	var log logbook
	onEach(t, func(t *testing.T, s *api) {
		thief := s.from(theThiefs)
		before := len(log.warnings())
		for i := range 10 {
			who, method, input := basicAuth("admin", fmt.Sprint("secret-guess-", i)), "admin.searchAccounts", object(nil)
			switch i % 3 {
			case 1:
				method, input = "admin.getAccountInfo", object{"did": noSuchDID}
			case 2:
				who, method, input = basicAuth("root", "secret-guess"), "server.createInviteCode", object{"useCount": 1}
			}
			thief.do(who, method, input).refused(401, "AuthenticationRequired", "Authentication Required")
		}
		thief.do(admin, "admin.searchAccounts", nil).limitedNow()
		thief.do(admin, "admin.getInviteCodes", nil).limitedNow()
		thief.do(basicAuth("admin", "wrong"), "admin.searchAccounts", nil).limitedNow()
		s.from(somebodys).do(admin, "admin.searchAccounts", nil).ok()
		thief.do(nobody, "server.describeServer", nil).ok()
		s.Clock.Advance(5 * time.Minute)
		thief.do(admin, "admin.searchAccounts", nil).ok()

		page, err := s.Gatehouse.Audit.List(t.Context(), theThiefs, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		failures := 0
		for _, e := range page.Entries {
			if e.Admin == "unknown" && e.Outcome == "AuthenticationRequired" && strings.HasPrefix(e.Action, "com.atproto.") {
				failures++
			}
		}
		if failures < 10 {
			t.Errorf("the audit log has %d failures, want at least 10: %v", failures, entries(page))
		}
		lines := log.warnings()[before:]
		named := 0
		for _, line := range lines {
			if strings.Contains(line, "secret-guess") || strings.Contains(line, base64.StdEncoding.EncodeToString([]byte("admin:secret"))) {
				t.Errorf("the log contains a password that was tried: %s", line)
			}
			if strings.Contains(line, theThiefs) {
				named++
			}
		}
		if named < 10 {
			t.Errorf("%d warnings name the client address, want at least 10: %q", named, lines)
		}
	}, limited, logged(&log))
}

// entries returns the entries of a page of the audit log as values, which print readably.
func entries(p audit.Page) (all []audit.Entry) {
	for _, e := range p.Entries {
		all = append(all, *e)
	}
	return all
}

// TestUpdateEmailRevealsFewAddresses checks that an account can find out by updateEmail whether
// e-mail addresses have accounts at most 24 times per hour.
func TestUpdateEmailRevealsFewAddresses(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	s.CreateAccount("bob.test")
	alice := s.CreateAccount("alice.test")
	update := func(address, email string) *answer {
		t.Helper()
		return s.from(address).do(bearer(alice.AccessJWT), "server.updateEmail", object{"email": email})
	}
	for range 24 {
		update(theThiefs, "bob@example.com").refused(400, "InvalidRequest")
	}
	update(theThiefs, "bob@example.com").limitedNow()
	update(somebodys, "bob@example.com").limitedNow() // the limit is the account's, from any client address
	update(theThiefs, "free@example.com").limitedNow()
	s.Clock.Advance(time.Hour)
	update(theThiefs, "bob@example.com").refused(400, "InvalidRequest")
	update(theThiefs, "free@example.com").ok()
}

// TestCreateAccountRevealsFewAddresses checks that a client address can find out by createAccount
// whether e-mail addresses have accounts at most 24 times per hour. Only sign-ups that were refused
// for a taken address count.
func TestCreateAccountRevealsFewAddresses(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	s.CreateAccount("bob.test")
	n := 0
	signUp := func(address, email string) *answer {
		t.Helper()
		n++
		return s.from(address).do(nobody, "server.createAccount", object{"handle": fmt.Sprintf("visitor%d.test", n), "email": email, "password": "password"})
	}
	for range 24 {
		signUp(theThiefs, "bob@example.com").refused(400, "InvalidRequest", "Email already taken: bob@example.com")
	}
	for _, email := range []string{"bob@example.com", "free@example.com"} {
		signUp(theThiefs, email).limitedNow()
	}
	signUp(somebodys, "somebody@example.com").ok()
	s.Clock.Advance(time.Hour)
	signUp(theThiefs, "bob@example.com").refused(400, "InvalidRequest")
	signUp(theThiefs, "free@example.com").ok()
}

// TestSuccessfulSignUpsDoNotCountAsProbes checks that a client address, such as a school's, can
// create more than 24 accounts per hour.
func TestSuccessfulSignUpsDoNotCountAsProbes(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	var last *gatehousetest.Account
	for i := range 30 {
		handle := fmt.Sprintf("pupil%d.test", i)
		last = &gatehousetest.Account{Handle: handle, Password: "password"}
		s.from(hers).do(nobody, "server.createAccount", object{"handle": handle, "email": fmt.Sprintf("pupil%d@example.com", i), "password": "password"}).ok()
	}
	s.from(hers).login(last.Handle, last.Password).ok()
}

// TestAdminPasswordsHaveAMinimumLength checks that admin passwords need at least twelve characters,
// so that they can't be guessed.
func TestAdminPasswordsHaveAMinimumLength(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*gatehouse.Config)
		field  string // named by the error, "" if there is none
	}{
		"eleven characters":                  {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"admin": "12345678901"} }, "Admins"},
		"twelve characters":                  {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"admin": "123456789012"} }, ""},
		"no admins":                          {func(*gatehouse.Config) {}, ""},
		"another name and eleven characters": {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"carol": "12345678901"} }, "Admins"},
		"another name and twelve characters": {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"carol": "123456789012"} }, ""},
	} {
		store := memory.New()
		cfg := gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1}, Logger: slog.New(slog.DiscardHandler),
		}
		c.change(&cfg)
		srv, err := gatehouse.New(t.Context(), store, cfg)
		if err == nil {
			srv.Close()
		}
		if (err == nil) != (c.field == "") || err != nil && !strings.Contains(err.Error(), "Config."+c.field) {
			t.Errorf("%s: %v; want an error about %q", name, err, c.field)
		}
		store.Close()
	}
}

// exhausted is a limiter that allows nothing.
type exhausted struct{}

func (exhausted) Take(_ context.Context, _ string, w ...ratelimit.Window) (ratelimit.State, error) {
	return ratelimit.State{Window: w[0], Reset: time.Now().Add(time.Hour)}, nil
}

func (exhausted) Peek(ctx context.Context, key string, w ...ratelimit.Window) (ratelimit.State, error) {
	return exhausted{}.Take(ctx, key, w...)
}

// TestRateLimitedCallsHaveNoEffect checks that a call that is answered 429 changes nothing.
func TestRateLimitedCallsHaveNoEffect(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Limits.Limiter = exhausted{} }))
	alice := s.CreateAccount("alice.test")
	s.do(bearer(alice.RefreshJWT), "server.deleteSession", nil).refused(429, "RateLimitExceeded")
	s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).refused(429, "RateLimitExceeded")
	if _, err := s.Gatehouse.Sessions.Verify(t.Context(), sessions.Bearer(alice.AccessJWT)); err != nil {
		t.Errorf("Verify: %v, want the session unaffected by the calls that were answered 429", err)
	}
}

// TestAppPasswordsShareTheLimitsOfMethods checks that all app passwords of an account together can
// change the handle as often as one could, and that the owner has a limit of their own.
func TestAppPasswordsShareTheLimitsOfMethods(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.CreateAccount("alice.test")
	changed := 0
	change := func(token, label string) {
		for j := range 10 {
			if s.do(bearer(token), "identity.updateHandle", object{"handle": fmt.Sprintf("%s-%d.test", label, j)}).status == 200 {
				changed++
			}
		}
	}
	for i := range 3 {
		app := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": fmt.Sprint(i)}).text("password")
		change(s.login(alice.DID, app).text("accessJwt"), fmt.Sprint("app", i))
	}
	if changed != 10 {
		t.Errorf("three app passwords changed the handle %d times in five minutes, want 10", changed)
	}
	change(alice.AccessJWT, "alice")
	if changed != 20 {
		t.Errorf("three app passwords and the owner changed the handle %d times, want 20", changed)
	}
}
