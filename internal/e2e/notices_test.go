package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// Words in the subjects of notices, by which the tests find them.
var (
	passwordChanged    = []string{"password", "changed"}
	emailChanged       = []string{"address", "changed"}
	factorOn           = []string{"sign-in codes", "switched on"}
	factorOff          = []string{"sign-in codes", "switched off"}
	appPasswordCreated = []string{"new app password"}
	accountDeactivated = []string{"deactivated"}
	deletionScheduled  = []string{"going to be deleted"}
	plcSigned          = []string{"identity", "signed"}
	keysChanged        = []string{"keys", "changed"}
)

// TestOwnerIsNotified checks that owners are notified of everything that somebody with a stolen
// session, or an admin, could do to take over the account.
func TestOwnerIsNotified(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		type sent struct {
			to    string
			words []string
		}
		var expected []sent
		expect := func(to string, words []string) { expected = append(expected, sent{to, words}) }

		reset := s.someone()
		s.do(nobody, "server.requestPasswordReset", object{"email": reset.Email}).ok()
		s.do(nobody, "server.resetPassword", object{"token": s.code(reset.Email, resetMail), "password": "another"}).ok()
		expect(reset.Email, passwordChanged)

		byAdmin := s.someone()
		s.do(admin, "admin.updateAccountPassword", object{"did": byAdmin.DID, "password": "another"}).ok()
		expect(byAdmin.Email, passwordChanged)

		moved := s.someone()
		s.do(bearer(moved.AccessJWT), "server.updateEmail", object{"email": "new-" + moved.Email}).ok()
		expect(moved.Email, emailChanged) // to the old address too, since a thief has the new one
		expect("new-"+moved.Email, emailChanged)

		movedByAdmin := s.someone()
		s.do(admin, "admin.updateAccountEmail", object{"account": movedByAdmin.Handle, "email": "new-" + movedByAdmin.Email}).ok()
		expect(movedByAdmin.Email, emailChanged)
		expect("new-"+movedByAdmin.Email, emailChanged)

		factor := s.someone()
		s.confirm(factor)
		s.do(bearer(factor.AccessJWT), "server.updateEmail", object{"email": factor.Email, "emailAuthFactor": true}).ok()
		expect(factor.Email, factorOn)
		s.do(bearer(factor.AccessJWT), "server.requestEmailUpdate", nil).ok()
		s.do(bearer(factor.AccessJWT), "server.updateEmail", object{"email": factor.Email, "emailAuthFactor": false, "token": s.code(factor.Email, updateMail)}).ok()
		expect(factor.Email, factorOff)

		app := s.someone()
		s.do(bearer(app.AccessJWT), "server.createAppPassword", object{"name": "the phone of somebody"}).ok()
		expect(app.Email, appPasswordCreated)

		left := s.someone()
		s.do(bearer(left.AccessJWT), "server.deactivateAccount", object{}).ok()
		expect(left.Email, accountDeactivated)

		leaving := s.someone()
		s.deactivate(leaving.AccessJWT, s.Clock.Now()).ok()
		expect(leaving.Email, deletionScheduled)

		signed := s.someone()
		s.do(bearer(signed.AccessJWT), "identity.requestPlcOperationSignature", nil).ok()
		s.do(bearer(signed.AccessJWT), "identity.signPlcOperation", plcInput(signed, s.code(signed.Email, plcMail))).ok()
		expect(signed.Email, plcSigned)

		rekeyed := s.someone()
		key := s.do(nobody, "server.reserveSigningKey", object{}).text("signingKey")
		s.do(admin, "admin.updateAccountSigningKey", object{"did": rekeyed.DID, "signingKey": key}).ok()
		expect(rekeyed.Email, keysChanged)

		handles := map[string]string{}
		for _, a := range []*gatehousetest.Account{reset, byAdmin, moved, movedByAdmin, factor, app, left, leaving, signed, rekeyed} {
			handles[a.Email], handles["new-"+a.Email] = a.Handle, a.Handle
		}
		for _, e := range expected {
			m := s.told(e.to, e.words...)
			if m.Subject != "" && (!strings.Contains(m.Text, handles[e.to]) || m.HTML == "") {
				t.Errorf("the notice %q to %s lacks the handle or HTML: %s", m.Subject, e.to, m.Text)
			}
		}
		if m := s.told(app.Email, appPasswordCreated...); !strings.Contains(m.Text, "the phone of somebody") {
			t.Errorf("the notice doesn't name the app password: %q", m.Text)
		}

		// Calls that change nothing send no notice.
		quiet := s.someone()
		s.do(bearer(quiet.AccessJWT), "server.createAppPassword", object{"name": ""}).refused(400, "InvalidRequest")
		s.do(bearer(quiet.AccessJWT), "identity.signPlcOperation", object{"token": "AAAAA-AAAAA"}).refused(400, "InvalidToken")
		s.do(bearer(quiet.AccessJWT), "server.getSession", nil).ok()
		s.login(quiet.Handle, quiet.Password).ok()
		last := s.someone()
		s.do(bearer(last.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
		s.told(last.Email, appPasswordCreated...) // a later notice has arrived, so earlier ones have too
		if all := s.mails(quiet.Email); len(all) != 0 {
			t.Errorf("e-mails to an account that didn't change: %v", all)
		}
	})
}

// slowMailer blocks until it is released.
type slowMailer struct {
	mail.Mailer
	released chan struct{}
}

func (m *slowMailer) Send(ctx context.Context, msg mail.Message) error {
	select {
	case <-m.released:
		return m.Mailer.Send(ctx, msg)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestNoticesDoNotDelayResponses checks that a call that changes something doesn't wait for the
// mail server, even when many notices are queued.
func TestNoticesDoNotDelayResponses(t *testing.T) {
	t.Parallel()
	mailer := &slowMailer{released: make(chan struct{})}
	s := newAPI(t, config(func(c *gatehouse.Config) { mailer.Mailer, c.Mail.Mailer = c.Mail.Mailer, mailer }))
	var all []*gatehousetest.Account
	for range 100 {
		a := s.someone()
		s.do(bearer(a.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
		all = append(all, a)
	}
	close(mailer.released)
	s.told(all[0].Email, appPasswordCreated...)
}

// TestNoticesAreRateLimited checks that a session can't flood the owner's mailbox with notices: at
// most 20 are sent in an hour.
func TestNoticesAreRateLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
	for i := range 30 {
		s.from(theThiefs).do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": fmt.Sprint("app ", i)}).ok()
	}
	s.from(hers).do(bearer(bob.AccessJWT), "server.createAppPassword", object{"name": "app"}).ok()
	s.told(bob.Email, appPasswordCreated...)
	if n := len(s.mails(alice.Email, appPasswordCreated...)); n == 0 || n > 20 {
		t.Errorf("%d notices in an hour, want between 1 and 20", n)
	}
}
