package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// The messages of createAccount where sign-up is closed to everybody, or to new accounts.
const (
	nobodyMay  = "This server doesn't take new accounts"
	onlyMovers = "This server only takes accounts that move here from another server"
)

// newCode creates an invite code for a number of uses.
func (s *api) newCode(uses int) string {
	s.t.Helper()
	return s.do(admin, "server.createInviteCode", object{"useCount": uses}).text("code")
}

// uses returns how often an invite code was used.
func (s *api) uses(code string) int {
	s.t.Helper()
	for _, c := range s.do(admin, "admin.getInviteCodes", object{"limit": 500}).ok()["codes"].([]any) {
		if c := c.(object); c["code"] == code {
			return len(c["uses"].([]any))
		}
	}
	s.t.Fatalf("admin.getInviteCodes doesn't list the code %s", code)
	return 0
}

// applicant returns the input of a sign-up with a handle and an e-mail address made from a label.
func applicant(label string, more ...object) object {
	in := object{"handle": label + ".test", "email": label + "@example.com", "password": "password"}
	for _, m := range more {
		maps.Copy(in, m)
	}
	return in
}

func withMode(mode gatehouse.SignUpMode) func(*gatehouse.Config) {
	return func(c *gatehouse.Config) { c.SignUp.Mode = mode }
}

// TestSignUpModes checks who can sign up in each mode, and that describeServer says so.
func TestSignUpModes(t *testing.T) {
	t.Parallel()
	const taken = ""
	all := func(said string) map[string]string {
		return map[string]string{"new": said, "new, with a code": said, "moving": said, "moving, with a code": said}
	}
	but := func(said map[string]string, other string, who ...string) map[string]string {
		for _, w := range who {
			said[w] = other
		}
		return said
	}
	for mode, c := range map[gatehouse.SignUpMode]struct {
		asksForCode bool
		said        map[string]string
	}{
		"":                         {false, all(taken)},
		gatehouse.SignUpOpen:       {false, all(taken)},
		gatehouse.SignUpInvites:    {true, but(all(taken), "InvalidInviteCode No invite code provided", "new", "moving")},
		gatehouse.SignUpMigrations: {false, but(all(taken), "SignUpClosed "+onlyMovers, "new", "new, with a code")},
		gatehouse.SignUpClosed:     {true, all("SignUpClosed " + nobodyMay)},
	} {
		plc, movers := newIssuers(t, 2)
		t.Run("mode "+string(mode), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				if got := s.do(nobody, "server.describeServer", nil).ok(); got["inviteCodeRequired"] != c.asksForCode || got["phoneVerificationRequired"] != false {
					t.Errorf("describeServer: %v", got)
				}
				for i, who := range slices.Sorted(maps.Keys(c.said)) {
					said, code := c.said[who], s.newCode(1)
					in, authorization, uses := applicant(fmt.Sprint("visitor", i)), nobody, 0
					if strings.HasSuffix(who, "with a code") {
						in["inviteCode"] = code
					}
					mover := movers[i%2]
					if strings.HasPrefix(who, "moving") {
						in["did"], authorization = mover.did, bearer(mover.token(s, "server.createAccount", who))
					}
					a := s.do(authorization, "server.createAccount", in)
					if said != taken {
						name, message, _ := strings.Cut(said, " ")
						a.refused(400, name, message)
						if s.exists(mover.did) && in["did"] != nil {
							t.Errorf("%s: the account exists after a refusal", who)
						}
						s.login(in["handle"].(string), "password").refused(401, "AuthenticationRequired")
					} else {
						if got := a.text("did"); in["did"] != nil && got != mover.did {
							t.Errorf("%s: the DID is %s, want %s", who, got, mover.did)
						}
						if in["inviteCode"] != nil {
							uses = 1
						}
						session := s.do(bearer(a.text("accessJwt")), "server.getSession", nil).ok()
						if session["active"] != (in["did"] == nil) {
							t.Errorf("%s: want active %v in the session %v", who, in["did"] == nil, session)
						}
					}
					if got := s.uses(code); got != uses {
						t.Errorf("%s: the code was used %d times, want %d", who, got, uses)
					}
				}
				// Existing accounts can log in in every mode, and the embedder can create accounts.
				bob := s.CreateAccount("bob.test")
				s.login(bob.Handle, bob.Password).ok()
			}, config(withMode(mode)), config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
		})
	}
}

// waysIn returns sign-ups that try to get around the mode, by a description of each.
func waysIn(t *testing.T, s *api, mover, other *issuer) map[string]func() *answer {
	t.Helper()
	member := s.CreateAccount("member.test")
	code := s.newCode(100)
	reserved := s.do(nobody, "server.reserveSigningKey", object{"did": mover.did}).text("signingKey")
	call := func(authorization string, more ...object) func() *answer {
		in := applicant(fmt.Sprint("visitor", len(more)), more...)
		return func() *answer { return s.do(authorization, "server.createAccount", in) }
	}
	token := func() string { return bearer(mover.token(s, "server.createAccount", newHandle())) }
	return map[string]func() *answer{
		"new":                         call(nobody),
		"with a code":                 call(nobody, object{"inviteCode": code}),
		"with a made-up code":         call(nobody, object{"inviteCode": "nonsense"}),
		"with codes for everything":   call(nobody, object{"inviteCode": code, "verificationCode": "1", "verificationPhone": "+1"}),
		"with fields of the Go API":   call(nobody, object{"admit": true, "Admit": true, "allowReserved": true, "provenDID": mover.did, "ProvenDID": mover.did}),
		"with a recovery key":         call(nobody, object{"recoveryKey": reserved}),
		"with a PLC operation":        call(nobody, object{"plcOp": object{}}),
		"as an admin":                 call(admin),
		"as a member":                 call(bearer(member.AccessJWT)),
		"as a member, with their DID": call(bearer(member.AccessJWT), object{"did": member.DID}),
		"with a token but no DID":     call(token()),
		"with a labeler's token":      call(bearer(mover.labelToken(s, "server.createAccount", newHandle())), object{"did": mover.did}),
		"with another's DID":          call(token(), object{"did": other.did}),
		"with a DID, unproven":        call(nobody, object{"did": mover.did}),
		"with a member's DID":         call(nobody, object{"did": member.DID}),
		"with a token that is junk":   call(bearer("junk"), object{"did": mover.did}),
		"with a foreign handle":       call(nobody, object{"handle": "name.example.com"}),
		"with a handle that is taken": call(nobody, object{"handle": member.Handle}),
		"with an address in use":      call(nobody, object{"email": member.Email}),
		"with a short password":       call(nobody, object{"password": ""}),
	}
}

// TestClosedModeRefusesEverySignUp checks that a closed server refuses every sign-up with the same
// answer, stores nothing, and doesn't ask the directory.
func TestClosedModeRefusesEverySignUp(t *testing.T) {
	t.Parallel()
	local, issuers := newIssuers(t, 2)
	plc := asked(local)
	onEach(t, func(t *testing.T, s *api) {
		ways := waysIn(t, s, issuers[0], issuers[1])
		ways["moving"] = func() *answer {
			return s.do(bearer(issuers[0].token(s, "server.createAccount", "moving")), "server.createAccount", applicant("mover", object{"did": issuers[0].did}))
		}
		before, keys, lookups := s.rows("accounts"), s.rows("reserved_keys"), plc.total()
		for name, try := range ways {
			a := try()
			a.refused(400, "SignUpClosed", nobodyMay)
			if a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: the answer has WWW-Authenticate", name)
			}
		}
		counts := tally(race(func(i int) *answer {
			return s.do(bearer(issuers[1].token(s, "server.createAccount", "race")), "server.createAccount", applicant(fmt.Sprint("racer", i), object{"did": issuers[1].did}))
		}))
		if counts["SignUpClosed"] != racers {
			t.Errorf("a race: %v, want only SignUpClosed", counts)
		}
		if got := s.rows("accounts"); got != before {
			t.Errorf("there are %d accounts, want still %d", got, before)
		}
		if got := s.rows("reserved_keys"); got != keys {
			t.Errorf("there are %d reserved keys, want still %d", got, keys)
		}
		if n := s.rowsOf("service_tokens", "invite_uses", "did_changes"); !slices.Equal(n, []int{0, 0, 0}) {
			t.Errorf("the numbers of used tokens, uses of codes, and changes of DIDs are %v, want zeros", n)
		}
		if got := plc.total(); got != lookups {
			t.Errorf("the directory was asked %d times, want none", got-lookups)
		}
	}, config(withMode(gatehouse.SignUpClosed)), config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
}

// TestMigrationsModeTakesOnlyMigrations checks that in the mode for migrations a sign-up without a
// DID, or without a proof of it, is refused before anything else is checked.
func TestMigrationsModeTakesOnlyMigrations(t *testing.T) {
	t.Parallel()
	plc, issuers := newIssuers(t, 2)
	mover, other := issuers[0], issuers[1]
	onEach(t, func(t *testing.T, s *api) {
		ways := waysIn(t, s, mover, other)
		before := s.rows("accounts")
		for name, try := range ways {
			a := try()
			switch name {
			case "as an admin":
				a.refused(401, "AuthenticationRequired", "Invalid authorization header")
			case "as a member", "as a member, with their DID", "with a token that is junk":
				a.refused(401, "BadJwt")
			case "with a labeler's token":
				a.refused(401, "UntrustedIss")
			case "with another's DID":
				a.refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+other.did)
			case "with a DID, unproven":
				a.refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+mover.did)
			case "with a member's DID":
				if a.status != 401 {
					t.Errorf("%s: %d %s", name, a.status, a.body)
				}
			case "with a PLC operation":
				a.refused(400, "InvalidRequest")
			default:
				a.refused(400, "SignUpClosed", onlyMovers)
			}
		}
		// A sign-up with another account's DID doesn't learn which handles and addresses are taken.
		s.do(nobody, "server.createAccount", applicant("x-y-z", object{"did": mover.did, "handle": "member.test", "email": "member@example.com"})).
			refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+mover.did)
		counts := tally(race(func(i int) *answer {
			return s.do(bearer(mover.token(s, "server.createAccount", fmt.Sprint("race ", i))), "server.createAccount", applicant(fmt.Sprint("racer", i)))
		}))
		if counts["SignUpClosed"] != racers {
			t.Errorf("a race of new accounts with tokens: %v, want only SignUpClosed", counts)
		}
		if got := s.rows("accounts"); got != before {
			t.Errorf("there are %d accounts, want still %d", got, before)
		}
		if n := s.rows("service_tokens"); n != 0 {
			t.Errorf("%d tokens are used up, want none", n)
		}

		// The owner of the DID can sign up, once.
		counts = tally(race(func(i int) *answer {
			return s.do(bearer(mover.token(s, "server.createAccount", fmt.Sprint("moving ", i))), "server.createAccount", applicant(fmt.Sprint("mover", i), object{"did": mover.did}))
		}))
		if counts[""] != 1 || counts["InvalidRequest"] != racers-1 {
			t.Errorf("a race to move one account: %v, want one success", counts)
		}
		if n := s.rows("accounts"); n != before+1 || !s.exists(mover.did) {
			t.Errorf("there are %d accounts, want %d with %s among them", n, before+1, mover.did)
		}
	}, config(withMode(gatehouse.SignUpMigrations)), config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
}

// TestInvalidInviteCodes checks that used, disabled, malformed and made-up invite codes are
// refused.
func TestInvalidInviteCodes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		used, disabled := s.newCode(1), s.newCode(1)
		s.do(nobody, "server.createAccount", applicant("alice", object{"inviteCode": used})).ok()
		s.do(admin, "admin.disableInviteCodes", object{"codes": []string{disabled}}).ok()
		carol := s.CreateAccount("carol.test")
		made, err := s.Gatehouse.Invites.Create(t.Context(), 1, 1, carol.DID)
		if err != nil {
			t.Fatal(err)
		}
		s.takeDown(carol.DID, "case 1")
		good := s.newCode(1)
		before := s.rows("accounts")
		for i, junk := range []string{
			used, disabled, made[0].Codes[0], strings.ToUpper(used), strings.ToUpper(disabled), strings.ToUpper(made[0].Codes[0]), "admin", "0", "null", "true", "*", "%", "'; drop table invite_codes; --", "localhost", "localhost-",
			good[:len(good)-1], good + "x", good + " " + used, strings.Repeat("x", 100_000), strings.Repeat("é", 600), "\x00", good + "\x00",
			"a\x00b", "\ufffd", "../" + good, carol.DID, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa " + good,
		} {
			s.do(nobody, "server.createAccount", applicant(fmt.Sprint("visitor", i), object{"inviteCode": junk})).
				refused(400, "InvalidInviteCode", "Provided invite code not available")
		}
		for i, none := range []object{{}, {"inviteCode": ""}, {"inviteCode": " \u2028 "}, {"invitecode": good}, {"code": good}} {
			s.do(nobody, "server.createAccount", applicant(fmt.Sprint("visitor", i), none)).refused(400, "InvalidInviteCode", "No invite code provided")
		}
		for _, other := range []any{1, true, object{}, []string{good}} { // other JSON types
			s.do(nobody, "server.createAccount", applicant("visitor", object{"inviteCode": other})).refused(400, "InvalidRequest")
		}
		if got := s.rows("accounts"); got != before {
			t.Errorf("there are %d accounts, want still %d", got, before)
		}
		s.do(nobody, "server.createAccount", applicant("visitor", object{"inviteCode": good})).ok()
	}, config(withMode(gatehouse.SignUpInvites)))
}

// gate is a Config.SignUp.Check that records the applicants.
type gate struct {
	mu      sync.Mutex
	seen    []accounts.Applicant
	address []string
	answer  func(context.Context, accounts.Applicant) error
}

func (g *gate) check(ctx context.Context, a accounts.Applicant) error {
	g.mu.Lock()
	g.seen, g.address = append(g.seen, a), append(g.address, ratelimit.FromContext(ctx).Address)
	answer := g.answer
	g.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, a)
}

// says sets the answer of the check and clears its record.
func (g *gate) says(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.address = nil, nil
	g.answer = func(context.Context, accounts.Applicant) error { return err }
}

// times returns how often the check ran.
func (g *gate) times() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen)
}

func (g *gate) config(c *gatehouse.Config) { c.SignUp.Check = g.check }

// sentence is an error with a message for clients.
type sentence string

func (s sentence) Error() string         { return "secret detail: " + string(s) }
func (s sentence) PublicMessage() string { return string(s) }

// TestSignUpCheckGetsTheApplicant checks that Config.SignUp.Check gets everything that the
// applicant sent, in normal form, and the client's address.
func TestSignUpCheckGetsTheApplicant(t *testing.T) {
	t.Parallel()
	plc, movers := newIssuers(t, 1)
	mover := movers[0]
	var g gate
	onEach(t, func(t *testing.T, s *api) {
		g.says(nil)
		if got := s.do(nobody, "server.describeServer", nil).ok(); got["phoneVerificationRequired"] != true || got["inviteCodeRequired"] != false {
			t.Errorf("describeServer: %v", got)
		}
		code := s.newCode(2)
		alice := s.from(hers).do(nobody, "server.createAccount", applicant("alice", object{
			"handle": "Alice.TEST", "email": "Alice@Example.com", "inviteCode": " " + strings.ToUpper(code) + "\u200B", "verificationCode": "c0de", "verificationPhone": "+1 555",
		})).text("did")
		s.from(hersAsIPv6).do(bearer(mover.token(s, "server.createAccount", "one")), "server.createAccount", applicant("mover", object{"did": mover.did})).ok()
		// A DID that a token proves but the input doesn't name isn't used.
		s.do(bearer(mover.token(s, "server.createAccount", "two")), "server.createAccount", applicant("third", object{"verificationCode": "x"})).ok()
		want := []accounts.Applicant{
			{Handle: "alice.test", Email: "alice@example.com", Ticket: code, VerificationCode: "c0de", VerificationPhone: "+1 555"},
			{Handle: "mover.test", Email: "mover@example.com", DID: syntax.DID(mover.did)},
			{Handle: "third.test", Email: "third@example.com", VerificationCode: "x"},
		}
		if !slices.Equal(g.seen, want) {
			t.Errorf("the check got %+v, want %+v", g.seen, want)
		}
		if used := s.do(admin, "admin.getAccountInfo", object{"did": alice}).ok()["invitedBy"]; used == nil || used.(object)["code"] != code {
			t.Errorf("alice was invited by %v, want the code %s", used, code)
		}
		if g.address[0] != hers || !strings.HasPrefix(g.address[1], "2001:db8:1:1:") || g.address[2] != "127.0.0.1" {
			t.Errorf("the check got the client addresses %q", g.address)
		}
	}, limited, config(g.config), config(func(c *gatehouse.Config) { c.DIDs.Directory, c.SignUp.VerificationRequired = plc, true }))
}

// TestARefusalBySignUpCheckChangesNothing checks that after a refusal by Config.SignUp.Check the
// invite code, the handle, the address and the service token can still be used, and that no DID was
// created.
func TestARefusalBySignUpCheckChangesNothing(t *testing.T) {
	t.Parallel()
	local, movers := newIssuers(t, 1)
	mover := movers[0]
	plc := asked(local)
	var g gate
	var log logbook
	onEach(t, func(t *testing.T, s *api) {
		code := s.newCode(2)
		token := mover.token(s, "server.createAccount", "one")
		fresh := func() *answer {
			return s.do(nobody, "server.createAccount", applicant("alice", object{"inviteCode": code, "verificationCode": "secret-code"}))
		}
		moving := func() *answer {
			return s.do(bearer(token), "server.createAccount", applicant("mover", object{"inviteCode": code, "did": mover.did}))
		}
		s.do(nobody, "server.reserveSigningKey", object{"did": mover.did}).ok()
		untouched := []string{"accounts", "sessions", "service_tokens", "invite_uses", "did_changes", "reserved_keys", "former_accounts"}
		state := func() []int { t.Helper(); return s.rowsOf(untouched...) }
		moving().refused(400, "InvalidRequest") // refused by the initial answer; the server caches the mover's document
		before := state()
		for _, c := range []struct {
			err           error
			status        int
			name, message string
		}{
			{sentence("Solve the captcha first"), 400, "InvalidRequest", "Solve the captcha first"},
			{fmt.Errorf("gate: %w", sentence("Not on Sundays")), 400, "InvalidRequest", "Not on Sundays"},
			{&xrpc.Error{Status: http.StatusForbidden, Name: "CaptchaFailed", Message: "That was none"}, 403, "CaptchaFailed", "That was none"},
			{accounts.ErrSignUpClosed, 400, "SignUpClosed", nobodyMay},
			{errors.New("secret detail: dial 10.0.0.7"), 500, "InternalServerError", "Internal Server Error"},
			{fmt.Errorf("captcha: %w", context.DeadlineExceeded), 503, "ServiceUnavailable", "The service is too busy"},
			{fmt.Errorf("gate: %w", storage.ErrUnavailable), 503, "ServiceUnavailable", "The service is unavailable for the moment"},
		} {
			g.says(c.err)
			lookups := plc.total()
			for _, call := range []func() *answer{fresh, moving} {
				a := call()
				a.refused(c.status, c.name, c.message)
				if strings.Contains(string(a.body), "secret") {
					t.Errorf("the answer has a detail of the error: %s", a.body)
				}
			}
			if got := state(); !slices.Equal(got, before) {
				t.Errorf("%v: the numbers of documents in %v are %v, want still %v", c.err, untouched, got, before)
			}
			if got := plc.total(); got != lookups {
				t.Errorf("%v: the directory was asked %d times, want none", c.err, got-lookups)
			}
			if g.times() != 2 || s.uses(code) != 0 {
				t.Errorf("%v: the check ran %d times and the code has %d uses, want 2 and 0", c.err, g.times(), s.uses(code))
			}
			for _, handle := range []string{"alice.test", "mover.test"} {
				if available, _ := s.offered(handle); !available {
					t.Errorf("%v: %s isn't available", c.err, handle)
				}
			}
		}
		g.says(nil)
		fresh().ok()
		moving().ok()
		if n := s.uses(code); n != 2 {
			t.Errorf("the code has %d uses in the end, want 2", n)
		}
		if strings.Contains(log.String(), "secret-code") || strings.Contains(log.String(), token) {
			t.Error("the log contains a verification code or a token")
		}
	}, config(withMode(gatehouse.SignUpInvites)), config(g.config), config(func(c *gatehouse.Config) {
		c.DIDs.Directory = plc
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		g.says(sentence("no"))
	}))
}

// TestSignUpCheckRunsLast checks that Config.SignUp.Check, which may take a payment or use up a
// captcha, isn't called for a sign-up that is refused for another reason.
func TestSignUpCheckRunsLast(t *testing.T) {
	t.Parallel()
	plc, issuers := newIssuers(t, 2)
	mover, stays := issuers[0], issuers[1]
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		var g gate
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				g.says(nil)
				code := s.newCode(100)
				used := mover.token(s, "server.createAccount", "used")
				bob := s.CreateAccount("bob.test")
				s.do(bearer(used), "server.createAccount", applicant("second", object{"inviteCode": code})).ok()
				s.do(bearer(stays.token(s, "server.createAccount", "stays")), "server.createAccount", applicant("stays", object{"inviteCode": code, "did": stays.did})).ok()
				left := s.CreateAccount("left.test")
				held := s.heldKey(left.DID)
				s.do(admin, "admin.deleteAccount", object{"did": left.DID}).ok()
				s.do(bearer(bob.AccessJWT), "identity.updateHandle", object{"handle": "bobby.test"}).ok() // with did:web, the DID is still named after bob.test
				g.says(sentence("the gate was asked"))

				move := func(token, id string) func(object) *answer {
					return func(in object) *answer {
						in["did"] = id
						return s.do(bearer(token), "server.createAccount", in)
					}
				}
				plain := func(more object) func(object) *answer {
					return func(in object) *answer {
						maps.Copy(in, more)
						return s.do(nobody, "server.createAccount", in)
					}
				}
				cases := map[string]func(object) *answer{
					"no invite code":         plain(object{"inviteCode": ""}),
					"a made-up invite code":  plain(object{"inviteCode": "made-up"}),
					"a short password":       plain(object{"password": "1234567"}),
					"no password":            plain(object{"password": nil}),
					"a PLC operation":        plain(object{"plcOp": object{}}),
					"no address":             plain(object{"email": nil}),
					"a bad address":          plain(object{"email": "nonsense"}),
					"an address in use":      plain(object{"email": bob.Email}),
					"a bad handle":           plain(object{"handle": "x.test"}),
					"a handle in use":        plain(object{"handle": "bobby.test"}),
					"a reserved handle":      plain(object{"handle": "admin.test"}),
					"a foreign handle":       plain(object{"handle": "name.example.com"}),
					"the server's own name":  plain(object{"handle": "localhost"}),
					"a bad recovery key":     plain(object{"recoveryKey": "did:key:nonsense"}),
					"a DID without a proof":  plain(object{"did": mover.did}),
					"what a hook refuses":    plain(object{"handle": "unloved.test"}),
					"a proof of another DID": move(mover.token(s, "server.createAccount", "1"), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
					"a token that was used":  move(used, mover.did),
					"a DID that is here":     move(stays.token(s, "server.createAccount", "2"), stays.did),
					"a key that was held":    move(s.serviceToken(held, left.DID, "server.createAccount"), left.DID),
				}
				if method == gatehouse.DIDWeb {
					cases["a handle whose DID is taken"] = plain(object{"handle": "bob.test"})
					delete(cases, "a key that was held") // needs a did:plc in the directory
				}
				for name, call := range cases {
					a := call(applicant("visitor", object{"inviteCode": code}))
					if a.status != 400 && a.status != 401 || g.times() != 0 {
						t.Errorf("%s: %d %s, and the check ran %d times, want none", name, a.status, a.body, g.times())
					}
					g.says(sentence("the gate was asked"))
				}
				s.do(nobody, "server.createAccount", applicant("visitor", object{"inviteCode": code})).refused(400, "InvalidRequest", "the gate was asked")
			}, config(withMode(gatehouse.SignUpInvites)), config(g.config), config(func(c *gatehouse.Config) {
				c.DIDs.Directory, c.DIDs.Method, c.Passwords.MinLength = plc, method, 8
				c.Hooks = []accounts.Hook{func(_ context.Context, _ storage.Tx, ch accounts.Change) error {
					if ch.Kind == accounts.Creating && ch.Account.Handle == "unloved.test" {
						return sentence("Not you")
					}
					return nil
				}}
			}))
		})
	}
}

// TestSignUpCheckIsSkippedBeyondTheLimits checks that Config.SignUp.Check isn't called if the
// client's address has used up its budget of password hashes, or its budget of answers that reveal
// whether an e-mail address is free, as a refusal by the check does.
func TestSignUpCheckIsSkippedBeyondTheLimits(t *testing.T) {
	t.Parallel()
	var g gate
	s := newAPI(t, limited, config(g.config))
	for i := range 100 {
		s.from(theThiefs).login(fmt.Sprintf("unknown%d.test", i), "wrong").refused(401, "AuthenticationRequired")
	}
	g.says(sentence("no"))
	s.from(theThiefs).do(nobody, "server.createAccount", applicant("visitor")).limitedNow()
	for range 24 {
		s.from(somebodys).do(nobody, "server.createAccount", applicant("visitor")).refused(400, "InvalidRequest", "no")
	}
	s.from(somebodys).do(nobody, "server.createAccount", applicant("visitor")).limitedNow()
	if n := g.times(); n != 24 {
		t.Errorf("the check ran %d times, want 24", n)
	}
	g.says(nil)
	s.from(hers).do(nobody, "server.createAccount", applicant("visitor")).ok()
	s.Clock.Advance(time.Hour)
	s.from(somebodys).do(nobody, "server.createAccount", applicant("another")).ok()
}

// TestConcurrentSignUpChecks checks that of several applicants whom Config.SignUp.Check admits at
// the same time only one gets the handle, address, code or DID that they compete for, and that the
// check may use the store, since no transaction is open.
func TestConcurrentSignUpChecks(t *testing.T) {
	t.Parallel()
	plc, movers := newIssuers(t, 1)
	mover := movers[0]
	const n = 8
	var g gate
	onEach(t, func(t *testing.T, s *api) {
		once := s.newCode(1)
		for name, c := range map[string]struct {
			input func(i int) object
			token bool
			loser string
		}{
			"one handle":        {func(i int) object { return applicant(fmt.Sprint("racer", i), object{"handle": "one.test"}) }, false, "HandleNotAvailable"},
			"one address":       {func(i int) object { return applicant(fmt.Sprint("sender", i), object{"email": "one-a@example.com"}) }, false, "InvalidRequest"},
			"one invite code":   {func(i int) object { return applicant(fmt.Sprint("guest", i), object{"inviteCode": once}) }, false, "InvalidInviteCode"},
			"one service token": {func(i int) object { return applicant(fmt.Sprint("mover", i), object{"did": mover.did}) }, true, "JwtReplayed"},
		} {
			var here sync.WaitGroup
			here.Add(n)
			g.mu.Lock()
			g.seen = nil
			g.answer = func(ctx context.Context, a accounts.Applicant) error {
				here.Done()
				here.Wait() // until all applicants have reached the check
				_, err := s.Gatehouse.Invites.Create(ctx, 1, 1)
				return err
			}
			g.mu.Unlock()
			authorization := nobody
			if c.token {
				authorization = bearer(mover.token(s, "server.createAccount", "one"))
			}
			before, answers := s.rows("accounts"), make([]*answer, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { answers[i] = s.do(authorization, "server.createAccount", c.input(i)) })
			}
			wg.Wait()
			if counts := tally(answers); counts[""] != 1 || counts[c.loser] != n-1 {
				t.Errorf("%s: %v, want one success and otherwise %s", name, counts, c.loser)
			}
			if got := s.rows("accounts") - before; got != 1 || g.times() != n {
				t.Errorf("%s: %d accounts were created and the check ran %d times, want 1 and %d", name, got, g.times(), n)
			}
		}
		if used := s.uses(once); used != 1 {
			t.Errorf("the code has %d uses, want 1", used)
		}
	}, config(g.config), config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
}

// TestAdmitBypassesModeAndCheck checks that CreateParams.Admit creates an account in every mode,
// without an invite code and without Config.SignUp.Check, and that invalid parameters are still
// refused.
func TestAdmitBypassesModeAndCheck(t *testing.T) {
	t.Parallel()
	plc, movers := newIssuers(t, 1)
	for _, mode := range gatehouse.SignUpModes() {
		var g gate
		t.Run(string(mode), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				g.says(errors.New("the gate was asked"))
				code := s.newCode(1)
				create := func(p accounts.CreateParams) error {
					p.Email, p.Password, p.Admit = strings.ReplaceAll(p.Handle, ".test", "@example.com"), "password", true
					_, err := s.Gatehouse.SignIn.SignUp(t.Context(), p)
					return err
				}
				mover := syntax.DID(movers[0].did)
				for _, p := range []accounts.CreateParams{
					{Handle: "alice.test"}, {Handle: "bob.test", Ticket: code}, {Handle: "mover.test", DID: mover, ProvenDID: mover},
				} {
					if err := create(p); err != nil {
						t.Errorf("%+v: %v", p, err)
					}
					s.login(p.Handle, "password").ok()
				}
				for name, p := range map[string]accounts.CreateParams{
					"a handle in use":       {Handle: "alice.test"},
					"a made-up code":        {Handle: "carol.test", Ticket: "made-up"},
					"a code that was used":  {Handle: "carol.test", Ticket: code},
					"a reserved handle":     {Handle: "admin.test"},
					"a DID without a proof": {Handle: "carol.test", DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"},
				} {
					if err := create(p); err == nil {
						t.Errorf("%s: the sign-up succeeded, want an error", name)
					}
				}
				if g.times() != 0 || s.uses(code) != 1 {
					t.Errorf("the check ran %d times and the code has %d uses, want 0 and 1", g.times(), s.uses(code))
				}
			}, config(withMode(mode)), config(g.config), config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
		})
	}
}

// TestOpenSignUpIsLogged checks that a public server on which everybody can sign up logs a warning
// at start that names the settings to change.
func TestOpenSignUpIsLogged(t *testing.T) {
	t.Parallel()
	anybody := func(context.Context, accounts.Applicant) error { return nil }
	for name, c := range map[string]struct {
		change func(*gatehouse.Config)
		warned bool
	}{
		"by default":                       {func(*gatehouse.Config) {}, true},
		"by name":                          {withMode(gatehouse.SignUpOpen), true},
		"verification that no check reads": {func(c *gatehouse.Config) { c.SignUp.VerificationRequired = true }, true},
		"a local name, a public URL": {func(c *gatehouse.Config) {
			c.Hostname, c.PublicURL = "localhost", "https://tunnel.example.com"
		}, true},
		"a local name, a directory in place of passwords": {func(c *gatehouse.Config) {
			c.Hostname, c.SignIn = "localhost", gatehouse.SignIn{Ways: []signin.Way{staff{}}, NoAccountPasswords: true}
		}, true},
		"by invitation":       {withMode(gatehouse.SignUpInvites), false},
		"migrations only":     {withMode(gatehouse.SignUpMigrations), false},
		"closed":              {withMode(gatehouse.SignUpClosed), false},
		"with a gate":         {func(c *gatehouse.Config) { c.SignUp.Check = anybody }, false},
		"localhost":           {func(c *gatehouse.Config) { c.Hostname = "localhost" }, false},
		"localhost, a port":   {func(c *gatehouse.Config) { c.Hostname = "LocalHost:2583" }, false},
		"a test's name":       {func(c *gatehouse.Config) { c.Hostname = "pds.test" }, false},
		"an example's name":   {func(c *gatehouse.Config) { c.Hostname = "pds.example" }, false},
		"loopback":            {func(c *gatehouse.Config) { c.Hostname = "127.0.0.1" }, false},
		"loopback's URL":      {func(c *gatehouse.Config) { c.Hostname, c.PublicURL = "localhost", "http://127.0.0.1:2583" }, false},
		"loopback's IPv6 URL": {func(c *gatehouse.Config) { c.Hostname, c.PublicURL = "localhost", "http://[::1]:2583" }, false},
	} {
		var log logbook
		store := memory.New()
		cfg := gatehouse.Config{
			Hostname: "pds.example.com", HandleDomains: []string{".example.com"}, DIDs: gatehouse.DIDs{Directory: newDirectory(t)}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
			Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		}
		c.change(&cfg)
		srv, err := gatehouse.New(t.Context(), store, cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines := slices.DeleteFunc(log.warnings(), func(line string) bool { return !strings.Contains(line, "sign up") })
		if c.warned != (len(lines) == 1) || c.warned && !contains(lines[0], "Config.SignUp.Mode", "-sign-up", "Config.SignUp.Check") {
			t.Errorf("%s: the warnings are %q, want one: %v", name, lines, c.warned)
		}
		if err := errors.Join(srv.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}
}
