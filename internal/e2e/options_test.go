package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// TestMinDeletionDelayIsConfigurable checks delays that are longer and shorter than the default of
// three days.
func TestMinDeletionDelayIsConfigurable(t *testing.T) {
	t.Parallel()
	for _, least := range []time.Duration{time.Hour, 10 * 24 * time.Hour} {
		s := newAPI(t, config(func(c *gatehouse.Config) { c.MinDeletionDelay = least }))
		alice := s.signUp("alice.test")
		s.deactivate(alice.AccessJWT, s.Clock.Now()).ok()
		s.Clock.Advance(least - time.Second)
		s.maintain()
		if !s.exists(alice.DID) {
			t.Errorf("the account was deleted before the delay of %v", least)
		}
		s.Clock.Advance(2 * time.Second)
		s.maintain()
		if s.exists(alice.DID) {
			t.Errorf("the account was not deleted after the delay of %v", least)
		}
	}
}

// TestPunycodeHandlesCanBeAllowed signs up with an xn-- handle on a server that allows them.
func TestPunycodeHandlesCanBeAllowed(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Handles.AllowPunycode = true }))
	s.signUp("xn--80ak6aa92e.test")
}

// TestMutedNotices checks that muted kinds of notices are not sent and others still are.
func TestMutedNotices(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Mail.MuteNotices = []mail.Kind{mail.AppPasswordCreated} }))
	alice := s.signUp("alice.test")
	s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
	s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
	s.Mail.Notice(mail.AccountDeactivated, alice.Email) // a later notice has arrived, so earlier ones would have
	if sent := s.mails(alice.Email, appPasswordCreated...); len(sent) != 0 {
		t.Errorf("a muted notice was sent: %v", sent)
	}
}

// TestNoticesHaveTheirKinds checks the Kind of notices, which other tests find by their subjects.
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
