package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// policies is the set of policies of a server. It records what they are asked about, and one of
// them can be given an answer.
type policies struct {
	mu     sync.Mutex
	which  string
	answer func(context.Context) error
	asked  []string
}

// says sets the answer of one policy, "handle", "password" or "email", and clears the record. The
// other policies allow everything, and so does this one if answer is nil.
func (p *policies) says(which string, answer func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.which, p.answer, p.asked = which, answer, nil
}

// wasAsked returns what one of the policies was asked about.
func (p *policies) wasAsked(which string) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.asked {
		if about, ok := strings.CutPrefix(line, which+" "); ok {
			all = append(all, about)
		}
	}
	return all
}

func (p *policies) ask(ctx context.Context, which, about string) error {
	p.mu.Lock()
	p.asked = append(p.asked, which+" "+about)
	answer := p.answer
	if which != p.which {
		answer = nil
	}
	p.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

func (p *policies) config(c *gatehouse.Config) {
	c.Handles.Policy = func(ctx context.Context, c handle.Candidate) error {
		return p.ask(ctx, "handle", fmt.Sprintf("%s %q %q %q", c.Handle, c.Label, c.Domain, c.DID))
	}
	c.Passwords.Policy = func(ctx context.Context, password string, o accounts.PasswordOwner) error {
		return p.ask(ctx, "password", fmt.Sprintf("%s %s %s %q", password, o.Handle, o.Email, o.DID))
	}
	c.Mail.EmailPolicy = func(ctx context.Context, address string) error { return p.ask(ctx, "email", address) }
}

// governed is a call that a policy decides about.
type governed struct {
	policy, name string
	request      func() (nsid string, req *http.Request)
}

// allGoverned returns the calls that the policies decide about. Those that change an account change
// alice's; code is a code for resetting her password.
func allGoverned(s *api, alice *gatehousetest.Account, code string) []governed {
	call := func(who, method string, input object) func() (string, *http.Request) {
		return func() (string, *http.Request) { return s.request(who, method, input) }
	}
	signUp := call(nobody, "server.createAccount", applicant("newcomer"))
	return []governed{
		{"handle", "sign-up", signUp},
		{"handle", "change", call(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": "alicia.test"})},
		{"password", "sign-up", signUp},
		{"password", "reset", call(nobody, "server.resetPassword", object{"token": code, "password": "another-password"})},
		{"password", "admin", call(admin, "admin.updateAccountPassword", object{"did": alice.DID, "password": "another-password"})},
		{"email", "sign-up", signUp},
		{"email", "change", call(bearer(alice.AccessJWT), "server.updateEmail", object{"email": "alicia@example.com"})},
		{"email", "admin", call(admin, "admin.updateAccountEmail", object{"account": alice.DID, "email": "alicia@example.com"})},
	}
}

// resetCode requests a code for resetting a password and returns it.
func (s *api) resetCode(email string) string {
	s.t.Helper()
	s.do(nobody, "server.requestPasswordReset", object{"email": email}).ok()
	return s.Mail.Code(email)
}

// stored returns everything in the store, by table and key.
func (s *api) stored() map[string]string {
	s.t.Helper()
	var all map[string]string
	err := s.Store.View(s.t.Context(), func(tx storage.Tx) error {
		all = map[string]string{}
		for _, c := range gatehouse.Collections() {
			table := c.Table().Name
			if table == "leases" || table == "audit_log" { // background work and refused calls write these
				continue
			}
			for r, err := range tx.Scan(table, storage.Range{}) {
				if err != nil {
					return err
				}
				all[table+" "+r.Key] = string(r.Value)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestEachPolicyRefuses checks that clients get the message of a policy's refusal but no other
// detail of its error, and that a call that a policy refuses changes nothing.
func TestEachPolicyRefuses(t *testing.T) {
	t.Parallel()
	var p policies
	var log logbook
	s := newAPI(t, config(p.config), logged(&log))
	alice := s.signUp("alice.test")
	calls := allGoverned(s, alice, s.resetCode(alice.Email))
	kinds := map[string]struct {
		err  error
		name string
	}{
		"handle":   {handle.ErrNotAvailable, "HandleNotAvailable"},
		"password": {accounts.ErrInvalidPassword, "InvalidPassword"},
		"email":    {accounts.ErrInvalidEmail, "InvalidRequest"},
	}
	for _, c := range calls {
		t.Run(c.policy+" "+c.name, func(t *testing.T) {
			kind := kinds[c.policy]
			before := s.stored()
			for _, e := range []struct {
				err           error
				status        int
				name, message string
			}{
				{accounts.Refuse(kind.err, "Not this one, please"), 400, kind.name, "Not this one, please"},
				{fmt.Errorf("secret detail: %w", accounts.Refuse(kind.err, "Nor this")), 400, kind.name, "Nor this"},
				{accounts.Refuse(handle.ErrInvalid, "Not a nice word"), 400, "InvalidHandle", "Not a nice word"},
				{sentence("On Sundays only"), 400, "InvalidRequest", "On Sundays only"},
				{accounts.Refuse(errors.New("secret kind"), "Of no kind"), 400, "InvalidRequest", "Of no kind"},
				{&xrpc.Error{Status: http.StatusForbidden, Name: "Curfew", Message: "It is late"}, 403, "Curfew", "It is late"},
				{errors.New("secret detail: dial 10.0.0.7"), 500, "InternalServerError", "Internal Server Error"},
				{fmt.Errorf("words: %w", context.DeadlineExceeded), 503, "ServiceUnavailable", "The service is too busy"},
			} {
				p.says(c.policy, func(context.Context) error { return e.err })
				got := s.send(c.request())
				got.refused(e.status, e.name, e.message)
				if strings.Contains(string(got.body), "secret") {
					t.Errorf("the answer has a detail of the error: %s", got.body)
				}
				if n := len(p.wasAsked(c.policy)); n != 1 {
					t.Errorf("the policy was asked %d times, want 1", n)
				}
			}
			if now := s.stored(); !reflect.DeepEqual(now, before) {
				t.Errorf("refusals changed the store from\n%v\nto\n%v", before, now)
			}
		})
	}
	// The log says why a policy failed but has no password.
	if text := log.String(); !contains(text, "secret detail: dial 10.0.0.7") || contains(text, "another-password") {
		t.Errorf("the log lacks the error or has a password:\n%s", text)
	}
	// The refused calls succeed once the policies allow them. Left out are those that fail for another
	// reason: repeated sign-ups with the same handle, and a change by a session that the reset ended.
	p.says("", nil)
	for _, i := range []int{0, 1, 3, 4, 7} {
		s.send(calls[i].request()).ok()
	}
	s.login("alicia.test", "another-password").ok()
}

// TestPoliciesGetNormalizedInput checks what the policies are asked about, that it is in normal
// form, and in which calls they aren't asked.
func TestPoliciesGetNormalizedInput(t *testing.T) {
	t.Parallel()
	var p policies
	network := handles{}
	s := newAPI(t, config(p.config), config(func(c *gatehouse.Config) { c.Handles.Resolver = network }))
	saw := func(which string, want ...string) {
		t.Helper()
		if got := p.wasAsked(which); !reflect.DeepEqual(got, want) {
			t.Errorf("the %s policy was asked about %q, want %q", which, got, want)
		}
	}
	alice := s.signUp("@Alice.Test", object{"email": " Alice@Example.com", "password": "first"})
	saw("handle", `alice.test "alice" ".test" ""`)
	saw("password", `first alice.test alice@example.com ""`)
	saw("email", "alice@example.com")

	p.says("", nil)
	network["alice.example.com"] = syntax.DID(alice.DID)
	s.rename(alice, "Alice.Example.com").ok()
	saw("handle", fmt.Sprintf(`alice.example.com "" "" %q`, alice.DID))
	s.do(bearer(alice.AccessJWT), "server.updateEmail", object{"email": "A2@example.com"}).ok()
	s.do(admin, "admin.updateAccountEmail", object{"account": alice.DID, "email": "alice@example.com"}).ok()
	saw("email", "a2@example.com", "alice@example.com")
	code := s.resetCode("alice@example.com")
	s.do(nobody, "server.resetPassword", object{"token": code, "password": "second"}).ok()
	s.do(admin, "admin.updateAccountPassword", object{"did": alice.DID, "password": "third"}).ok()
	saw("password", fmt.Sprintf(`second alice.example.com alice@example.com %q`, alice.DID), fmt.Sprintf(`third alice.example.com alice@example.com %q`, alice.DID))

	// Wrong codes, empty passwords and malformed addresses and handles are refused before the policy
	// is asked.
	p.says("", nil)
	s.do(nobody, "server.resetPassword", object{"token": "AAAAA-AAAAA", "password": "fourth"}).refused(400, "InvalidToken")
	s.do(nobody, "server.resetPassword", object{"token": code, "password": ""}).refused(400, "InvalidPassword")
	s.do(nobody, "server.createAccount", applicant("bob", object{"email": "bob"})).refused(400, "InvalidRequest")
	s.do(nobody, "server.createAccount", applicant("bob", object{"handle": "bob.local"})).refused(400, "InvalidHandle")
	saw("password")
	// Admins may set any handle, and logins don't ask the policies.
	s.give(alice, "admin.test").ok()
	s.login("admin.test", "third").ok()
	saw("handle")
	saw("password")
}

// TestAPolicyReplacesTheDefault has policies that allow something that the default policy refuses
// and call the default for the rest.
func TestAPolicyReplacesTheDefault(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Handles.Policy = func(ctx context.Context, c handle.Candidate) error {
			if c.Label == "postmaster" {
				return nil
			}
			return handle.DefaultPolicy(ctx, c)
		}
		c.Mail.EmailPolicy = func(ctx context.Context, address string) error {
			if strings.HasSuffix(address, "@mailinator.com") {
				return nil
			}
			return accounts.DefaultEmailPolicy(ctx, address)
		}
	}))
	if available, _ := s.offered("postmaster.test"); !available {
		t.Error("postmaster.test isn't available")
	}
	s.do(nobody, "server.createAccount", applicant("postmaster", object{"email": "root@mailinator.com"})).ok()
	s.do(nobody, "server.createAccount", applicant("hostmaster")).refused(400, "HandleNotAvailable", "Reserved handle")
	s.do(nobody, "server.createAccount", applicant("bob", object{"email": "bob@yopmail.com"})).
		refused(400, "InvalidRequest", "This email address is not supported, please use a different email.")
}

// TestAvailabilityChecksTheEmailAddress checks that checkHandleAvailability applies the same policy
// to an address as a sign-up, but answers with the error that the lexicon declares.
func TestAvailabilityChecksTheEmailAddress(t *testing.T) {
	t.Parallel()
	var p policies
	s := newAPI(t, config(p.config))
	ask := func(email string) *answer {
		return s.do(nobody, "temp.checkHandleAvailability", object{"handle": "alice.test", "email": email})
	}
	ask("alice@mailinator.com").ok() // the policy allows it
	ask("alice").refused(400, "InvalidEmail", "Invalid email")
	for _, err := range []error{accounts.Refuse(accounts.ErrInvalidEmail, "Not this one"), sentence("Nor this")} {
		p.says("email", func(context.Context) error { return err })
		ask("alice@example.com").refused(400, "InvalidEmail", "Invalid email")
	}
	p.says("email", func(context.Context) error { return errors.New("secret detail") })
	ask("alice@example.com").refused(500, "InternalServerError", "Internal Server Error")
	s = newAPI(t)
	ask("alice@example.com").ok()
	ask("alice@mailinator.com").refused(400, "InvalidEmail", "Invalid email")
}

// TestHandleRulesAgreeInEveryMethod checks that a sign-up, a change of handle and a check of
// availability give the same answer about a handle, and that an admin's change allows more.
func TestHandleRulesAgreeInEveryMethod(t *testing.T) {
	t.Parallel()
	const (
		reserved = "HandleNotAvailable: Reserved handle"
		taken    = "HandleNotAvailable: Handle already taken: "
		form     = "must be a valid handle" // as the lexicon has it
		dot      = "InvalidHandle: Invalid characters in handle"
		tld      = "InvalidHandle: Handle TLD is invalid or disallowed"
		short    = "InvalidHandle: Handle too short"
		long     = "InvalidHandle: Handle too long"
		punycode = "InvalidHandle: Internationalized handles (xn--) are not supported"
		mine     = "HandleNotAvailable: Not on my server"
		words    = "InvalidHandle: Not a nice word"
		foreign  = "InvalidRequest: External handle did not resolve to DID"
	)
	type row struct {
		handle string
		want   string // of a sign-up and of a change
		admin  string // of an admin's change
	}
	table := []row{
		{"free.test", "", ""},
		{" @Fr\u00ADee.TEST. ", "", ""},
		{"https://bsky.app/profile/free.users.test", "", ""},
		{"eighteen-character.test", "", ""},
		{"free", form, form}, {"fr..ee.test", form, form}, {"-free.test", form, form}, {"fr_ee.test", form, form}, {"fr ee.test", form, form},
		{"free@users.test", form, form}, {"fr.ee.test", dot, dot},
		{"free.local", tld, tld}, {"free.invalid", tld, tld},
		{"fr.test", short, short}, {"nineteen-characters.test", long, long},
		{"xn--bcher-kva.test", punycode, ""},
		{"admin.test", reserved, ""}, {"Ad-Min.users.test", reserved, ""},
		{"lobby.test", reserved, reserved}, {"WWW.users.test", reserved, reserved}, // the server's own
		{"kept.test", reserved, ""}, {"@Kept.test", reserved, ""}, // by an admin
		{"taken.test", taken + "taken.test", taken + "taken.test"}, {"TAKEN.test", taken + "taken.test", taken + "taken.test"},
		{"moving.test", taken + "moving.test", taken + "moving.test"}, // somebody is about to get it
		{"held.test", taken + "held.test", ""},
		{"mine-1.test", mine, ""}, {"nasty.test", words, ""}, {"na.sty.test", words, dot}, {"nastyish-nastyish-1.test", words, long},
	}
	for method, on := range map[gatehouse.DIDMethod]func(*testing.T, func(*testing.T, *api), ...gatehousetest.Option){
		gatehouse.DIDPLC: onEach,
		gatehouse.DIDWeb: func(t *testing.T, test func(*testing.T, *api), opts ...gatehousetest.Option) {
			test(t, newAPI(t, opts...))
		},
	} {
		t.Run(string(method), func(t *testing.T) {
			directory := newFaulty(t)
			on(t, func(t *testing.T, s *api) {
				alice := s.signUp("alice.test")
				s.signUp("taken.test")
				bob := s.signUp("held.test")
				s.rename(bob, "bobby.test").ok()
				s.do(admin, "temp.addReservedHandle", object{"handle": "kept.test"}).ok()
				directory.mode.Store(unreachable)
				s.rename(bob, "moving.test")
				directory.mode.Store(works)
				said := func(a *answer) string {
					if a.status == http.StatusOK {
						return ""
					}
					if a.status != http.StatusBadRequest {
						t.Errorf("%s: %d %s", a.method, a.status, a.body)
					}
					if strings.HasSuffix(fmt.Sprint(a.object["message"]), "handle "+form) {
						return form
					}
					return fmt.Sprint(a.object["error"], ": ", a.object["message"])
				}
				for i, r := range table {
					if r.handle == "moving.test" && method == gatehouse.DIDWeb { // did:web changes don't depend on a directory
						continue
					}
					check := s.do(nobody, "temp.checkHandleAvailability", object{"handle": url.QueryEscape(r.handle)})
					available := check.status == http.StatusOK && check.object["result"].(object)["$type"] == "com.atproto.temp.checkHandleAvailability#resultAvailable"
					// The check answers with an error only for malformed handles, and otherwise says whether
					// the handle is available.
					if malformed := r.want == form || r.want == tld; malformed && said(check) != r.want || !malformed && check.status != http.StatusOK {
						t.Errorf("availability of %q: %s", r.handle, check.body)
					}
					if available != (r.want == "") {
						t.Errorf("%q is available: %t, want %t", r.handle, available, r.want == "")
					}
					if got := said(s.rename(alice, r.handle)); got != r.want {
						t.Errorf("a change to %q: %q, want %q", r.handle, got, r.want)
					}
					s.give(alice, fmt.Sprintf("alice-%d.test", i)).ok() // an admin's change leaves no hold
					newcomer := s.do(nobody, "server.createAccount", applicant(fmt.Sprint("newcomer", i), object{"handle": r.handle}))
					if got := said(newcomer); got != r.want {
						t.Errorf("a sign-up with %q: %q, want %q", r.handle, got, r.want)
					}
					if newcomer.status == http.StatusOK {
						s.do(admin, "admin.deleteAccount", object{"did": newcomer.text("did")}).ok()
					}
					if got := said(s.give(alice, r.handle)); got != r.admin {
						t.Errorf("an admin's change to %q: %q, want %q", r.handle, got, r.admin)
					}
					s.give(alice, fmt.Sprintf("alice-%d.test", i)).ok()
				}
				// A handle on a foreign domain can only be checked for a particular account.
				if available, _ := s.offered("alice.example.com"); available {
					t.Error("alice.example.com is available")
				}
				for _, name := range []string{"alice.example.com", "admin.example.com", "nasty.example.com"} {
					want := foreign
					if strings.HasPrefix(name, "nasty") {
						want = words
					}
					if got := said(s.rename(alice, name)); got != want {
						t.Errorf("a change to %s: %q, want %q", name, got, want)
					}
					if got := said(s.give(alice, name)); got != foreign {
						t.Errorf("an admin's change to %s: %q, want %q", name, got, foreign)
					}
					if want == foreign {
						want = "UnsupportedDomain: Not a supported handle domain"
					}
					if got := said(s.take(name)); got != want {
						t.Errorf("a sign-up with %s: %q, want %q", name, got, want)
					}
				}
			}, holding, config(func(c *gatehouse.Config) {
				c.Hostname, c.PublicURL, c.ExtraHostnames, c.DIDs.Method = "lobby.test", "http://door.example", []string{"www.users.test"}, method
				c.HandleDomains, c.DIDs.Directory = []string{".test", ".users.test"}, directory
				c.Handles.Policy = func(ctx context.Context, c handle.Candidate) error {
					switch {
					case strings.HasPrefix(c.Label, "mine"):
						return accounts.Refuse(handle.ErrNotAvailable, "Not on my server")
					case strings.Contains(strings.ReplaceAll(c.Handle.String(), ".", ""), "nasty"):
						return accounts.Refuse(handle.ErrInvalid, "Not a nice word")
					}
					return handle.DefaultPolicy(ctx, c)
				}
			}))
		})
	}
}

// TestAPolicyThatHangsOrPanicsChangesNothing checks that the context of a policy ends with the
// request, and that a panic in a policy is answered as an internal error.
func TestAPolicyThatHangsOrPanicsChangesNothing(t *testing.T) {
	t.Parallel()
	var p policies
	s := newAPI(t, config(p.config))
	alice := s.signUp("alice.test")
	for _, c := range allGoverned(s, alice, s.resetCode(alice.Email)) {
		t.Run(c.policy+" "+c.name, func(t *testing.T) {
			before := s.stored()
			p.says(c.policy, func(context.Context) error { panic("secret words") })
			got := s.send(c.request())
			got.refused(500, "InternalServerError", "Internal Server Error")
			if strings.Contains(string(got.body), "secret") {
				t.Errorf("the answer has the panic's value: %s", got.body)
			}

			asked, ended := make(chan struct{}), make(chan error, 1)
			p.says(c.policy, func(ctx context.Context) error {
				close(asked)
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			})
			ctx, hangUp := context.WithCancel(t.Context())
			_, req := c.request()
			answered := make(chan error, 1)
			go func() {
				resp, err := s.Client().Do(req.WithContext(ctx))
				if err == nil {
					resp.Body.Close()
				}
				answered <- err
			}()
			<-asked
			hangUp()
			if err := <-answered; !errors.Is(err, context.Canceled) {
				t.Errorf("the client's error is %v, want context.Canceled", err)
			}
			if err := <-ended; err == nil {
				t.Error("the policy's context has no error after the client hung up")
			}
			if now := s.stored(); !reflect.DeepEqual(now, before) {
				t.Errorf("the store changed from\n%v\nto\n%v", before, now)
			}
		})
	}
	// A check of availability also survives a policy that panics or times out.
	p.says("handle", func(context.Context) error { panic("secret words") })
	s.do(nobody, "temp.checkHandleAvailability", object{"handle": "alicia.test"}).refused(500, "InternalServerError", "Internal Server Error")
	p.says("handle", func(context.Context) error { return fmt.Errorf("secret words: %w", context.DeadlineExceeded) })
	s.do(nobody, "temp.checkHandleAvailability", object{"handle": "alicia.test"}).refused(503, "ServiceUnavailable")
	p.says("", nil)
	if available, _ := s.offered("alicia.test"); !available {
		t.Error("alicia.test isn't available afterwards")
	}
}

// TestPasswordsQuotedByAPolicyAreNotLogged has a password policy return an error that quotes the
// password.
func TestPasswordsQuotedByAPolicyAreNotLogged(t *testing.T) {
	t.Parallel()
	var log logbook
	var cause atomic.Value // the error
	s := newAPI(t, logged(&log), config(func(c *gatehouse.Config) {
		c.Passwords.Policy = func(_ context.Context, password string, _ accounts.PasswordOwner) error {
			return fmt.Errorf("looking up %q: %w", password, cause.Load().(error))
		}
	}))
	signUp := applicant("alice", object{"password": "quoted-password"})
	cause.Store(fmt.Errorf("dialing: %w", io.EOF))
	s.do(nobody, "server.createAccount", signUp).refused(500, "InternalServerError", "Internal Server Error")
	if text := log.String(); contains(text, "quoted-password") || !contains(text, "the password policy failed") {
		t.Errorf("the log has the password or lacks the failure:\n%s", text)
	}
	// The message to the client and the kind of the error are kept.
	cause.Store(fmt.Errorf("found: %w", accounts.Refuse(accounts.ErrInvalidPassword, "That one was leaked")))
	s.do(nobody, "server.createAccount", signUp).refused(400, "InvalidPassword", "That one was leaked")
}
