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

// Addresses of visitors.
const (
	hers       = "192.0.2.1"
	theThiefs  = "203.0.113.1"
	somebodys  = "198.51.100.1"
	hersAsIPv6 = "2001:db8:1:1::1"
)

// remaining is how many requests the caller of an answer has left.
func remaining(a *answer) int {
	a.t.Helper()
	n, err := strconv.Atoi(a.header.Get("RateLimit-Remaining"))
	if err != nil {
		a.t.Fatalf("%s: RateLimit-Remaining is %q", a.method, a.header.Get("RateLimit-Remaining"))
	}
	return n
}

// TestOneBudgetOfGuesses: whatever an account is called by and wherever its password is tried, from
// one address there are 30 guesses in five minutes.
func TestOneBudgetOfGuesses(t *testing.T) {
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
				return thief.login(alice.Handle, "aaaa-bbbb-cccc-dddd") // in the form of an app password
			}
			return thief.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": password, "token": "AAAAA-AAAAA"})
		}
		for i := range 30 {
			guess(i).refused(401, "AuthenticationRequired")
		}
		for i := range 6 {
			guess(i).limitedNow()
		}
		thief.login(alice.Email, alice.Password).limitedNow() // the right one too
		thief.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": "AAAAA-AAAAA"}).limitedNow()
		// Nobody else is locked out.
		s.from(hers).login(alice.Handle, alice.Password).ok()
		thief.login(bob.Handle, bob.Password).ok()
		s.Clock.Advance(5 * time.Minute)
		thief.login(alice.Handle, alice.Password).ok()
	}, limited)
}

// TestOneBudgetForAllSpellings: however an account or an unknown name is spelt, from one address
// there are 30 guesses at it in five minutes, of which each login says how many are left.
func TestOneBudgetForAllSpellings(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
		for i, name := range []string{alice.Handle, alice.DID, "unknown.test", noSuchDID, "did:web:unknown.test"} {
			thief := s.from(fmt.Sprint("203.0.113.", i+1))
			spellings := slices.Collect(maps.Values(domaintest.Pasted(name)))
			for n := range 30 {
				a := thief.login(spellings[n%len(spellings)], "AAAA BBBB CCCC DDDD") // an app password, as it may be typed
				a.refused(401, "AuthenticationRequired", "Invalid identifier or password")
				if left := remaining(a); left != 29-n {
					t.Errorf("%s: after %d guesses %d are left", name, n+1, left)
				}
			}
			for _, spelt := range spellings {
				thief.login(spelt, "wrong").limitedNow()
				if strings.HasPrefix(name, "did:plc:") {
					thief.do(nobody, "server.deleteAccount", object{"did": spelt, "password": "wrong", "token": "AAAAA-AAAAA"}).limitedNow()
				}
			}
			thief.login("@Bob.test", bob.Password).ok() // it is not the limit of the address
		}
		s.from(hers).login(alice.Handle, alice.Password).ok()
	}, limited)
}

// TestGuessesInADay: 300.
func TestGuessesInADay(t *testing.T) {
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

// TestGuessesAtUnknownNamesAreLimitedAlike, so that the limit doesn't tell who has an account.
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

// TestHashingIsLimitedByAddress: whatever has the server hash a password counts, whoever it is
// about, 100 times in five minutes. A login with an app password, which costs nothing, doesn't.
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

// TestDeadTokensChargeTheAddress: what proves no living session costs its account nothing. An app
// that goes on with a token that was revoked, a year later still, locks nobody out but itself.
func TestDeadTokensChargeTheAddress(t *testing.T) {
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
		dead["changed"] = strings.TrimPrefix(me, "Bearer ")[:40] + "AAAA" + strings.TrimPrefix(me, "Bearer ")[44:]
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
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
			}
			if after := left(); after != before-1 {
				t.Errorf("%s: %d requests of the account's were charged, want 1", name, before-after)
			}
			if gone := there - remaining(app.do(nobody, "server.describeServer", nil)); gone < tries+1 {
				t.Errorf("%s: %d requests of the address's were charged, want %d at least", name, gone, tries+1)
			}
		}
	}, limited)
}

// TestAnAppDoesNotUseUpWhatIsTheOwners: the sessions of an app password have an allowance of their
// own, which they share.
func TestAnAppDoesNotUseUpWhatIsTheOwners(t *testing.T) {
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
		t.Errorf("another session of the app has %d requests left, want %d", after, before-6)
	}
	if after := left(bearer(alice.AccessJWT)); after != owners-1 {
		t.Errorf("the app cost its owner %d requests", owners-1-after)
	}
	if after := left(third); after != others-1 {
		t.Errorf("the app cost another app %d requests", others-1-after)
	}
	// The same goes for what a method allows.
	for range 5 {
		me.do(first, "server.requestEmailConfirmation", nil).ok()
	}
	me.do(first, "server.requestEmailConfirmation", nil).limitedNow()
	me.do(bearer(alice.AccessJWT), "server.requestEmailConfirmation", nil).ok()
}

func basicAuth(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// TestAdminGuesses: after ten failures an address isn't believed to be an admin's for five minutes.
// Each is in the log and in the audit log.
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
			t.Errorf("%d failures are in the audit log, want the 10: %v", failures, entries(page))
		}
		lines := log.warnings()[before:]
		named := 0
		for _, line := range lines {
			if strings.Contains(line, "secret-guess") || strings.Contains(line, base64.StdEncoding.EncodeToString([]byte("admin:secret"))) {
				t.Errorf("a password is in the log: %s", line)
			}
			if strings.Contains(line, theThiefs) {
				named++
			}
		}
		if named < 10 {
			t.Errorf("%d lines of the level WARN name the address, want 10: %q", named, lines)
		}
	}, limited, logged(&log))
}

func entries(p audit.Page) (all []audit.Entry) {
	for _, e := range p.Entries {
		all = append(all, *e)
	}
	return all
}

// TestUpdateEmailTellsAFewAddresses: whoever has a session can find out which addresses have
// accounts, two dozen in an hour.
func TestUpdateEmailTellsAFewAddresses(t *testing.T) {
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
	update(somebodys, "bob@example.com").limitedNow() // it is the account's limit
	update(theThiefs, "free@example.com").limitedNow()
	s.Clock.Advance(time.Hour)
	update(theThiefs, "bob@example.com").refused(400, "InvalidRequest")
	update(theThiefs, "free@example.com").ok()
}

// TestCreateAccountTellsAFewAddresses: sign-ups tell the same, and are limited as soon as they have
// been refused for it.
func TestCreateAccountTellsAFewAddresses(t *testing.T) {
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

// TestSignUpsThatSucceedTellNothing: an address may sign up more than two dozen accounts, as that
// of a school does.
func TestSignUpsThatSucceedTellNothing(t *testing.T) {
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

// TestAdminPasswordsAreNotShort: nothing but its length keeps an admin's password from being
// guessed, so it has twelve characters at least.
func TestAdminPasswordsAreNotShort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*gatehouse.Config)
		field  string // that is at fault
	}{
		"eleven characters":       {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"admin": "12345678901"} }, "Admins"},
		"twelve":                  {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"admin": "123456789012"} }, ""},
		"none":                    {func(*gatehouse.Config) {}, ""},
		"another admin's, eleven": {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"carol": "12345678901"} }, "Admins"},
		"another admin's, twelve": {func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"carol": "123456789012"} }, ""},
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

// exhausted is a limiter that has nothing left.
type exhausted struct{}

func (exhausted) Take(_ context.Context, _ string, w ...ratelimit.Window) (ratelimit.State, error) {
	return ratelimit.State{Window: w[0], Reset: time.Now().Add(time.Hour)}, nil
}

func (exhausted) Peek(ctx context.Context, key string, w ...ratelimit.Window) (ratelimit.State, error) {
	return exhausted{}.Take(ctx, key, w...)
}

// TestAnExhaustedCallerChangesNothing: a call that is answered 429 has not happened.
func TestAnExhaustedCallerChangesNothing(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Limits.Limiter = exhausted{} }))
	alice := s.CreateAccount("alice.test")
	s.do(bearer(alice.RefreshJWT), "server.deleteSession", nil).refused(429, "RateLimitExceeded")
	s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).refused(429, "RateLimitExceeded")
	if _, err := s.Gatehouse.Sessions.Verify(t.Context(), sessions.Bearer(alice.AccessJWT)); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
}

// TestAppPasswordsShareTheLimitsOfMethods: many app passwords may change a handle no more often
// than one, and leave the owner a share.
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
		t.Errorf("three apps changed the handle %d times in five minutes, want 10", changed)
	}
	change(alice.AccessJWT, "alice")
	if changed != 20 {
		t.Errorf("with the owner it was changed %d times, want 20", changed)
	}
}
