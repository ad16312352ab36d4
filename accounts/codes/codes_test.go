package codes_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

const (
	alice = syntax.DID("did:plc:alice")
	bob   = syntax.DID("did:plc:bob")
	nonce = "abcdefghijklmnopqrstuvwxyz"
)

// desk is a book with a store and a clock.
type desk struct {
	*codes.Book
	t     *testing.T
	store storage.Store
	now   time.Time
}

func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, store: memory.New(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	t.Cleanup(func() { d.store.Close() })
	if err := storage.Define(t.Context(), d.store, codes.Tables()...); err != nil {
		t.Fatal(err)
	}
	book, err := codes.New(codes.Config{Secret: []byte(strings.Repeat("s", 32)), Now: func() time.Time { return d.now }})
	if err != nil {
		t.Fatal(err)
	}
	d.Book = book
	return d
}

func (d *desk) issue(did syntax.DID, p codes.Purpose) codes.Issued {
	d.t.Helper()
	nonce, err := d.Nonce()
	if err != nil {
		d.t.Fatal(err)
	}
	return d.issueFrom(did, p, nonce)
}

func (d *desk) issueFrom(did syntax.DID, p codes.Purpose, nonce string) (issued codes.Issued) {
	d.t.Helper()
	err := d.store.Update(d.t.Context(), func(tx storage.Tx) (err error) {
		issued, err = d.Issue(tx, did, p, nonce)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return issued
}

func (d *desk) check(did syntax.DID, p codes.Purpose, code codes.Code) error {
	return storage.Decide(d.t.Context(), d.store, func(tx storage.Tx) (refusal, err error) { return d.Check(tx, did, p, code) })
}

func (d *desk) redeem(did syntax.DID, p codes.Purpose, code codes.Code) error {
	return storage.Decide(d.t.Context(), d.store, func(tx storage.Tx) (refusal, err error) { return d.Redeem(tx, did, p, code) })
}

// stored returns the documents of the codes, by key.
func (d *desk) stored() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	err := d.store.View(d.t.Context(), func(tx storage.Tx) error {
		for rec, err := range tx.Scan("email_codes", storage.Range{Entries: true}) {
			if err != nil {
				return err
			}
			all[rec.Key] = fmt.Sprint(string(rec.Value), rec.Entries)
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

// wrong returns another code with the same selector.
func wrong(code codes.Code) codes.Code {
	last := byte('A')
	if code[len(code)-1] == last {
		last = 'B'
	}
	return code[:len(code)-1] + codes.Code(last)
}

// Codes that were e-mailed by an earlier version are good in a later one, which finds them by the
// same keys, and derives and hashes them in the same way.
func TestTheStoredFormStays(t *testing.T) {
	d := open(t)
	if got := d.issueFrom(alice, codes.ResetPassword, nonce).Code; got != "L755Q-2AFRP" {
		t.Errorf("the code is %s", got)
	}
	const want = `{"_v":1,"did":"did:plc:alice","purpose":"reset_password",` +
		`"selector":"DKdMC5vX3PgGt54WeWMApeJrC8nGHrvgRz8Xpuq9gzI","code":"6hpZ4X_JCSaq8ajz8nPIqfSeufrFFIXAmgRJTWFxEzI",` +
		`"expiresAt":"2026-01-01T00:15:00Z","nonce":"abcdefghijklmnopqrstuvwxyz"}` +
		`[{expires 2026-01-01T00:15:00.000Z} {selector reset_password DKdMC5vX3PgGt54WeWMApeJrC8nGHrvgRz8Xpuq9gzI}]`
	if got := d.stored()["did:plc:alice reset_password"]; got != want {
		t.Errorf("stored is\n%s, not\n%s", got, want)
	}
	for p, want := range map[codes.Purpose]string{
		codes.ResetPassword: "reset_password", codes.DeleteAccount: "delete_account", codes.ConfirmEmail: "confirm_email",
		codes.UpdateEmail: "update_email", codes.SignPLCOperation: "plc_operation", codes.SignIn: "sign_in",
	} {
		if string(p) != want {
			t.Errorf("the purpose %s was stored as %s", p, want)
		}
	}
}

func TestARightCodeIsUsedUpOnce(t *testing.T) {
	d := open(t)
	code := d.issue(alice, codes.SignIn).Code
	for range 2 {
		if err := d.check(alice, codes.SignIn, code); err != nil {
			t.Errorf("checking it: %v", err)
		}
	}
	// Whatever fails in the transaction that redeems a code leaves it as it was.
	failed := errors.New("failed")
	err := d.store.Update(t.Context(), func(tx storage.Tx) error {
		if refusal, err := d.Redeem(tx, alice, codes.SignIn, code); refusal != nil || err != nil {
			return errors.Join(refusal, err)
		}
		return failed
	})
	if err != failed {
		t.Fatal(err)
	}
	if err := d.redeem(alice, codes.SignIn, code); err != nil {
		t.Errorf("redeeming it: %v", err)
	}
	for name, use := range map[string]func(syntax.DID, codes.Purpose, codes.Code) error{"checking": d.check, "redeeming": d.redeem} {
		if err := use(alice, codes.SignIn, code); !errors.Is(err, codes.ErrInvalid) {
			t.Errorf("%s it once more: %v", name, err)
		}
	}
}

func TestACodeIsForOneAccountAndPurpose(t *testing.T) {
	d := open(t)
	code := d.issue(alice, codes.DeleteAccount).Code
	d.issue(bob, codes.DeleteAccount)
	d.issue(alice, codes.ResetPassword)
	for name, err := range map[string]error{
		"another account":                     d.redeem(bob, codes.DeleteAccount, code),
		"an account without codes":            d.redeem("did:plc:carol", codes.DeleteAccount, code),
		"another purpose":                     d.redeem(alice, codes.ResetPassword, code),
		"another purpose, which has no code":  d.redeem(alice, codes.SignIn, code),
		"an account whose DID begins with it": d.redeem(alice+"s", codes.DeleteAccount, code),
	} {
		if !errors.Is(err, codes.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.redeem(alice, codes.DeleteAccount, code); err != nil {
		t.Errorf("its own: %v", err)
	}
}

// The tenth wrong guess voids a code, whether it is to be checked or redeemed, and whether it is
// issued again meanwhile.
func TestWrongGuessesVoidACode(t *testing.T) {
	for name, use := range map[string]func(*desk, syntax.DID, codes.Purpose, codes.Code) error{"checking": (*desk).check, "redeeming": (*desk).redeem} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			code := d.issue(alice, codes.SignIn).Code
			other := d.issue(alice, codes.ConfirmEmail).Code
			for range 9 {
				if err := use(d, alice, codes.SignIn, wrong(code)); !errors.Is(err, codes.ErrInvalid) {
					t.Errorf("a wrong code: %v", err)
				}
				if again := d.issue(alice, codes.SignIn).Code; again != code {
					t.Errorf("a guess has another code issued: %s, not %s", again, code)
				}
			}
			if err := d.check(alice, codes.SignIn, code); err != nil {
				t.Errorf("after nine guesses: %v", err)
			}
			if err := use(d, alice, codes.SignIn, wrong(code)); !errors.Is(err, codes.ErrInvalid) {
				t.Errorf("the tenth guess: %v", err)
			}
			if err := d.check(alice, codes.SignIn, code); !errors.Is(err, codes.ErrInvalid) {
				t.Errorf("the right code after ten guesses: %v", err)
			}
			if err := d.check(alice, codes.ConfirmEmail, other); err != nil {
				t.Errorf("a code of another purpose: %v", err)
			}
			if next := d.issue(alice, codes.SignIn).Code; next == code {
				t.Error("the voided code was issued again")
			}
		})
	}
}

// What isn't in the form of a code is wrong, and nothing worse.
func TestACodeThatParseDidNotMake(t *testing.T) {
	d := open(t)
	d.issue(alice, codes.ResetPassword)
	for _, code := range []codes.Code{"", "A", "ABCDE", "☃"} {
		if err := d.check(alice, codes.ResetPassword, code); !errors.Is(err, codes.ErrInvalid) {
			t.Errorf("%q: %v", code, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	d := open(t)
	code := d.issue(alice, codes.SignIn).Code
	d.now = d.now.Add(15*time.Minute - time.Millisecond)
	if err := d.check(alice, codes.SignIn, code); err != nil {
		t.Errorf("just before the end: %v", err)
	}
	d.now = d.now.Add(time.Millisecond)
	for range 2 { // which doesn't use it up
		if err := d.redeem(alice, codes.SignIn, code); !errors.Is(err, codes.ErrExpired) {
			t.Errorf("at the end: %v", err)
		}
	}
	if err := d.redeem(alice, codes.SignIn, wrong(code)); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a wrong code at the end: %v", err)
	}
}

// A code is issued again while five of its fifteen minutes are left, so that nobody voids it by
// asking for another; after that a new one takes its place.
func TestACodeIsIssuedAgain(t *testing.T) {
	d := open(t)
	first := d.issue(alice, codes.ResetPassword)
	if first.Left != 15*time.Minute {
		t.Errorf("a new code is good for %v", first.Left)
	}
	d.now = d.now.Add(10 * time.Minute)
	if again := d.issue(alice, codes.ResetPassword); again.Code != first.Code || again.Left != 5*time.Minute {
		t.Errorf("ten minutes later: %+v; first %+v", again, first)
	}
	d.now = d.now.Add(time.Millisecond)
	second := d.issue(alice, codes.ResetPassword)
	if second.Code == first.Code || second.Left != 15*time.Minute {
		t.Errorf("a moment later: %+v; first %+v", second, first)
	}
	if err := d.check(alice, codes.ResetPassword, first.Code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("the first: %v", err)
	}
	if err := d.check(alice, codes.ResetPassword, second.Code); err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestOwner(t *testing.T) {
	d := open(t)
	code := d.issue(alice, codes.ResetPassword).Code
	d.issue(bob, codes.ResetPassword)
	before := d.stored()
	owner := func(p codes.Purpose, code codes.Code) (did syntax.DID, err error) {
		err = d.store.View(t.Context(), func(tx storage.Tx) (err error) {
			did, err = d.Owner(tx, p, code)
			return err
		})
		return did, err
	}
	for name, code := range map[string]codes.Code{"the code": code, "one with its selector": wrong(code)} {
		if did, err := owner(codes.ResetPassword, code); did != alice || err != nil {
			t.Errorf("%s: %s, %v", name, did, err)
		}
	}
	other := wrong(code[:5]) + code[5:]
	if did, err := owner(codes.ResetPassword, other); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("another selector: %s, %v", did, err)
	}
	if did, err := owner(codes.DeleteAccount, code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("another purpose: %s, %v", did, err)
	}
	if after := d.stored(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("looking for the owner changed the codes: %v", after)
	}
}

// Two codes of one purpose never have the same selector, by which their owner is found.
func TestSelectorsAreUnique(t *testing.T) {
	d := open(t)
	d.issueFrom(alice, codes.ResetPassword, nonce)
	// Bob has the code that the nonce makes for alice.
	err := d.store.Update(t.Context(), func(tx storage.Tx) error {
		value, err := tx.Get("email_codes", "did:plc:alice reset_password")
		if err != nil {
			return err
		}
		if err := codes.Void(tx, alice); err != nil {
			return err
		}
		return tx.Put("email_codes", storage.Document{
			Key: "did:plc:bob reset_password", Value: []byte(strings.Replace(string(value), "alice", "bob", 1)),
			Entries: []storage.Entry{{Index: "selector", Value: "reset_password DKdMC5vX3PgGt54WeWMApeJrC8nGHrvgRz8Xpuq9gzI"}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.store.Update(t.Context(), func(tx storage.Tx) error {
		_, err := d.Issue(tx, alice, codes.ResetPassword, nonce)
		return err
	})
	if !errors.Is(err, storage.ErrConflict) {
		t.Errorf("a code with the selector of another: %v", err)
	}
	d.issueFrom(alice, codes.ResetPassword, nonce[1:])
}

func TestANonceIsRequired(t *testing.T) {
	d := open(t)
	err := d.store.Update(t.Context(), func(tx storage.Tx) error {
		_, err := d.Issue(tx, alice, codes.SignIn, "")
		return err
	})
	if err == nil || len(d.stored()) != 0 {
		t.Errorf("a code was issued without a nonce: %v", err)
	}
}

func TestVoid(t *testing.T) {
	d := open(t)
	for _, p := range []codes.Purpose{codes.SignIn, codes.ResetPassword, codes.DeleteAccount} {
		d.issue(alice, p)
	}
	kept := d.issue(alice+"s", codes.SignIn).Code // a DID that begins with hers
	if err := d.store.Update(t.Context(), func(tx storage.Tx) error { return codes.Void(tx, alice) }); err != nil {
		t.Fatal(err)
	}
	if left := d.stored(); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
	if err := d.redeem(alice+"s", codes.SignIn, kept); err != nil {
		t.Errorf("the code of another account: %v", err)
	}
}

// An expired code is kept for a day, to be called that.
func TestPurge(t *testing.T) {
	d := open(t)
	old := d.issue(alice, codes.SignIn).Code
	d.now = d.now.Add(24 * time.Hour)
	d.issue(bob, codes.SignIn)
	purge := func() {
		t.Helper()
		if err := d.Purge(t.Context(), d.store); err != nil {
			t.Fatal(err)
		}
	}
	purge()
	if err := d.redeem(alice, codes.SignIn, old); !errors.Is(err, codes.ErrExpired) {
		t.Errorf("within a day: %v", err)
	}
	d.now = d.now.Add(15*time.Minute + time.Millisecond)
	purge()
	if err := d.redeem(alice, codes.SignIn, old); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("after a day: %v", err)
	}
	if left := d.stored(); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]codes.Config{
		"no secret":           {},
		"a short secret":      {Secret: make([]byte, 31)},
		"a negative lifetime": {Secret: make([]byte, 32), Lifetime: -time.Second},
	} {
		if _, err := codes.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32), Rand: strings.NewReader("short")})
	if err != nil {
		t.Fatal(err)
	}
	if nonce, err := book.Nonce(); err == nil {
		t.Errorf("a nonce from too little randomness: %q", nonce)
	}
}

// A store that fails says nothing about a code.
func TestErrorsOfTheStoreAreNotRefusals(t *testing.T) {
	d := open(t)
	code := d.issue(alice, codes.SignIn).Code
	ctx, cancel := context.WithCancel(t.Context())
	err := d.store.View(ctx, func(tx storage.Tx) error {
		cancel()
		if refusal, err := d.Check(tx, alice, codes.SignIn, code); refusal != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("Check: %v, %v", refusal, err)
		}
		if refusal, err := d.Redeem(tx, alice, codes.SignIn, code); refusal != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("Redeem: %v, %v", refusal, err)
		}
		if did, err := d.Owner(tx, codes.SignIn, code); did != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Owner: %v, %v", did, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
