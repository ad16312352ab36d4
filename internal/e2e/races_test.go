package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
)

// racers is the number of calls in a race.
const racers = 50

// race makes racers calls at once.
func race(call func(i int) *answer) []*answer {
	answers := make([]*answer, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			answers[i] = call(i)
		}()
	}
	close(start)
	wg.Wait()
	return answers
}

// tally counts answers by error name, which is "" for a success.
func tally(answers []*answer) map[string]int {
	counts := map[string]int{}
	for _, a := range answers {
		name, _ := a.object["error"].(string)
		if a.status == http.StatusOK {
			name = ""
		}
		counts[name]++
	}
	return counts
}

func TestRaceForOneInviteCode(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		owner := s.CreateAccount("owner.test")
		code := s.do(admin, "server.createInviteCode", object{"useCount": 1, "forAccount": owner.DID}).text("code")
		counts := tally(race(func(i int) *answer {
			return s.do(nobody, "server.createAccount", object{
				"handle": fmt.Sprintf("racer%d.test", i), "email": fmt.Sprintf("racer%d@example.com", i),
				"password": "password", "inviteCode": code,
			})
		}))
		if counts[""] != 1 || counts["InvalidInviteCode"] != racers-1 {
			t.Errorf("sign-ups with an invite code for one use: %v, want one success", counts)
		}
		codes := s.do(bearer(owner.AccessJWT), "server.getAccountInviteCodes", nil).ok()["codes"].([]any)
		if uses := codes[0].(object)["uses"].([]any); len(uses) != 1 {
			t.Errorf("the code's uses are %v, want one", uses)
		}
	}, config(func(c *gatehouse.Config) { c.SignUp.Mode = gatehouse.SignUpInvites }))
}

func TestRaceForOneHandle(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		counts := tally(race(func(i int) *answer {
			return s.do(nobody, "server.createAccount", object{
				"handle": "wanted.test", "email": fmt.Sprintf("racer%d@example.com", i), "password": "password",
			})
		}))
		if counts[""] != 1 || counts["HandleNotAvailable"] != racers-1 {
			t.Errorf("sign-ups with one handle: %v, want one success", counts)
		}
	})
}

func TestRaceForOneEmail(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		counts := tally(race(func(i int) *answer {
			return s.do(nobody, "server.createAccount", object{
				"handle": fmt.Sprintf("racer%d.test", i), "email": "wanted@example.com", "password": "password",
			})
		}))
		if counts[""] != 1 || counts["InvalidRequest"] != racers-1 {
			t.Errorf("sign-ups with one e-mail address: %v, want one success", counts)
		}
	})
}

func TestRaceToRefresh(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		successors := map[string]bool{}
		for _, a := range race(func(int) *answer { return s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil) }) {
			successors[jti(t, a.text("refreshJwt"))] = true
		}
		if len(successors) != 1 {
			t.Errorf("one refresh token has %d successors, want 1", len(successors))
		}
	})
}

func TestRaceToEarnInviteCodes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.CreateAccount("alice.test")
		s.Clock.Advance(3 * 24 * time.Hour)
		access := s.Login(alice).AccessJWT
		counts := tally(race(func(int) *answer { return s.do(bearer(access), "server.getAccountInviteCodes", nil) }))
		if counts[""] < 1 || counts[""]+counts["DuplicateCreate"] != racers {
			t.Errorf("answers: %v; want successes and DuplicateCreate only", counts)
		}
		if got := s.do(bearer(access), "server.getAccountInviteCodes", nil).ok()["codes"].([]any); len(got) != 3 {
			t.Errorf("the account has %d invite codes, want 3", len(got))
		}
	}, config(func(c *gatehouse.Config) {
		c.SignUp.Mode, c.SignUp.InviteInterval = gatehouse.SignUpInvites, 24*time.Hour
	}))
}

func TestRaceToUseOneCode(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		code := s.Mail.Code(alice.Email)
		counts := tally(race(func(i int) *answer {
			return s.do(nobody, "server.resetPassword", object{"token": code, "password": fmt.Sprintf("password %d", i)})
		}))
		if counts[""] != 1 || counts["InvalidToken"] != racers-1 {
			t.Errorf("resets with one code: %v, want one success", counts)
		}
	})
}
