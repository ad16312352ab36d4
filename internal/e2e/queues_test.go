package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// stuckMailer is a mail server that accepts connections and doesn't answer.
type stuckMailer struct{ release chan struct{} }

func (m stuckMailer) Send(ctx context.Context, _ mail.Message) error {
	select {
	case <-m.release:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", mail.ErrDelivery, ctx.Err())
	}
}

// TestAStuckMailServerDoesNotRevealAccounts checks that requests for a password reset are answered
// however many e-mails are queued, so that the time doesn't reveal whether the account exists.
func TestAStuckMailServerDoesNotRevealAccounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		stuck := stuckMailer{make(chan struct{})}
		defer close(stuck.release)
		s = newAPI(t, withStore(s.Store), config(func(c *gatehouse.Config) { c.Mail.Mailer = stuck }))
		alice := s.CreateAccount("alice.test")
		for i := range 400 { // more than the workers and the queue take
			s.do(nobody, "server.requestPasswordReset", object{"email": []string{alice.Email, alice.Handle}[i%2]}).ok()
		}
		s.do(nobody, "server.requestPasswordReset", object{"email": "nobody@example.com"}).ok()
		s.do(nobody, "server.requestPasswordReset", object{"email": "nobody.test"}).ok()
	})
}

// TestThePasswordQueueIsBounded checks that a login is answered 503 with Retry-After when the queue
// of passwords to verify is full.
func TestThePasswordQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Passwords.Workers, c.Passwords.Queue = 1, 1
		c.Passwords.Memory, c.Passwords.Time = 64<<10, 4 // takes some tenths of a second
	}))
	var wg sync.WaitGroup
	answers := make(chan *answer, 10)
	for i := range cap(answers) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers <- s.do(nobody, "server.createSession", object{"identifier": fmt.Sprintf("name%d.test", i), "password": "wrong"})
		}()
	}
	wg.Wait()
	close(answers)
	busy, tried := 0, 0
	for a := range answers {
		switch a.status {
		case http.StatusServiceUnavailable:
			busy++
			a.refused(503, "ServiceUnavailable")
			if a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		default:
			tried++
			a.refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}
	}
	if busy == 0 || tried < 2 {
		t.Errorf("of ten concurrent logins %d were tried and %d refused, want at least 2 and 1", tried, busy)
	}
}
