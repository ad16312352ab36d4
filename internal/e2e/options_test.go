package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// TestTheLeastTimeToDeletionIsTheOperators, who may make it longer than three days, or shorter.
func TestTheLeastTimeToDeletionIsTheOperators(t *testing.T) {
	t.Parallel()
	for _, least := range []time.Duration{time.Hour, 10 * 24 * time.Hour} {
		s := newAPI(t, config(func(c *gatehouse.Config) { c.MinDeletionDelay = least }))
		alice := s.signUp("alice.test")
		s.deactivate(alice.AccessJWT, s.Clock.Now()).ok()
		s.Clock.Advance(least - time.Second)
		s.maintain()
		if !s.exists(alice.DID) {
			t.Errorf("with %v the account is gone before", least)
		}
		s.Clock.Advance(2 * time.Second)
		s.maintain()
		if s.exists(alice.DID) {
			t.Errorf("with %v the account is there after", least)
		}
	}
}

// TestPunycodeHandlesAreTheOperatorsChoice: they can be signed up where the operator allows them.
func TestPunycodeHandlesAreTheOperatorsChoice(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Handles.AllowPunycode = true }))
	s.signUp("xn--80ak6aa92e.test")
}

// TestMutedNotices are not sent, and the others are.
func TestMutedNotices(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Mail.MuteNotices = []mail.Kind{mail.AppPasswordCreated} }))
	alice := s.signUp("alice.test")
	s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
	s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
	s.Mail.Notice(mail.AccountDeactivated, alice.Email) // what comes after has come
	if sent := s.mails(alice.Email, appPasswordCreated...); len(sent) != 0 {
		t.Errorf("a muted notice was sent: %v", sent)
	}
}

// TestNoticesHaveTheirKinds, which the other tests know by their subjects.
func TestNoticesHaveTheirKinds(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.signUp("alice.test")
	s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
	s.deactivate(alice.AccessJWT, s.Clock.Now()).ok()
	for kind, words := range map[mail.Kind][]string{mail.AppPasswordCreated: appPasswordCreated, mail.DeletionScheduled: deletionScheduled} {
		if m := s.Mail.Notice(kind, alice.Email); m.Code != "" || !contains(strings.ToLower(m.Subject), words...) {
			t.Errorf("%s: %+v; want the words %q in the subject", kind, m, words)
		}
	}
}
