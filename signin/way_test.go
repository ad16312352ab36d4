package signin_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

// way is a way of the embedding program.
type way struct {
	name  string
	prove func(context.Context, signin.Attempt) (*signin.Proof, error)
	asked atomic.Int64
}

func (w *way) Name() string { return w.name }

func (w *way) Prove(ctx context.Context, a signin.Attempt) (*signin.Proof, error) {
	w.asked.Add(1)
	return w.prove(ctx, a)
}

// directory is a directory of people, such as one of LDAP: it knows accounts by their e-mail
// addresses.
func directory(passwords map[string]string) *way {
	return &way{name: "ldap", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		account := a.Account()
		if account == nil || passwords[account.Email] == "" || passwords[account.Email] != a.Password {
			return nil, accounts.ErrBadCredentials
		}
		return &signin.Proof{DID: account.DID}, nil
	}}
}

// with has the server try a way too.
func with(w signin.Way, instead ...bool) func(*domaintest.Config) {
	return func(c *domaintest.Config) {
		c.Ways, c.Accounts.NoPasswords = []signin.Way{w}, len(instead) > 0
	}
}

// TestADirectoryInsteadOfPasswords: its password is the account's for everything, and that which
// the account has had is as good as any wrong one.
func TestADirectoryInsteadOfPasswords(t *testing.T) {
	ldap := directory(map[string]string{"alice@example.com": "of the directory"})
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	_, app, err := s.AppPasswords.Create(ctx, id, "app", false)
	must(t, err)
	// The server gets the directory when it has accounts with passwords already.
	srv := s.Another(with(ldap, true), func(c *domaintest.Config) { c.Accounts.Handles.Resolver = noHandles{} })

	k, err := srv.SignIn.SignIn(ctx, try("alice.test", "of the directory"))
	if err != nil || k.Session.Method != "ldap" || k.Session.Scope != sessions.ScopeAccess || k.Session.AppPassword != "" {
		t.Fatalf("the directory's password: %+v, %v", k, err)
	}
	if k, err := srv.SignIn.SignIn(ctx, try("alice.test", app)); err != nil || k.Session.Scope != sessions.ScopeAppPass {
		t.Errorf("an app password: %+v, %v", k, err)
	}
	must(t, srv.Accounts.RequestDelete(ctx, id))
	code := s.Code("alice")
	_, old := srv.SignIn.SignIn(ctx, try("alice.test", "password"))
	_, wrong := srv.SignIn.SignIn(ctx, try("alice.test", "wrong"))
	_, nobody := srv.SignIn.SignIn(ctx, try("nobody.test", "of the directory"))
	for what, err := range map[string]error{
		"the account's password": old, "a wrong password": wrong, "an unknown identifier": nobody,
		"a deletion with the account's password": srv.SignIn.DeleteAccount(ctx, id, "password", code),
		"a deletion with an app password":        srv.SignIn.DeleteAccount(ctx, id, app, code),
	} {
		want := "Invalid identifier or password"
		if strings.HasPrefix(what, "a deletion") {
			want = "Invalid did or password"
		}
		if !errors.Is(err, accounts.ErrBadCredentials) || err.Error() != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"SetPassword":          srv.Accounts.SetPassword(ctx, id, "another password"),
		"RequestPasswordReset": srv.Accounts.RequestPasswordReset(ctx, "alice@example.com"),
		"ResetPassword":        srv.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: code, Password: "another password"}),
	} {
		if !errors.Is(err, accounts.ErrNoPasswords) {
			t.Errorf("%s: %v", what, err)
		}
	}
	k, err = srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "bob.test", Email: "bob@example.com", NoPassword: true})
	if err != nil || k.Session.Method != signin.MethodSignUp {
		t.Errorf("a sign-up without a password: %+v, %v", k, err)
	}
	if err := srv.SignIn.DeleteAccount(ctx, id, "of the directory", code); err != nil {
		t.Errorf("a deletion: %v", err)
	}
}

type noHandles struct{}

func (noHandles) ResolveHandle(context.Context, syntax.Handle) (syntax.DID, error) {
	return "", errors.New("there are none")
}

// TestAWayBesidePasswords leaves them as they were.
func TestAWayBesidePasswords(t *testing.T) {
	s := domaintest.New(t, with(directory(map[string]string{"alice@example.com": "of the directory"})))
	id := s.SignUp("alice").Account.DID
	for _, password := range []string{"password", "of the directory"} {
		_, err := s.SignIn.SignIn(ctx, try("alice@example.com", password))
		must(t, err)
		s.Advance(1)
	}
	if got := opened(t, s, id); got != "ldap password" && got != "password ldap" {
		t.Errorf("the sessions were opened by %s", got)
	}
}

// TestAWayThatMisbehaves opens nothing, and the server lives on.
func TestAWayThatMisbehaves(t *testing.T) {
	wanted := errors.New("the directory is down")
	for name, c := range map[string]struct {
		prove func(alice, bob syntax.DID) (*signin.Proof, error)
		want  error
	}{
		"returns another account": {func(_, bob syntax.DID) (*signin.Proof, error) { return &signin.Proof{DID: bob}, nil }, nil},
		"returns nobody":          {func(_, _ syntax.DID) (*signin.Proof, error) { return &signin.Proof{}, nil }, nil},
		"returns nothing":         {func(_, _ syntax.DID) (*signin.Proof, error) { return nil, nil }, nil},
		"returns a scope for leaving": {func(alice, _ syntax.DID) (*signin.Proof, error) {
			return &signin.Proof{DID: alice, Scope: sessions.ScopeTakendown}, nil
		}, nil},
		"returns a scope for refresh": {func(alice, _ syntax.DID) (*signin.Proof, error) {
			return &signin.Proof{DID: alice, Scope: sessions.ScopeRefresh}, nil
		}, nil},
		"returns a scope that is none": {func(alice, _ syntax.DID) (*signin.Proof, error) { return &signin.Proof{DID: alice, Scope: "all"}, nil }, nil},
		"fails":                        {func(_, _ syntax.DID) (*signin.Proof, error) { return nil, wanted }, wanted},
		"returns a proof and fails":    {func(alice, _ syntax.DID) (*signin.Proof, error) { return &signin.Proof{DID: alice}, wanted }, wanted},
		"refuses with a proof": {func(alice, _ syntax.DID) (*signin.Proof, error) {
			return &signin.Proof{DID: alice}, accounts.ErrBadCredentials
		}, accounts.ErrBadCredentials},
		"panics":           {func(_, _ syntax.DID) (*signin.Proof, error) { panic("at the disco") }, nil},
		"ends its routine": {func(_, _ syntax.DID) (*signin.Proof, error) { runtime.Goexit(); return nil, nil }, nil},
		"refuses the proof": {func(alice, _ syntax.DID) (*signin.Proof, error) {
			return &signin.Proof{DID: alice, StillTx: func(storage.Tx) error { return wanted }}, nil
		}, wanted},
	} {
		t.Run(name, func(t *testing.T) {
			var alice, bob syntax.DID
			w := &way{name: "odd"}
			w.prove = func(context.Context, signin.Attempt) (*signin.Proof, error) { return c.prove(alice, bob) }
			s := domaintest.New(t, with(w))
			alice, bob = s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
			k, err := s.SignIn.SignIn(ctx, try("alice.test", "wrong"))
			if err == nil || k != nil || c.want != nil && !errors.Is(err, c.want) || w.asked.Load() != 1 {
				t.Errorf("%v, asked %d times", err, w.asked.Load())
			}
			must(t, s.Accounts.RequestDelete(ctx, alice))
			if err := s.SignIn.DeleteAccount(ctx, alice, "wrong", s.Code("alice")); err == nil {
				t.Error("the account was deleted")
			}
			if got := opened(t, s, alice) + opened(t, s, bob); got != "" {
				t.Errorf("sessions were opened by %s", got)
			}
		})
	}
}

// TestAnErrorOfAWayDoesNotShowThePassword, whether the way returns it or panics.
func TestAnErrorOfAWayDoesNotShowThePassword(t *testing.T) {
	down := errors.New("down")
	for name, prove := range map[string]func(signin.Attempt) error{
		"returns": func(a signin.Attempt) error { return fmt.Errorf("bind with %q: %w", a.Password, down) },
		"panics":  func(a signin.Attempt) error { panic(a.Password) },
	} {
		w := &way{name: "ldap", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) { return nil, prove(a) }}
		s := domaintest.New(t, with(w))
		s.SignUp("alice")
		_, err := s.SignIn.SignIn(ctx, try("alice.test", "a \"b\" c"))
		if err == nil || err.Error() != `signin: the way "ldap" failed (its error contains the password)` {
			t.Errorf("%s: %v", name, err)
		}
		if name == "returns" && !errors.Is(err, down) {
			t.Errorf("%v isn't of the kind that the way returned", err)
		}
	}
}

// TestAWayThatHangs holds nobody beyond the end of the context, and what it returns then is
// dropped.
func TestAWayThatHangs(t *testing.T) {
	release, returned := make(chan struct{}), make(chan struct{})
	var cancel context.CancelFunc
	w := &way{name: "slow", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		defer close(returned)
		cancel()
		<-release
		return &signin.Proof{DID: a.Account().DID}, nil
	}}
	s := domaintest.New(t, with(w))
	id := s.SignUp("alice").Account.DID
	var hanging context.Context
	hanging, cancel = context.WithCancel(ctx)
	defer cancel()
	if _, err := s.SignIn.SignIn(hanging, try("alice.test", "anything")); !errors.Is(err, context.Canceled) {
		t.Errorf("while it hangs: %v", err)
	}
	close(release)
	<-returned
	if got := opened(t, s, id); got != "" {
		t.Errorf("sessions were opened by %s", got)
	}
}

// TestAWayIsBoundToTheBudget: it is asked as often as there are guesses, whatever it says.
func TestAWayIsBoundToTheBudget(t *testing.T) {
	ldap := directory(map[string]string{"alice@example.com": "of the directory"})
	s := domaintest.New(t, with(ldap))
	id := s.SignUp("alice").Account.DID
	thief := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.1"})
	for i := range 30 {
		var err error
		switch i % 3 {
		case 0:
			_, err = s.SignIn.SignIn(thief, try("alice.test", "wrong"))
		case 1:
			_, err = s.SignIn.SignIn(thief, try("alice@example.com", "wrong"))
		case 2:
			err = s.SignIn.DeleteAccount(thief, id, "wrong", "AAAAA-AAAAA")
		}
		if !errors.Is(err, accounts.ErrBadCredentials) || ldap.asked.Load() != int64(i+1) {
			t.Fatalf("guess %d: %v; the way was asked %d times", i, err, ldap.asked.Load())
		}
	}
	if _, err := s.SignIn.SignIn(thief, try("alice.test", "of the directory")); !errors.Is(err, ratelimit.ErrLimited) || ldap.asked.Load() != 30 {
		t.Errorf("the right password then: %v; the way was asked %d times", err, ldap.asked.Load())
	}
}

// TestAttemptsAreChargedForTheNameAndTheAccount: who logs in by a name that only the way knows is charged for the
// name and for the account.
func TestAttemptsAreChargedForTheNameAndTheAccount(t *testing.T) {
	var id syntax.DID
	w := &way{name: "uid", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		if a.Account() != nil || !strings.HasPrefix(a.Identifier, "uid=") || a.Password != "of the directory" {
			return nil, accounts.ErrBadCredentials
		}
		return &signin.Proof{DID: id}, nil
	}}
	s := domaintest.New(t, with(w))
	id = s.SignUp("alice").Account.DID
	client := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.1"})
	for i := range 30 {
		_, err := s.SignIn.SignIn(client, try(fmt.Sprintf("uid=alice%d", i), "of the directory"))
		must(t, err)
	}
	for _, a := range []signin.Attempt{try("uid=another", "of the directory"), try("alice.test", "password")} {
		if _, err := s.SignIn.SignIn(client, a); !errors.Is(err, ratelimit.ErrLimited) {
			t.Errorf("%s: %v", a.Identifier, err)
		}
	}
	// A deletion is of the account that is named, and of no other.
	must(t, s.Accounts.RequestDelete(ctx, id))
	w.prove = func(context.Context, signin.Attempt) (*signin.Proof, error) { return &signin.Proof{DID: id}, nil }
	if err := s.SignIn.DeleteAccount(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "of the directory", s.Code("alice")); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a deletion by another DID: %v", err)
	}
	// And an account that isn't there can't log in.
	id = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	if _, err := s.SignIn.SignIn(ctx, try("uid=nobody", "of the directory")); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("an account that doesn't exist: %v", err)
	}
}

// TestAWayDoesNotOutrankATakedown: its owner can leave as others do, and who acts for the owner
// can't.
func TestAWayDoesNotOutrankATakedown(t *testing.T) {
	scope := sessions.ScopeAccess
	w := &way{name: "ldap", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		found := a.Account()
		proof := &signin.Proof{DID: found.DID, Scope: scope, WithoutFactors: true}
		found.Takedown = nil // what a way does to the account it is shown has no effect
		return proof, nil
	}}
	s := domaintest.New(t, with(w))
	id := s.SignUp("alice").Account.DID
	must(t, s.Accounts.TakeDown(ctx, id, "case 1"))
	a := try("alice.test", "anything")
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("an account that is taken down: %v", err)
	}
	a.AllowTakendown = true
	k, err := s.SignIn.SignIn(ctx, a)
	if err != nil || k.Session != nil || k.Permissions.Allow(sessions.UseAccount) {
		t.Errorf("its owner, who leaves: %+v, %v", k, err)
	}
	scope = sessions.ScopeAppPassPrivileged
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("who acts for the owner: %v", err)
	}
	if got := opened(t, s, id); got != "" {
		t.Errorf("sessions were opened by %s", got)
	}
}

// TestAWayIsAskedForTheFactorToo, unless it says that it needs none.
func TestAWayIsAskedForTheFactorToo(t *testing.T) {
	without := false
	w := &way{name: "ldap", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		return &signin.Proof{DID: a.Account().DID, WithoutFactors: without}, nil
	}}
	s := domaintest.New(t, with(w))
	id := s.SignUp("alice").Account.DID
	factor(t, s, "alice")
	a := try("alice.test", "anything")
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, signin.ErrFactorRequired) {
		t.Errorf("without a code: %v", err)
	}
	code := s.Code("alice")
	a.Code = "AAAAA-AAAAA"
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with a wrong code: %v", err)
	}
	a.Code = code
	_, err := s.SignIn.SignIn(ctx, a)
	must(t, err)
	a.Code, without = "", true
	_, err = s.SignIn.SignIn(ctx, a)
	must(t, err)
	if got := opened(t, s, id); got != "ldap ldap" {
		t.Errorf("sessions were opened by %s", got)
	}
}

// link is the token of a link that was mailed.
type link string

type usedLink struct{ Link link }

var usedLinks = storage.NewCollection("used_links", func(u *usedLink) string { return string(u.Link) })

// links is a way by which a link opens one session.
func links(whose map[link]syntax.DID) *way {
	return &way{name: "link", prove: func(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
		l, ok := a.Credential.(link)
		if !ok || whose[l] == "" {
			return nil, accounts.ErrBadCredentials
		}
		return &signin.Proof{DID: whose[l], StillTx: func(tx storage.Tx) error {
			switch _, err := usedLinks.Get(tx, string(l)); {
			case err == nil:
				return accounts.ErrBadCredentials
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
			return usedLinks.Insert(tx, &usedLink{l})
		}}, nil
	}}
}

// TestALinkOpensOneSession: a way needs no identifier, and says in the transaction that uses its
// proof that the proof is used up.
func TestALinkOpensOneSession(t *testing.T) {
	whose := map[link]syntax.DID{}
	s := domaintest.New(t, with(links(whose)))
	must(t, storage.Define(ctx, s.Store, usedLinks))
	id := s.SignUp("alice").Account.DID
	whose["one"] = id
	var passes []*signin.Pass
	for range 2 {
		pass, err := s.SignIn.Prove(ctx, signin.Attempt{Credential: link("one")})
		must(t, err)
		passes = append(passes, pass)
	}
	veto := errors.New("not now")
	if err := passes[0].Use(ctx, func(storage.Tx, *accounts.Account) error { return veto }); !errors.Is(err, veto) {
		t.Fatal(err)
	}
	must(t, passes[1].Use(ctx, func(storage.Tx, *accounts.Account) error { return nil }))
	if err := passes[0].Use(ctx, func(storage.Tx, *accounts.Account) error { return nil }); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a second time: %v", err)
	}
	for name, a := range map[string]signin.Attempt{
		"a used link":         {Credential: link("one")},
		"an unknown link":     {Credential: link("two")},
		"something else":      {Credential: "one"},
		"the text of a link":  {Password: "one"},
		"nothing":             {},
		"a link of another's": {Identifier: "bob.test", Credential: link("one")},
	} {
		if name == "a link of another's" {
			s.SignUp("bob")
		}
		if k, err := s.SignIn.SignIn(ctx, a); err == nil {
			t.Errorf("%s opens %+v", name, k.Session)
		}
	}
	// Guesses at links are charged to the address.
	thief := ratelimit.NewContext(ctx, ratelimit.Client{Address: "203.0.113.1"})
	for range 30 {
		if _, err := s.SignIn.SignIn(thief, signin.Attempt{Credential: link("guess")}); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Fatal(err)
		}
	}
	if _, err := s.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: "password", Credential: link("guess")}); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a password beside a link that is none: %v", err)
	}
	whose["three"] = id
	if _, err := s.SignIn.SignIn(thief, signin.Attempt{Credential: link("three")}); !errors.Is(err, ratelimit.ErrLimited) {
		t.Errorf("beyond the budget: %v", err)
	}
}

// totp is a second factor of the embedding program, which counts wrong codes.
type totp struct {
	enrolled map[syntax.DID]bool
	wrong    *storage.Collection[wrongCode]
}

type wrongCode struct{ Key string }

func (totp) Name() string { return "totp" }

func (f totp) EnrolledTx(_ storage.Tx, a *accounts.Account) (bool, error) {
	return f.enrolled[a.DID], nil
}

func (totp) Challenge(context.Context, *accounts.Account) (string, error) {
	return "Enter the code of your app", nil
}

func (f totp) RedeemTx(tx storage.Tx, _ *accounts.Account, code string) (refusal, err error) {
	if code == "123456" {
		return nil, nil
	}
	return fmt.Errorf("wrong code: %w", codes.ErrInvalid), f.wrong.Put(tx, &wrongCode{code})
}

// TestAFactorOfTheEmbedders is asked for before mailed codes, any of which does as well.
func TestAFactorOfTheEmbedders(t *testing.T) {
	f := totp{map[syntax.DID]bool{}, storage.NewCollection("wrong_codes", func(c *wrongCode) string { return c.Key })}
	s := domaintest.New(t, func(c *domaintest.Config) { c.Factors = []signin.Factor{f} })
	must(t, storage.Define(ctx, s.Store, f.wrong))
	id := s.SignUp("alice").Account.DID
	factor(t, s, "alice")
	a := try("alice.test", "password")
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, signin.ErrFactorRequired) {
		t.Fatal(err)
	}
	mailed := s.Code("alice")
	f.enrolled[id] = true
	_, err := s.SignIn.SignIn(ctx, a)
	var missing *signin.FactorRequiredError
	if !errors.As(err, &missing) || strings.Join(missing.Factors, " ") != "totp email-code" || missing.PublicMessage() != "Enter the code of your app" {
		t.Errorf("without a code: %+v, %v", missing, err)
	}
	a.Code = "000000"
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, codes.ErrInvalid) || err.Error() != "wrong code: codes: invalid code" {
		t.Errorf("with a wrong code: %v", err)
	}
	var wrong []*wrongCode
	must(t, s.Store.View(ctx, func(tx storage.Tx) (err error) {
		wrong, err = f.wrong.All(tx, storage.Range{})
		return err
	}))
	if len(wrong) != 1 {
		t.Errorf("%d wrong codes were counted", len(wrong))
	}
	for _, a.Code = range []string{"123456", mailed} {
		if _, err := s.SignIn.SignIn(ctx, a); err != nil {
			t.Errorf("with the code %s: %v", a.Code, err)
		}
	}
	if _, err := s.SignIn.SignIn(ctx, a); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with the mailed code again: %v", err)
	}
}
