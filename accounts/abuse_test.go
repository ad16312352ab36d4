package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
)

// from returns the context of a request from an address.
func from(address string) context.Context {
	return ratelimit.NewContext(ctx, ratelimit.Client{Address: address})
}

// mailed waits for an e-mail of a kind to LABEL@example.com, and takes it out of the mailbox.
func mailed(t *testing.T, s *domaintest.Services, kind mail.Kind, label string) mail.Message {
	t.Helper()
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := s.Mail.TakeOf(waiting, kind, label+"@example.com")
	if err != nil {
		t.Fatalf("no %s to %s: %v", kind, label, err)
	}
	return m
}

// TestAStolenSessionDoesNotVouchForAnAddress: a stolen session changes the unconfirmed address of
// an account, confirms the new one, and changes that once more with a code that was mailed there.
// Neither address is trusted.
func TestAStolenSessionDoesNotVouchForAnAddress(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	confirmAddress := func(label string) {
		t.Helper()
		must(s.Accounts.Emails().RequestConfirmation(ctx, alice))
		must(s.Accounts.Emails().Confirm(ctx, alice, label+"@example.com", s.Code(label)))
	}
	useless := func(label string) {
		t.Helper()
		if err := s.Accounts.Identity().RequestPLCSignature(ctx, alice); !errors.Is(err, accounts.ErrInvalidRequest) {
			t.Errorf("%s: a code for PLC operations: %v", label, err)
		}
		if _, err := s.Accounts.Identity().SignPLCOperation(ctx, alice, "AAAAA-AAAAA", func(*did.Operation) {}); !errors.Is(err, accounts.ErrInvalidRequest) {
			t.Errorf("%s: a PLC operation: %v", label, err)
		}
		if err := s.Accounts.Emails().Update(ctx, alice, accounts.EmailUpdate{Address: label + "@example.com", Factor: accounts.EnableFactor}); !errors.Is(err, accounts.ErrInvalidRequest) {
			t.Errorf("%s: a second factor, which would lock the owner out: %v", label, err)
		}
	}
	must(s.Accounts.Emails().Update(ctx, alice, accounts.EmailUpdate{Address: "thief1@example.com"}))
	confirmAddress("thief1")
	useless("thief1")
	_, err := s.Accounts.Emails().RequestUpdate(ctx, alice)
	must(err)
	must(s.Accounts.Emails().Update(ctx, alice, accounts.EmailUpdate{Address: "thief2@example.com", Code: s.Code("thief1")}))
	confirmAddress("thief2")
	useless("thief2")
	must(s.Accounts.RequestPasswordReset(ctx, "thief2@example.com"))
	must(s.Accounts.Close(ctx)) // waits until all e-mails have been sent
	if codes := s.Mail.Of(mail.ResetPassword, "thief2@example.com"); len(codes) != 0 {
		t.Error("a password reset was mailed to the thief")
	}
	if _, err := authenticate(s.Accounts, "alice.test", "password"); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

func TestAnAddressIsTrustedAfterThreeDays(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	if err := s.Accounts.Emails().Update(ctx, alice, accounts.EmailUpdate{Address: "alice2@example.com"}); err != nil {
		t.Fatal(err)
	}
	s.Advance(72 * time.Hour)
	if err := s.Accounts.Identity().RequestPLCSignature(ctx, alice); err != nil {
		t.Error(err)
	}
	if err := s.Accounts.RequestPasswordReset(ctx, "alice2@example.com"); err != nil {
		t.Fatal(err)
	}
	mailed(t, s, mail.ResetPassword, "alice2")
}

// TestAStrangerDoesNotUseUpTheMailOfAnother: neither with an account whose address delivers to the
// same mailbox, nor with password resets.
func TestAStrangerDoesNotUseUpTheMailOfAnother(t *testing.T) {
	s := domaintest.New(t)
	victim := s.SignUp("victim").Account.DID
	mallory, owner := from("203.0.113.1"), from("192.0.2.1")
	m, err := s.Accounts.Create(mallory, accounts.CreateParams{Handle: "mallory.test", Email: "victim+spam@example.com", Password: "password"})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		_ = s.Accounts.Emails().RequestConfirmation(mallory, m.DID)
	}
	for i := range 20 {
		if _, _, err := s.AppPasswords.Create(mallory, m.DID, fmt.Sprint(i), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Accounts.RequestDelete(owner, victim); err != nil {
		t.Errorf("the victim's own e-mail: %v", err)
	}
	for range 4 {
		for range 5 {
			if err := s.Accounts.RequestPasswordReset(mallory, "victim@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			mailed(t, s, mail.ResetPassword, "victim")
		}
		s.Advance(time.Hour)
	}
	if err := s.Accounts.RequestPasswordReset(owner, "victim@example.com"); err != nil {
		t.Fatal(err)
	}
	code := mailed(t, s, mail.ResetPassword, "victim").Code
	if err := s.Accounts.ResetPassword(owner, accounts.ResetParams{Code: code, Password: "another password"}); err != nil {
		t.Errorf("the victim's own reset: %v", err)
	}
	mailed(t, s, mail.PasswordChanged, "victim")
}

// TestRemainingGuessesRevealNoAddress: guesses by handle and by address share a budget if the
// address is that of the account, which the number of guesses that remain must not reveal.
func TestRemainingGuessesRevealNoAddress(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	left := func(address, email string) (all []int) {
		c := ratelimit.NewContext(ctx, ratelimit.Client{Address: address, Observe: func(st ratelimit.State) { all = append(all, st.Remaining) }})
		for _, identifier := range []string{"alice.test", email, "alice.test", email} {
			if _, err := s.SignIn.SignIn(c, signin.Attempt{Identifier: identifier, Password: "wrong password"}); !errors.Is(err, accounts.ErrBadCredentials) {
				t.Fatal(err)
			}
		}
		return all
	}
	hers, nobodys := left("203.0.113.1", "alice@example.com"), left("203.0.113.2", "nobody@example.com")
	if fmt.Sprint(hers) != fmt.Sprint(nobodys) || len(hers) == 0 {
		t.Errorf("guesses that remain: %v if the address is alice's, %v if not", hers, nobodys)
	}
}

// TestAClientWithManyAccountsLearnsOfFewAddresses: a client is answered two dozen times in an hour
// whether an e-mail address is taken, with however many accounts it asks.
func TestAClientWithManyAccountsLearnsOfFewAddresses(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("victim")
	var mine []syntax.DID
	for i := range 4 {
		mine = append(mine, s.SignUp(fmt.Sprintf("mallory%d", i)).Account.DID)
	}
	told := 0
	for _, id := range mine {
		for range 24 {
			if err := s.Accounts.Emails().Update(from("203.0.113.1"), id, accounts.EmailUpdate{Address: "victim@example.com"}); errors.Is(err, accounts.ErrEmailTaken) {
				told++
			}
		}
	}
	if told != 24 {
		t.Errorf("one client was told %d times in an hour, want 24", told)
	}
}

// failing is a mailer that fails while it is down.
type failing struct {
	*mail.Memory
	down   atomic.Bool
	failed chan struct{}
}

func (m *failing) Send(ctx context.Context, msg mail.Message) error {
	if m.down.Load() {
		m.failed <- struct{}{}
		return fmt.Errorf("%w: the relay is down", mail.ErrDelivery)
	}
	return m.Memory.Send(ctx, msg)
}

// TestAReminderIsSentAgainIfItWasNotDelivered, but only once if it was, however often the
// background work runs.
func TestAReminderIsSentAgainIfItWasNotDelivered(t *testing.T) {
	m := &failing{Memory: mail.NewMemory(), failed: make(chan struct{})}
	s := domaintest.New(t, func(c *domaintest.Config) { c.Accounts.Mailer = m })
	s.Mail = m.Memory
	alice := s.SignUp("alice").Account.DID
	at := s.Now()
	if err := s.Accounts.Deactivate(ctx, alice, &at); err != nil {
		t.Fatal(err)
	}
	mailed(t, s, mail.DeletionScheduled, "alice")
	m.down.Store(true)
	s.Advance(49 * time.Hour)
	due := func() {
		t.Helper()
		if err := s.Accounts.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	due()
	<-m.failed
	m.down.Store(false)
	for len(m.Of(mail.DeletionReminder, "alice@example.com")) == 0 { // there is no second attempt until the first has ended
		due()
	}
	due()
	due()
	if err := s.Accounts.Close(ctx); err != nil { // waits until all e-mails have been sent
		t.Fatal(err)
	}
	if n := len(m.Of(mail.DeletionReminder, "alice@example.com")); n != 1 {
		t.Errorf("reminded %d times", n)
	}
}

// TestOnlyAccountsGetAppPasswords: an app password for a DID without an account would open the
// account that somebody creates with the DID later.
func TestOnlyAccountsGetAppPasswords(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Web = true })
	if _, _, err := s.AppPasswords.Create(ctx, "did:web:alice.test", "early", true); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("an app password for a DID without an account: %v", err)
	}
}
