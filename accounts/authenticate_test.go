package accounts_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// authenticate tries a password for an identifier, which may be unknown.
func authenticate(s *accounts.Service, identifier, password string) (*accounts.PasswordProof, error) {
	a, err := s.Find(ctx, identifier)
	if errors.Is(err, accounts.ErrNotFound) {
		a, err = new(accounts.Account), nil
	}
	if err != nil {
		return nil, err
	}
	return s.Authenticate(ctx, a.DID, password, func(context.Context) error { return nil })
}

// TestAWrongPasswordCostsAsMuchAsTheCostliestHash, whether or not there is an account, and whenever
// its password was set.
func TestAWrongPasswordCostsAsMuchAsTheCostliestHash(t *testing.T) {
	store, hasher, now := memory.New(), &domaintest.PricedHasher{Cost: 5}, time.Unix(1_800_000_000, 0)
	defer store.Close()
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := accounts.New(ctx, store, accounts.Config{
		Handles: handle.Config{Domains: []string{".test"}}, DIDs: &did.Registrar{Web: true}, Keys: sealed, Passwords: hasher, Mailer: mail.NewMemory(),
		Codes: book, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	signUp := func(label string) *accounts.Account {
		t.Helper()
		a, err := s.Create(ctx, accounts.CreateParams{Handle: label + ".test", Email: label + "@example.com", Password: "password"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := func(work int64, after time.Duration) {
		t.Helper()
		now = now.Add(after)
		for _, name := range []string{"cheap.test", "nobody.test"} {
			hasher.Asked = -1
			if _, err := authenticate(s, name, "wrong"); !errors.Is(err, accounts.ErrBadCredentials) || hasher.Asked != work {
				t.Errorf("a wrong password of %s: %v, for the work of %d, want %d", name, err, hasher.Asked, work)
			}
		}
	}
	signUp("cheap")
	want(5, 0)
	hasher.Cost = 50
	costly := signUp("costly")
	want(50, time.Minute) // the work of the costliest is cached for so long
	hasher.Cost = 70
	encoded, err := hasher.Hash(ctx, "password")
	if err != nil {
		t.Fatal(err)
	}
	moved := accounts.Import{DID: "did:plc:moved", Handle: "moved.test", PasswordHash: encoded}
	if results, err := s.Import(ctx, []accounts.Import{moved}); err != nil || results[0].Refused != nil {
		t.Fatal(results, err)
	}
	want(70, 0) // imports are rare and large, so they count at once
	if err := s.DeleteNow(ctx, moved.DID); err != nil {
		t.Fatal(err)
	}
	hasher.Cost = 20
	if err := s.SetPassword(ctx, costly.DID, "another password"); err != nil {
		t.Fatal(err)
	}
	want(20, time.Minute)
	if err := s.DeleteNow(ctx, costly.DID); err != nil {
		t.Fatal(err)
	}
	want(5, time.Minute)
}

// reading is a store that counts the documents that are asked for in Views.
type reading struct {
	storage.Store
	gets int
}

func (r *reading) View(ctx context.Context, fn func(storage.Tx) error) error {
	return r.Store.View(ctx, func(tx storage.Tx) error { return fn(countedTx{tx, r}) })
}

type countedTx struct {
	storage.Tx
	r *reading
}

func (c countedTx) Get(table, key string) ([]byte, error) {
	c.r.gets++
	return c.Tx.Get(table, key)
}

// TestUnknownAccountsAreReadLikeOthers: a login reads as many documents for an account that doesn't
// exist, since each read takes the time of a message to a store on another machine.
func TestUnknownAccountsAreReadLikeOthers(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	store := &reading{Store: s.Store}
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), nil)
	if err != nil {
		t.Fatal(err)
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	service, err := accounts.New(ctx, store, accounts.Config{
		Handles: handle.Config{Domains: []string{".test"}}, DIDs: &did.Registrar{Web: true}, Keys: sealed, Passwords: &domaintest.PricedHasher{Cost: 5},
		Mailer: mail.NewMemory(), Codes: book,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []syntax.DID{alice, "did:plc:nobody", ""} {
		store.gets = 0
		_, err := service.Authenticate(ctx, id, "wrong", func(context.Context) error { return nil })
		if !errors.Is(err, accounts.ErrBadCredentials) || store.gets != 1 {
			t.Errorf("%q: %v after %d reads", id, err, store.gets)
		}
	}
}

// TestAGuessIsChargedBeforeItIsVerified: if the charge is refused, Authenticate returns that error,
// whether or not the password is right.
func TestAGuessIsChargedBeforeItIsVerified(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	limited := errors.New("no guess is left")
	for name, c := range map[string]struct {
		did      syntax.DID
		password string
	}{
		"the right password":    {alice, "password"},
		"a wrong password":      {alice, "wrong"},
		"an unknown account":    {"did:plc:nobody", "password"},
		"an unknown identifier": {"", "password"},
	} {
		p, err := s.Accounts.Authenticate(ctx, c.did, c.password, func(context.Context) error { return limited })
		if p != nil || !errors.Is(err, limited) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

// TestAPasswordProofEndsWithThePassword, and with the account. The zero value proves nothing.
func TestAPasswordProofEndsWithThePassword(t *testing.T) {
	s := domaintest.New(t)
	still := func(p *accounts.PasswordProof) error { return s.Store.View(ctx, p.StillTx) }
	prove := func(label string) *accounts.PasswordProof {
		t.Helper()
		p, err := authenticate(s.Accounts, label+".test", "password")
		if err != nil || still(p) != nil {
			t.Fatal(p, err, still(p))
		}
		return p
	}
	for label, end := range map[string]func(syntax.DID) error{
		"changed":   func(id syntax.DID) error { return s.Accounts.SetPassword(ctx, id, "another password") },
		"same-text": func(id syntax.DID) error { return s.Accounts.SetPassword(ctx, id, "password") },
		"revoked":   func(id syntax.DID) error { return s.Accounts.RevokeCredentials(ctx, id) },
		"gone":      func(id syntax.DID) error { return s.Accounts.DeleteNow(ctx, id) },
	} {
		s.SignUp(label)
		p := prove(label)
		if err := end(p.DID()); err != nil {
			t.Fatal(err)
		}
		if err := still(p); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("%s: %v", label, err)
		}
	}
	if err := still(new(accounts.PasswordProof)); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("the zero value: %v", err)
	}
}

// TestNoHashIsPrinted when a password proof or an account is printed, logged or encoded.
func TestNoHashIsPrinted(t *testing.T) {
	s := domaintest.New(t)
	a := s.SignUp("alice").Account
	p, err := authenticate(s.Accounts, "alice.test", "password")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{p, *p, a, *a, []any{p, a}} {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		var logged strings.Builder
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("proof", "proof", v)
		slog.New(slog.NewTextHandler(&logged, nil)).Info("proof", "proof", v)
		for _, got := range []string{fmt.Sprintf("%v %+v %#v %s", v, v, v, v), string(encoded), logged.String()} {
			if strings.Contains(got, "argon2") {
				t.Errorf("%T shows %s", v, got)
			}
		}
	}
}

// TestTheStampChangesWithPasswordAndTakedown, and with nothing else.
func TestTheStampChangesWithPasswordAndTakedown(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	seen := map[string]string{}
	stamp := func(when string, again bool) {
		t.Helper()
		var got string
		err := s.Store.View(ctx, func(tx storage.Tx) (err error) {
			_, got, err = accounts.StampTx(tx, id)
			return err
		})
		if err != nil || (seen[got] != "") != again {
			t.Errorf("%s: %q, %v, which was that of %q", when, got, err, seen[got])
		}
		seen[got] = when
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stamp("sign-up", false)
	must(s.Accounts.Deactivate(ctx, id, nil))
	stamp("deactivation", true)
	must(s.Accounts.TakeDown(ctx, id, "case 1"))
	stamp("takedown", false)
	must(s.Accounts.TakeDown(ctx, id, "case 2"))
	stamp("takedown with another reference", true)
	must(s.Accounts.SetPassword(ctx, id, "another password"))
	stamp("another password", false)
	s.Advance(time.Second)
	must(s.Accounts.Restore(ctx, id))
	must(s.Accounts.TakeDown(ctx, id, "case 1"))
	stamp("another takedown", false)
	err := s.Store.View(ctx, func(tx storage.Tx) error {
		_, _, err := accounts.StampTx(tx, "did:plc:nobody")
		return err
	})
	if !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("without an account: %v", err)
	}
}

// TestNoPasswordsForbidsAllPasswords: with NoPasswords, none can be set, reset or used, and
// accounts are created without one.
func TestNoPasswordsForbidsAllPasswords(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) {
		c.Ways, c.Accounts.NoPasswords = []signin.Way{nobody{}}, true
	})
	a, err := s.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", NoPassword: true})
	if err != nil {
		t.Fatal(err)
	}
	_, signUp := s.Accounts.Create(ctx, params("bob"))
	for what, err := range map[string]error{
		"SetPassword":          s.Accounts.SetPassword(ctx, a.DID, "a password"),
		"ResetPassword":        s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: "AAAAA-AAAAA", Password: "a password"}),
		"RequestPasswordReset": s.Accounts.RequestPasswordReset(ctx, "alice@example.com"),
		"of nobody":            s.Accounts.RequestPasswordReset(ctx, "nobody@example.com"),
		"Create":               signUp,
	} {
		if !errors.Is(err, accounts.ErrNoPasswords) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := authenticate(s.Accounts, "alice.test", ""); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("the empty password: %v", err)
	}
	if mailed := s.Mail.Messages(); len(mailed) != 0 {
		t.Errorf("%d e-mails", len(mailed))
	}
}

// TestAnAccountWithoutAPasswordGetsOneByAReset. Until then no password is right.
func TestAnAccountWithoutAPasswordGetsOneByAReset(t *testing.T) {
	s := domaintest.New(t)
	p := params("alice")
	p.NoPassword = true
	if _, err := s.Accounts.Create(ctx, p); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("with a password and without: %v", err)
	}
	p.Password, p.NoPassword = "", false
	if _, err := s.Accounts.Create(ctx, p); !errors.Is(err, accounts.ErrInvalidPassword) {
		t.Errorf("with an empty password: %v", err)
	}
	p.NoPassword = true
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", "password"} {
		if _, err := authenticate(s.Accounts, "alice.test", password); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if err := s.Accounts.RequestPasswordReset(ctx, "alice@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: s.Code("alice"), Password: "password"}); err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(s.Accounts, "alice.test", "password"); err != nil {
		t.Errorf("after a reset: %v", err)
	}
}

// nobody is a way of signing in that accepts nobody.
type nobody struct{}

func (nobody) Name() string { return "nobody" }

func (nobody) Prove(context.Context, signin.Attempt) (*signin.Proof, error) {
	return nil, accounts.ErrBadCredentials
}
