package signin_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

var ctx = context.Background()

func try(identifier, password string) signin.Attempt {
	return signin.Attempt{Identifier: identifier, Password: password}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// factor switches the mailed code of LABEL.test on.
func factor(t *testing.T, s *domaintest.Services, label string) {
	t.Helper()
	a, err := s.Accounts.Find(ctx, label+".test")
	must(t, err)
	must(t, s.Accounts.Emails().RequestConfirmation(ctx, a.DID))
	must(t, s.Accounts.Emails().Confirm(ctx, a.DID, a.Email, s.Code(label)))
	must(t, s.Accounts.Emails().Update(ctx, a.DID, accounts.EmailUpdate{Address: a.Email, Factor: accounts.EnableFactor}))
}

// opened is the methods of the sessions of an account, without that of the sign-up.
func opened(t *testing.T, s *domaintest.Services, did syntax.DID) string {
	t.Helper()
	all, err := s.Sessions.List(ctx, did)
	must(t, err)
	var methods []string
	for _, k := range all {
		if k.Method != signin.MethodSignUp {
			methods = append(methods, k.Method)
		}
	}
	return strings.Join(methods, " ")
}

// reading is a store that counts the documents that are asked for in Views.
type reading struct {
	storage.Store
	reads atomic.Int32
}

func (r *reading) View(ctx context.Context, fn func(storage.Tx) error) error {
	return r.Store.View(ctx, func(tx storage.Tx) error { return fn(countedTx{tx, r}) })
}

type countedTx struct {
	storage.Tx
	r *reading
}

func (c countedTx) Get(table, key string) ([]byte, error) {
	c.r.reads.Add(1)
	return c.Tx.Get(table, key)
}

func (c countedTx) GetBy(table, index, value string) ([]byte, error) {
	c.r.reads.Add(1)
	return c.Tx.GetBy(table, index, value)
}

// TestUnknownIdentifiersCostTheSameReads: on a store that is elsewhere, each read takes the time of a
// message, which would tell whose address has an account.
func TestUnknownIdentifiersCostTheSameReads(t *testing.T) {
	store := &reading{Store: memory.New()}
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
		Logger: slog.New(slog.DiscardHandler), NoMaintenance: true,
	})
	must(t, err)
	defer srv.Close()
	_, err = srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "password"})
	must(t, err)
	reads := func(identifier, password string) int32 {
		store.reads.Store(0)
		if _, err := srv.SignIn.SignIn(ctx, try(identifier, password)); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("%s with %s: %v", identifier, password, err)
		}
		return store.reads.Load()
	}
	for _, password := range []string{"wrong", "aaaa-bbbb-cccc-dddd"} {
		if known, unknown := reads("alice@example.com", password), reads("bob@example.com", password); known != unknown {
			t.Errorf("with %s, a known address takes %d reads and an unknown one %d", password, known, unknown)
		}
	}
}

func TestSecondFactor(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	_, app, err := s.AppPasswords.Create(ctx, did, "app", false)
	must(t, err)
	factor(t, s, "alice")
	c := try("alice.test", "password")
	_, err = s.SignIn.SignIn(ctx, c)
	var missing *signin.FactorRequiredError
	if !errors.Is(err, signin.ErrFactorRequired) || !errors.As(err, &missing) || strings.Join(missing.Factors, " ") != signin.MethodEmailCode ||
		missing.PublicMessage() != "A sign in code has been sent to your email address" {
		t.Errorf("without a code: %v", err)
	}
	c.Code = s.Code("alice")
	if _, err := s.SignIn.SignIn(ctx, c); err != nil {
		t.Errorf("with the code: %v", err)
	}
	if _, err := s.SignIn.SignIn(ctx, c); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with a used code: %v", err)
	}
	_, err = s.SignIn.SignIn(ctx, try("alice.test", "wrong"))
	if codes := s.Mail.Of(mail.SignIn, "alice@example.com"); !errors.Is(err, accounts.ErrBadCredentials) || len(codes) != 0 {
		t.Errorf("a wrong password: %v, %v", err, codes)
	}
	if _, err := s.SignIn.SignIn(ctx, try("alice.test", app)); err != nil {
		t.Errorf("an app password: %v", err)
	}
}

// TestAPassIsForWhatStillHolds: what ends while somebody passes is found out in the transaction
// that uses the pass, and nothing of that happens.
func TestAPassIsForWhatStillHolds(t *testing.T) {
	for name, c := range map[string]struct {
		app  bool // with an app password
		end  func(*domaintest.Services, syntax.DID) error
		want error
	}{
		"the same":               {},
		"the same app password":  {app: true},
		"another password":       {end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.SetPassword(ctx, id, "password") }, want: accounts.ErrBadCredentials},
		"no password":            {end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.RevokeCredentials(ctx, id) }, want: accounts.ErrBadCredentials},
		"a takedown":             {end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.TakeDown(ctx, id, "") }, want: sessions.ErrAccountTakedown},
		"a takedown, of an app":  {app: true, end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.TakeDown(ctx, id, "") }, want: sessions.ErrAccountTakedown},
		"a deletion":             {end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.DeleteNow(ctx, id) }, want: accounts.ErrBadCredentials},
		"a deletion, of an app":  {app: true, end: func(s *domaintest.Services, id syntax.DID) error { return s.Accounts.DeleteNow(ctx, id) }, want: accounts.ErrBadCredentials},
		"a revoked app password": {app: true, end: func(s *domaintest.Services, id syntax.DID) error { return s.AppPasswords.Revoke(ctx, id, "app") }, want: accounts.ErrBadCredentials},
		"a factor": {end: func(s *domaintest.Services, id syntax.DID) error {
			return s.Accounts.Emails().Update(ctx, id, accounts.EmailUpdate{Address: "alice@example.com", Factor: accounts.EnableFactor})
		}, want: signin.ErrFactorRequired},
		"a factor, of an app": {app: true, end: func(s *domaintest.Services, id syntax.DID) error {
			return s.Accounts.Emails().Update(ctx, id, accounts.EmailUpdate{Address: "alice@example.com", Factor: accounts.EnableFactor})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			id := s.SignUp("alice").Account.DID
			must(t, s.Accounts.Emails().RequestConfirmation(ctx, id))
			must(t, s.Accounts.Emails().Confirm(ctx, id, "alice@example.com", s.Code("alice")))
			_, app, err := s.AppPasswords.Create(ctx, id, "app", false)
			must(t, err)
			a := try("alice.test", "password")
			if c.app {
				a.Password = app
			}
			pass, err := s.SignIn.Prove(ctx, a)
			must(t, err)
			if c.end != nil {
				must(t, c.end(s, id))
			}
			ran := false
			err = pass.Use(ctx, func(storage.Tx, *accounts.Account) error { ran = true; return nil })
			if !errors.Is(err, c.want) || ran != (c.want == nil) {
				t.Errorf("%v, and what it was for happened: %t", err, ran)
			}
			if errors.Is(c.want, signin.ErrFactorRequired) && s.Code("alice") == "" {
				t.Error("no code was mailed")
			}
		})
	}
}

// TestAFactorThatIsSwitchedOnMeanwhile has an account get a second factor while somebody who has
// its password logs in.
func TestAFactorThatIsSwitchedOnMeanwhile(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	meanwhile := domaintest.Before(ctx, func() { factor(t, s, "alice") })
	if _, err := s.SignIn.SignIn(meanwhile, try("alice.test", "password")); !errors.Is(err, signin.ErrFactorRequired) {
		t.Errorf("a login without a code: %v", err)
	}
	if got := opened(t, s, did); got != "" {
		t.Errorf("sessions were opened by %s", got)
	}
}

// TestAPassIsUsedOnce, and only by what succeeds: an error leaves it and the code as they were.
func TestAPassIsUsedOnce(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	factor(t, s, "alice")
	a := try("alice.test", "password")
	if _, err := s.SignIn.Prove(ctx, a); !errors.Is(err, signin.ErrFactorRequired) {
		t.Fatal(err)
	}
	a.Code = s.Code("alice")
	pass, err := s.SignIn.Prove(ctx, a)
	must(t, err)
	veto := errors.New("not now")
	if err := pass.Use(ctx, func(storage.Tx, *accounts.Account) error { return veto }); !errors.Is(err, veto) {
		t.Errorf("a veto: %v", err)
	}
	must(t, pass.Use(ctx, func(_ storage.Tx, a *accounts.Account) error {
		if a.Handle != "alice.test" || a.DID != pass.DID() {
			t.Errorf("it was used for %s", a.Handle)
		}
		return nil
	}))
	again := func(storage.Tx, *accounts.Account) error { t.Error("it was used again"); return nil }
	if err := pass.Use(ctx, again); !errors.Is(err, signin.ErrUsed) {
		t.Errorf("a second use: %v", err)
	}
	// Another pass has the same code, which is used up.
	other, err := s.SignIn.Prove(ctx, a)
	must(t, err)
	if err := other.Use(ctx, again); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a second use of the code: %v", err)
	}
}

// TestWrongCodesCount although the transactions that count them open no session.
func TestWrongCodesCount(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Accounts.Limits.Limiter = ratelimit.Off{} })
	did := s.SignUp("alice").Account.DID
	factor(t, s, "alice")
	a := try("alice.test", "password")
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, signin.ErrFactorRequired) {
		t.Fatal(err)
	}
	code := s.Code("alice")
	for range 10 {
		a.Code = "AAAAA-AAAAA"
		if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, codes.ErrInvalid) {
			t.Fatal(err)
		}
	}
	a.Code = code
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("the right code after ten wrong ones: %v", err)
	}
	if got := opened(t, s, did); got != "" {
		t.Errorf("sessions were opened by %s", got)
	}
}

// TestOnlyTheOwnerCallsOffADeletion: an app that goes on to log in doesn't keep an account.
func TestOnlyTheOwnerCallsOffADeletion(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	_, app, err := s.AppPasswords.Create(ctx, id, "app", true)
	must(t, err)
	later := s.Now().Add(1000 * time.Hour)
	must(t, s.Accounts.Deactivate(ctx, id, &later))
	for _, c := range []struct {
		password  string
		scheduled bool
	}{{app, true}, {"password", false}} {
		_, err := s.SignIn.SignIn(ctx, try("alice.test", c.password))
		must(t, err)
		if a, err := s.Accounts.Get(ctx, id); err != nil || (a.DeleteAfter != nil) != c.scheduled || a.DeactivatedAt == nil {
			t.Errorf("after a login with %q: %+v, %v", c.password, a, err)
		}
	}
}

// TestOnlyTheOwnerCanDelete: it takes the password of the owner and the code, and no app password.
func TestOnlyTheOwnerCanDelete(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	_, app, err := s.AppPasswords.Create(ctx, id, "app", true)
	must(t, err)
	must(t, s.Accounts.RequestDelete(ctx, id))
	code := s.Code("alice")
	for what, err := range map[string]error{
		"an app password":        s.SignIn.DeleteAccount(ctx, id, app, code),
		"a wrong password":       s.SignIn.DeleteAccount(ctx, id, "wrong", code),
		"a very long password":   s.SignIn.DeleteAccount(ctx, id, strings.Repeat("x", 513), code),
		"a handle":               s.SignIn.DeleteAccount(ctx, "alice.test", "password", code),
		"an e-mail address":      s.SignIn.DeleteAccount(ctx, "alice@example.com", "password", code),
		"the DID of nobody here": s.SignIn.DeleteAccount(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "password", code),
	} {
		want := "Invalid did or password"
		if what == "a very long password" {
			want = "Password too long. Consider resetting your password."
		}
		if !errors.Is(err, accounts.ErrBadCredentials) || err.Error() != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.SignIn.DeleteAccount(ctx, id, "password", "AAAAA-AAAAA"); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a wrong code: %v", err)
	}
	must(t, s.Accounts.TakeDown(ctx, id, ""))
	if err := s.SignIn.DeleteAccount(ctx, id, "password", code); !errors.Is(err, accounts.ErrTakenDown) {
		t.Errorf("of an account that is taken down: %v", err)
	}
	must(t, s.Accounts.Restore(ctx, id))
	must(t, s.Accounts.RequestDelete(ctx, id))
	must(t, s.SignIn.DeleteAccount(ctx, id, "password", s.Code("alice")))
	if _, err := s.Accounts.Get(ctx, id); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestAllGuessesShareABudget: those by every identifier of an account and in every way, from one
// address. Unknown identifiers have one each.
func TestAllGuessesShareABudget(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	thief := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.1"})
	for i := range 30 {
		var err error
		switch i % 5 {
		case 0:
			_, err = s.SignIn.SignIn(thief, try("Alice.test", "wrong"))
		case 1:
			_, err = s.SignIn.SignIn(thief, try("alice@example.com", "aaaa-bbbb-cccc-dddd"))
		case 2:
			_, err = s.SignIn.Prove(thief, try("@alice.test", "wrong"))
		case 3:
			err = s.SignIn.DeleteAccount(thief, id, "wrong", "AAAAA-AAAAA")
		case 4:
			_, err = s.SignIn.SignIn(thief, try(id.String(), "wrong"))
		}
		if !errors.Is(err, accounts.ErrBadCredentials) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := s.SignIn.Prove(thief, try("alice.test", "password")); !errors.Is(err, ratelimit.ErrLimited) {
		t.Errorf("the right password then: %v", err)
	}
	owner := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.2"})
	if _, err := s.SignIn.SignIn(owner, try("alice.test", "password")); err != nil {
		t.Errorf("the owner, from another address: %v", err)
	}
	if _, err := s.SignIn.SignIn(thief, try("nobody.test", "wrong")); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("another name: %v", err)
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	s := domaintest.New(t)
	password := signin.Password(s.Accounts)
	for name, cfg := range map[string]signin.Config{
		"no way":                       {},
		"a way twice":                  {Ways: []signin.Way{password, password}},
		"a way without a name":         {Ways: []signin.Way{&way{}}},
		"a way that is none":           {Ways: []signin.Way{nil}},
		"a way by the name of sign-up": {Ways: []signin.Way{&way{name: signin.MethodSignUp}}},
		"a factor twice":               {Ways: []signin.Way{password}, Factors: []signin.Factor{signin.EmailCode(s.Accounts), signin.EmailCode(s.Accounts)}},
		"a factor that is none":        {Ways: []signin.Way{password}, Factors: []signin.Factor{nil}},
	} {
		if _, err := signin.New(s.Store, s.Accounts, s.Sessions, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	cfg := gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, SignIn: gatehouse.SignIn{NoAccountPasswords: true}}
	if _, err := gatehouse.New(ctx, s.Store, cfg); err == nil || !strings.Contains(err.Error(), "SignIn.NoAccountPasswords") {
		t.Errorf("no way is left: %v", err)
	}
}
