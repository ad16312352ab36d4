package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TestAccountsAgainstAModel calls methods for a few accounts in random order, and compares each
// answer, and the observable state after it, with a model of what the documentation says. Run more
// of it with -rapid.checks=1000 (sequences) and -rapid.steps=80 (the approximate number of calls in
// each), and another -rapid.seed. No other test of this package may use rapid, since this one
// changes rapid's flags.
func TestAccountsAgainstAModel(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			checks := "20"
			if b.name != "memory" {
				checks = "2"
				if testing.Short() {
					checks = "5" // rapid divides it by five in short mode
				}
			}
			byDefault(t, "rapid.checks", "RAPID_CHECKS", checks)
			byDefault(t, "rapid.steps", "RAPID_STEPS", "50")
			byDefault(t, "rapid.seed", "RAPID_SEED", "1") // so that CI runs the same sequences each time
			if b.name == "postgres" {
				b.open(t) // skips here if there is no PostgreSQL, and not in the middle of a sequence
			}
			rapid.Check(t, func(rt *rapid.T) { runSequence(rt, sequence{t, rt}, b.open) })
		})
	}
}

// byDefault sets one of rapid's flags for the duration of a test, unless a value was chosen on the
// command line or in the environment.
func byDefault(t *testing.T, name, variable, value string) {
	t.Helper()
	f := flag.Lookup(name)
	if f.Value.String() != f.DefValue || os.Getenv(variable) != "" {
		return
	}
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// sequence is the testing.TB of one sequence of actions. It reports failures to rapid, which then
// looks for a shorter sequence that fails.
type sequence struct {
	testing.TB
	rt *rapid.T
}

func (s sequence) Helper()                   { s.rt.Helper() }
func (s sequence) Cleanup(f func())          { s.rt.Cleanup(f) }
func (s sequence) Context() context.Context  { return s.rt.Context() }
func (s sequence) Fail()                     { s.rt.Fail() }
func (s sequence) FailNow()                  { s.rt.FailNow() }
func (s sequence) Failed() bool              { return s.rt.Failed() }
func (s sequence) Log(a ...any)              { s.rt.Log(a...) }
func (s sequence) Logf(f string, a ...any)   { s.rt.Logf(f, a...) }
func (s sequence) Error(a ...any)            { s.rt.Error(a...) }
func (s sequence) Errorf(f string, a ...any) { s.rt.Errorf(f, a...) }
func (s sequence) Fatal(a ...any)            { s.rt.Fatal(a...) }
func (s sequence) Fatalf(f string, a ...any) { s.rt.Fatalf(f, a...) }

// machine is a server together with its model.
type machine struct {
	*api
	*model
	rt    *rapid.T
	t     testing.TB
	store storage.Store
	clock *gatehousetest.Clock
	sent  []string          // all codes that were e-mailed, valid or not
	last  map[string]string // the last code e-mailed, by DID and purpose
}

// The values that inputs are drawn from.
var (
	someHandles   = []string{"alice.test", "bobby.test", "carol.test", "dylan.test"}
	someEmails    = []string{"one@example.com", "two@example.com", "three@example.com"}
	somePasswords = []string{"password-one", "password-two", "aaaa-bbbb-cccc-dddd"} // the last looks like an app password
	someApps      = []string{"phone", "desk top"}
	someTimes     = []time.Duration{time.Minute, time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 26 * time.Hour, 10 * 24 * time.Hour, 91 * 24 * time.Hour}
)

// runSequence runs one sequence of actions on a new server.
func runSequence(rt *rapid.T, t sequence, open func(testing.TB) storage.Store) {
	s := &machine{rt: rt, t: t, store: open(t), clock: gatehousetest.NewClock(), last: map[string]string{}}
	s.model = &model{now: s.clock.Now, inviteOnly: s.flip("invite only"), web: s.seldom(3, "on the web"), reserved: map[string]bool{}, notices: map[notice]int{}}
	s.hold = pick(s, []time.Duration{0, 7 * 24 * time.Hour}, "handles are held for")
	s.holdDeleted = pick(s, []time.Duration{0, 0, 24 * time.Hour}, "those of deleted accounts for")
	s.start()
	for len(s.people) == 0 {
		s.signUp()
	}
	actions := s.actions()
	rt.Repeat(map[string]func(*rapid.T){
		"act": func(*rapid.T) {
			s.wait(pick(s, []time.Duration{time.Second, 0}, "after"))
			pick(s, actions, "does").do()
		},
		"": func(*rapid.T) { s.compare(false) },
	})
	s.compareAtEnd()
	s.stop()
	problems, err := storage.Check(context.Background(), s.store, gatehouse.Collections()...)
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("the store is inconsistent: %v", p)
	}
	s.checkNothingIsLeft()
}

// start starts a server on the machine's store and clock.
func (s *machine) start() {
	s.api = newAPI(s.t, withStore(s.store), config(func(c *gatehouse.Config) {
		c.Now, c.PublicURL = s.clock.Now, "http://localhost:2583"
		c.SignUp.InviteInterval, c.Passwords.MinLength = earnTime, minPassword
		if s.inviteOnly {
			c.SignUp.Mode = gatehouse.SignUpInvites
		}
		if c.Handles.HoldAfterDeletion = s.holdDeleted; s.hold > 0 {
			c.Handles.Hold = s.hold
		}
		if s.web {
			c.DIDs.Method = gatehouse.DIDWeb
		}
	}))
	s.random = true
}

// stop stops the server, after which all e-mails are sent, and checks the notices.
func (s *machine) stop() {
	s.Close()
	got := map[notice]int{}
	for _, m := range s.Mail.Messages() {
		got[notice{m.Kind, m.To}]++
	}
	if !maps.Equal(got, s.notices) {
		s.t.Errorf("the notices sent are %v, want %v", got, s.notices)
	}
	clear(s.notices)
}

func (s *machine) restart() {
	s.stop()
	s.start()
}

// action is one step of a sequence.
type action struct {
	name string
	do   func()
}

func (a action) GoString() string { return a.name }

// actions returns the actions to draw from. Common ones are in it more often.
func (s *machine) actions() []action {
	var all []action
	for _, a := range []struct {
		often int
		action
	}{
		{5, action{"createAccount", s.signUp}}, {8, action{"createSession", s.logIn}}, {6, action{"refreshSession", s.refresh}},
		{2, action{"deleteSession", s.deleteSession}}, {6, action{"wait", s.waitLong}},
		{3, action{"createAppPassword", s.createApp}}, {1, action{"listAppPasswords", s.listApps}}, {2, action{"revokeAppPassword", s.revokeApp}},
		{2, action{"requestPasswordReset", s.requestReset}}, {4, action{"resetPassword", s.reset}},
		{1, action{"requestEmailConfirmation", s.requestConfirmation}}, {5, action{"confirmEmail", s.confirmEmail}},
		{3, action{"requestEmailUpdate", s.requestUpdate}}, {6, action{"updateEmail", s.updateEmail}}, {3, action{"second factor", s.secure}},
		{2, action{"requestAccountDelete", s.requestDelete}}, {2, action{"deleteAccount", s.deleteAccount}},
		{1, action{"requestPlcOperationSignature", s.requestSignature}}, {3, action{"signPlcOperation", s.sign}},
		{2, action{"guess", s.guess}}, {2, action{"look", s.readOnly}},
		{1, action{"temp.addReservedHandle", s.reserveHandle}}, {1, action{"restart", s.restart}},
		{3, action{"deactivateAccount", s.deactivate}}, {3, action{"activateAccount", s.activate}}, {3, action{"updateHandle", s.updateHandle}},
		{2, action{"createInviteCode", s.createInvite}}, {1, action{"getAccountInviteCodes", s.ownInvites}},
		{3, action{"earn invite codes", s.earn}},
		{1, action{"admin.updateAccountPassword", s.adminPassword}}, {2, action{"admin.updateAccountEmail", s.adminEmail}},
		{2, action{"admin.updateAccountSigningKey", s.adminKey}},
		{1, action{"admin.updateAccountHandle", s.adminHandle}}, {6, action{"admin.updateSubjectStatus", s.adminStatus}},
		{2, action{"admin.disableAccountInvites", s.adminAccountInvites}}, {1, action{"admin.disableInviteCodes", s.adminInviteCodes}},
		{1, action{"admin.deleteAccount", s.adminDelete}}, {1, action{"temp.revokeAccountCredentials", s.adminRevoke}},
	} {
		for range a.often {
			all = append(all, a.action)
		}
	}
	return all
}

// expect fails the test unless the answer matches the verdict, and reports whether it is a success.
func (s *machine) expect(a *answer, v verdict) bool {
	s.t.Helper()
	var got verdict
	got.status = a.status
	got.name, _ = a.object["error"].(string)
	if v.message != "" {
		got.message, _ = a.object["message"].(string)
	}
	if got != v {
		s.t.Fatalf("%s: %d %s; want %v", a.method, a.status, a.body, v)
	}
	return v == fine
}

// uniform draws a number from 0 to n-1 with equal probability. rapid's own ranges prefer their
// ends.
func uniform(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		x := 0
		for range 12 {
			x *= 2
			if rapid.Bool().Draw(t, "bit") {
				x++
			}
		}
		return x % n
	})
}

// choice has rapid print the value that was drawn instead of its index.
type choice[T any] struct{ value T }

func (c choice[T]) GoString() string { return fmt.Sprintf("%#v", c.value) }

// pick draws one element of a slice.
func pick[T any](s *machine, of []T, label string) T {
	return rapid.Map(uniform(len(of)), func(i int) choice[T] { return choice[T]{of[i]} }).Draw(s.rt, label).value
}

func (s *machine) flip(label string) bool { return rapid.Bool().Draw(s.rt, label) }

// seldom draws true with a probability of one in times.
func (s *machine) seldom(times int, label string) bool {
	return rapid.Map(uniform(times), func(i int) bool { return i == times-1 }).Draw(s.rt, label)
}

// cased draws a spelling of a text in which the case may differ.
func (s *machine) cased(text string) string {
	return pick(s, []string{text, text, strings.ToUpper(text), strings.ToUpper(text[:1]) + text[1:]}, "as typed")
}

// pasted draws a spelling of a handle or a DID as people paste it. An e-mail address only differs
// in case.
func (s *machine) pasted(id string) string {
	if strings.Contains(id, "@") {
		return s.cased(id)
	}
	return pick(s, []string{
		id, id, strings.ToUpper(id), strings.ToUpper(id[:1]) + id[1:], " @" + id, "at://" + id, "https://bsky.app/profile/" + id, "\u202A" + id + ".\u202C",
	}, "as pasted")
}

// anybody draws an account, usually one that isn't deleted.
func (s *machine) anybody() *person {
	some := s.live()
	if len(some) == 0 || s.seldom(10, "gone") {
		some = s.people
	}
	p := pick(s, some, "whose")
	if heir := s.find(p.did); heir != nil { // another account has the DID by now
		return heir
	}
	return p
}

// as draws a token for a call, usually one that is allowed, and returns the verdict on it.
func (s *machine) as(who caller) (*bearerToken, verdict) {
	s.t.Helper()
	good := s.tokensThat(func(k *bearerToken) bool { return s.allows(k, who) == fine })
	if len(good) == 0 {
		s.logInProperly()
		good = s.tokensThat(func(k *bearerToken) bool { return s.allows(k, who) == fine })
	}
	if len(good) > 0 && !s.seldom(6, "any token") {
		return pick(s, good, "token"), fine
	}
	some := s.tokens
	if !s.seldom(4, "a refresh token too") {
		some = s.tokensThat(func(k *bearerToken) bool { return !k.refresh })
	}
	k := pick(s, some, "any of the tokens")
	return k, s.allows(k, who)
}

func (s *machine) tokensThat(match func(*bearerToken) bool) []*bearerToken {
	return slices.DeleteFunc(slices.Clone(s.tokens), func(k *bearerToken) bool { return !match(k) })
}

// logInProperly opens a session for every account that can log in with only its password.
func (s *machine) logInProperly() {
	for _, p := range s.live() {
		if p.takedown == 0 && p.password != "" && !p.factor {
			a := s.login(p.did, p.password)
			s.expect(a, fine)
			p.deleteAfter = time.Time{} // the login cancels a scheduled deletion
			s.open(a, p, nil)
		}
	}
}

// open adds a new session and its tokens to the model.
func (s *machine) open(a *answer, p *person, with *app) {
	o := &session{
		owner: p, app: with, created: s.now(), expires: s.now().Add(refreshLife),
		until: map[int]time.Time{}, ids: map[int]string{0: jti(s.t, a.text("refreshJwt"))},
	}
	p.sessions = append(p.sessions, o)
	s.keep(a, p, o, 0)
}

// keep adds the tokens in an answer to the model.
func (s *machine) keep(a *answer, p *person, o *session, generation int) {
	k := bearerToken{owner: p, session: o, generation: generation, takedown: p.takedown, passwords: p.passwords}
	access, refresh := k, k
	access.jwt, access.expires = a.text("accessJwt"), s.now().Add(accessLife)
	refresh.jwt, refresh.expires, refresh.refresh = a.text("refreshJwt"), s.now().Add(refreshLife), true
	s.tokens = append(s.tokens, &access, &refresh)
}

// expectCode checks that a code was mailed and adds it to the model. A code with enough time left
// must have been sent again.
func (s *machine) expectCode(p *person, purpose string) {
	s.t.Helper()
	code := s.Mail.Code(p.email)
	if len(code) != 11 {
		s.t.Fatalf("the mailed code %q doesn't have 11 characters", code)
	}
	if old := p.codes[purpose]; old != nil && old.expires.Sub(s.now()) >= resendLeft {
		if code != old.text {
			s.t.Fatalf("the code %s was mailed while %s is still valid", code, old.text)
		}
		return
	}
	p.codes[purpose] = &mailed{text: code, expires: s.now().Add(codeLife)}
	s.sent = append(s.sent, code)
	s.last[p.did+purpose] = code
}

// typed draws a code to enter, usually the right one in some spelling.
func (s *machine) typed(p *person, purpose string) string {
	const nonsense = "AAAAA-AAAAA"
	right, stale := nonsense, nonsense
	if last := s.last[p.did+purpose]; last != "" {
		right = last
	}
	if len(s.sent) > 0 {
		stale = pick(s, s.sent, "any code")
	}
	return pick(s, []string{right, right, right, right, " " + strings.ToLower(right) + " ", strings.ReplaceAll(right, "-", " \u2013 "), right[:10], nonsense, wrongCode(right), stale}, "typed")
}

// wrongCode returns a wrong code with the same first half, by which codes are looked up.
func wrongCode(code string) string {
	if strings.HasSuffix(code, "22222") {
		return code[:6] + "33333"
	}
	return code[:6] + "22222"
}

// wait advances the clock and has the server do the background work that is due.
func (s *machine) wait(d time.Duration) {
	s.t.Helper()
	s.clock.Advance(d)
	if err := s.Gatehouse.Maintain(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	s.timePasses()
}

func (s *machine) waitLong() { s.wait(pick(s, someTimes, "time")) }
