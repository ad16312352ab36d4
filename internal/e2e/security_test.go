package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// Helpers that the security tests share: takeover, parked, access_table, guesses, flood, leaks and
// notices.

// fromHere contains the address from which the tests connect.
var fromHere = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// limited configures a server with rate limits that takes the client's address from
// X-Forwarded-For.
var limited = config(func(c *gatehouse.Config) {
	c.Limits = gatehouse.Limits{TrustedProxies: fromHere}
})

// visitor calls a server as a client at an address.
type visitor struct {
	*api
	address string
}

func (s *api) from(address string) visitor { return visitor{s, address} }

func (v visitor) do(who, method string, input object) *answer {
	v.t.Helper()
	nsid, req := v.request(who, method, input)
	req.Header.Set("X-Forwarded-For", v.address)
	return v.send(nsid, req)
}

func (v visitor) login(identifier, password string) *answer {
	v.t.Helper()
	return v.do(nobody, "server.createSession", object{"identifier": identifier, "password": password})
}

// limitedNow checks that an answer is the refusal of a rate limit, with all its headers.
func (a *answer) limitedNow() {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, "RateLimitExceeded")
	for _, name := range []string{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy", "Retry-After"} {
		if a.header.Get(name) == "" {
			a.t.Errorf("%s: a 429 without %s", a.method, name)
		}
	}
}

// patience is how long tests wait for something that usually takes milliseconds. The machine may be
// busy with something else.
const patience = time.Minute

// eventually waits until a condition holds that depends on background work. Once it has waited in
// vain it doesn't wait again in the same test, so that a failed test ends soon.
func (s *api) eventually(what string, is func() bool) bool {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if s.waited || time.Now().After(deadline) {
			s.waited = true
			s.t.Errorf("not after %v: %s", patience, what)
			return false
		}
	}
	return true
}

// scene is a test that shares a server with other scenes. It uses only accounts that it created.
type scene struct {
	name string
	play func(t *testing.T, s *api)
}

// onEachStage runs scenes one after the other on one server for each backend, which is cheaper than
// a server for each scene.
func onEachStage(t *testing.T, scenes []scene, opts ...gatehousetest.Option) {
	t.Helper()
	onEach(t, func(t *testing.T, s *api) {
		for _, scene := range scenes {
			t.Run(scene.name, func(t *testing.T) {
				stage := *s
				stage.t = t
				scene.play(t, &stage)
			})
		}
	}, opts...)
}

// names is the number of handles that newHandle has returned to all tests, which may run in
// parallel.
var names atomic.Int64

// someone signs up with a new handle.
func (s *api) someone() *gatehousetest.Account {
	s.t.Helper()
	return s.signUp(newHandle())
}

// newHandle returns a handle that no test has used.
func newHandle() string { return fmt.Sprintf("name%d.test", names.Add(1)) }

// mails returns the e-mails to an address whose subjects contain all the given words, the oldest
// first.
func (s *api) mails(to string, words ...string) []mail.Message {
	var found []mail.Message
	for _, m := range s.Mail.Messages() {
		if strings.EqualFold(m.To, to) && contains(strings.ToLower(m.Subject), words...) {
			found = append(found, m)
		}
	}
	return found
}

// Words in the subjects of e-mails with a code, by which the tests find them.
const (
	resetMail   = "reset your"
	deleteMail  = "delete your"
	confirmMail = "confirm your"
	updateMail  = "change your e-mail"
	plcMail     = "change the identity"
	signInMail  = "sign-in code"
)

// codes waits until n e-mails of a kind have arrived and returns their codes.
func (s *api) codes(n int, to, kind string) []string {
	s.t.Helper()
	var codes []string
	if !s.eventually(fmt.Sprintf("%d e-mails to %s, %q", n, to, kind), func() bool {
		codes = s.coded(to, kind)
		return len(codes) >= n
	}) {
		s.t.FailNow()
	}
	return codes
}

// coded returns the codes of a kind that have been mailed to an address so far.
func (s *api) coded(to, kind string) (codes []string) {
	for _, m := range s.mails(to, kind) {
		if m.Code != "" {
			codes = append(codes, m.Code)
		}
	}
	return codes
}

// code waits for the first e-mail of a kind and returns its code.
func (s *api) code(to, kind string) string {
	s.t.Helper()
	return s.codes(1, to, kind)[0]
}

// told waits for a notice, which is an e-mail without a code, and returns it.
func (s *api) told(to string, words ...string) mail.Message {
	s.t.Helper()
	var notice mail.Message
	s.eventually(fmt.Sprintf("a notice to %s, %q", to, words), func() bool {
		for _, m := range s.mails(to, words...) {
			if m.Code == "" {
				notice = m
				return true
			}
		}
		return false
	})
	return notice
}

// confirm confirms the e-mail address of an account.
func (s *api) confirm(a *gatehousetest.Account) {
	s.t.Helper()
	before := len(s.mails(a.Email, confirmMail))
	s.do(bearer(a.AccessJWT), "server.requestEmailConfirmation", nil).ok()
	code := s.codes(before+1, a.Email, confirmMail)[before]
	s.do(bearer(a.AccessJWT), "server.confirmEmail", object{"email": a.Email, "token": code}).ok()
}

// again logs in once more and replaces the account's tokens.
func (s *api) again(a *gatehousetest.Account) {
	s.t.Helper()
	out := s.login(a.DID, a.Password)
	a.AccessJWT, a.RefreshJWT = out.text("accessJwt"), out.text("refreshJwt")
}

// appLogin creates an app password and opens a session with it.
func (s *api) appLogin(a *gatehousetest.Account, name string, privileged bool) (password string, session object) {
	s.t.Helper()
	password = s.do(bearer(a.AccessJWT), "server.createAppPassword", object{"name": name, "privileged": privileged}).text("password")
	return password, s.login(a.DID, password).ok()
}

func repoRef(id string) object {
	return object{"$type": "com.atproto.admin.defs#repoRef", "did": id}
}

func (s *api) takeDown(id, ref string) {
	s.t.Helper()
	s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(id), "takedown": object{"applied": true, "ref": ref}}).ok()
}

func (s *api) lift(id string) {
	s.t.Helper()
	s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(id), "takedown": object{"applied": false}}).ok()
}

// leave logs in to an account that is taken down, as its owner does to move elsewhere.
func (s *api) leave(a *gatehousetest.Account) *answer {
	s.t.Helper()
	return s.do(nobody, "server.createSession", object{"identifier": a.DID, "password": a.Password, "allowTakendown": true})
}

func (s *api) exists(id string) bool {
	s.t.Helper()
	return s.do(admin, "admin.getAccountInfo", object{"did": id}).status == http.StatusOK
}

func (s *api) maintain() {
	s.t.Helper()
	if err := s.Gatehouse.Maintain(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// plcInput returns an input of signPlcOperation that changes the DID.
func plcInput(a *gatehousetest.Account, code string) object {
	return object{"token": code, "alsoKnownAs": []string{"at://" + a.Handle, "https://" + a.Handle}}
}

// outsider is a DID whose keys no server has.
type outsider struct {
	id         syntax.DID
	key, label *atcrypto.PrivateKeyK256
}

// outsider publishes a DID of somebody who holds its keys, with one for the account and one for a
// labeler.
func (s *api) outsider() *outsider {
	s.t.Helper()
	return outsiderIn(s.t, s.Gatehouse.Directory)
}

// outsiderIn is like outsider, with the directory to publish the DID in.
func outsiderIn(t testing.TB, directory did.Directory) *outsider {
	t.Helper()
	o := &outsider{key: privateKey(t), label: privateKey(t)}
	op := &did.Operation{
		Type:                did.TypeOperation,
		RotationKeys:        []string{didKey(t, o.key)},
		VerificationMethods: map[string]string{did.AtprotoKey: didKey(t, o.key), "atproto_label": didKey(t, o.label)},
		AlsoKnownAs:         []string{"at://outsider.example.com"},
		Services:            map[string]did.Service{did.AtprotoPDS: {Type: did.AtprotoPDSType, Endpoint: "https://elsewhere.example.com"}},
	}
	err := op.Sign(o.key)
	if err == nil {
		o.id, err = op.DID()
	}
	if err == nil {
		err = directory.Submit(t.Context(), o.id, op)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// withRotationKey configures a rotation key that tests know, so that they can change DIDs without
// the server.
var withRotationKey = config(func(c *gatehouse.Config) { c.DIDs.RotationKey = serversRotationKey })

// setDID changes a DID without the server, and advances the clock so that the server's cached
// document has expired.
func (s *api) setDID(t *testing.T, id string, change func(*did.Operation)) {
	t.Helper()
	plc := &did.Registrar{Directory: s.Gatehouse.Directory, Signer: serversRotationKey}
	if err := plc.Change(t.Context(), syntax.DID(id), change); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(6 * time.Minute)
}

// takeKey replaces the signing key of a DID without the server, as its owner may, and returns it.
func (s *api) takeKey(t *testing.T, id string) *atcrypto.PrivateKeyK256 {
	t.Helper()
	key := privateKey(t)
	s.setDID(t, id, func(op *did.Operation) { op.VerificationMethods[did.AtprotoKey] = didKey(t, key) })
	return key
}

// newcomer is the answer to a sign-up with an existing DID, and the account.
type newcomer struct {
	*answer
	account *gatehousetest.Account
}

// come signs up with an existing DID, with a service token as the proof.
func (s *api) come(proof, id string) newcomer {
	s.t.Helper()
	handle := newHandle()
	label, _, _ := strings.Cut(handle, ".")
	a := &gatehousetest.Account{DID: id, Handle: handle, Email: label + "@example.com", Password: "password-" + label}
	out := s.do(bearer(proof), "server.createAccount", object{"did": id, "handle": a.Handle, "email": a.Email, "password": a.Password})
	if out.status == http.StatusOK {
		a.AccessJWT, a.RefreshJWT = out.text("accessJwt"), out.text("refreshJwt")
	}
	return newcomer{out, a}
}

// cameBack returns an account that was deleted and whose owner then signed up again with the DID,
// proven with a key that the server doesn't have. It isn't activated yet.
func (s *api) cameBack(t *testing.T) *gatehousetest.Account {
	t.Helper()
	gone := s.someone()
	s.do(admin, "admin.deleteAccount", object{"did": gone.DID}).ok()
	outside := s.takeKey(t, gone.DID)
	came := s.come(s.serviceToken(outside, gone.DID, "server.createAccount"), gone.DID)
	came.ok()
	return came.account
}

// nameOurKey sets the signing key of an account's DID to the one that the server has for it.
func (s *api) nameOurKey(t *testing.T, a *gatehousetest.Account) {
	t.Helper()
	recommended := s.do(bearer(a.AccessJWT), "identity.getRecommendedDidCredentials", nil).ok()
	key := recommended["verificationMethods"].(object)["atproto"].(string)
	s.setDID(t, a.DID, func(op *did.Operation) { op.VerificationMethods[did.AtprotoKey] = key })
}

func privateKey(t testing.TB) *atcrypto.PrivateKeyK256 {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func didKey(t testing.TB, key *atcrypto.PrivateKeyK256) string {
	t.Helper()
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public.DIDKey()
}

// signing is a private key, which may be one that the server holds.
type signing interface{ HashAndSign([]byte) ([]byte, error) }

// heldKey returns the signing key that the server holds for an account.
func (s *api) heldKey(id string) signing {
	s.t.Helper()
	signer, err := s.Gatehouse.Accounts.Identity().Signer(s.t.Context(), syntax.DID(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return signer
}

// serviceToken returns a new service token for a method of the server. The changes replace claims.
func (s *api) serviceToken(key signing, iss, method string, changes ...object) string {
	s.t.Helper()
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	id := fmt.Sprint("token-", serviceTokens.Add(1))
	now := s.Clock.Now().Unix()
	claims := object{
		"iss": iss, "aud": s.Gatehouse.ServiceDID(), "lxm": "com.atproto." + method, "iat": now, "exp": now + 3600, "jti": id,
	}
	for _, change := range changes {
		maps.Copy(claims, change)
	}
	text := encode(object{"typ": "JWT", "alg": "ES256K"}) + "." + encode(claims)
	signature, err := key.HashAndSign([]byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// serviceTokens is the number of service tokens of all tests, which may run in parallel.
var serviceTokens atomic.Int64

// logbook is a log that can be read while the server writes to it.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) warnings() []string { return l.lines("WARN") }

// lines returns the lines of a level.
func (l *logbook) lines(level string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, `"level":"`+level+`"`) {
			found = append(found, line)
		}
	}
	return found
}

// logged configures a server to write its log to a logbook.
func logged(l *logbook) gatehousetest.Option {
	return config(func(c *gatehouse.Config) { c.Logger = slog.New(slog.NewJSONHandler(l, nil)) })
}
