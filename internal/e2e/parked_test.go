package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// Tests of parked requests: the client sends the headers and holds the body back until the session,
// or whatever else authorized the request, has ended.

// lot reports when the server begins to read the body of a parked request.
type lot struct{ reading chan struct{} }

func newLot() *lot { return &lot{make(chan struct{}, 1)} }

// parkedHeader marks parked requests.
const parkedHeader = "X-Parked"

func (l *lot) around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(parkedHeader) != "" {
			r.Body = &watchedBody{ReadCloser: r.Body, begins: sync.OnceFunc(func() { l.reading <- struct{}{} })}
		}
		h.ServeHTTP(w, r)
	})
}

type watchedBody struct {
	io.ReadCloser
	begins func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.begins()
	return b.ReadCloser.Read(p)
}

// The variants of framing a body that is held back.
const (
	byLength   = "Content-Length"
	byChunks   = "chunked"
	byExpect   = "Expect: 100-continue"
	emptyChunk = "0\r\n\r\n"
)

// parkedRequest is a request whose headers the server has received and whose body it is reading.
type parkedRequest struct {
	s      *api
	method string
	conn   net.Conn
	rest   string // the part that is held back
}

// park sends the headers of a call and waits until the server reads the body. For a method without
// input the body is chunked and empty, and its end is held back.
func (s *api) park(l *lot, variant, who, method string, input object, prove ...func(*http.Request)) *parkedRequest {
	s.t.Helper()
	nsid, req := s.request(who, method, input)
	for _, add := range prove {
		add(req)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience)) // in case the server hangs
	var body []byte
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			s.t.Fatal(err)
		}
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nConnection: close\r\n%s: yes\r\n",
		req.Method, req.URL.RequestURI(), who, parkedHeader)
	if proof := req.Header.Get("DPoP"); proof != "" {
		head += "DPoP: " + proof + "\r\n"
	}
	rest := emptyChunk
	switch {
	case len(body) > 0 && variant == byLength:
		head += "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
		rest = string(body)
	case len(body) > 0:
		head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
		rest = fmt.Sprintf("%x\r\n%s\r\n%s", len(body), body, emptyChunk)
	default:
		head += "Transfer-Encoding: chunked\r\n"
	}
	if variant == byExpect {
		head += "Expect: 100-continue\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-l.reading:
	case <-time.After(patience):
		s.t.Fatalf("%s: the server did not read the body within %v", nsid, patience)
	}
	return &parkedRequest{s, nsid, conn, rest}
}

// release sends the rest of the request and returns the answer.
func (p *parkedRequest) release() *answer {
	p.s.t.Helper()
	// Writing fails if the server has already answered and stopped reading, which is allowed.
	_, _ = io.WriteString(p.conn, p.rest)
	r := bufio.NewReader(p.conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			p.s.t.Fatalf("%s: %v", p.method, err)
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		a := &answer{t: p.s.t, method: p.method, status: resp.StatusCode, header: resp.Header}
		if a.body, err = io.ReadAll(resp.Body); err != nil {
			p.s.t.Fatalf("%s: %v", p.method, err)
		}
		if len(a.body) > 0 {
			if err := json.Unmarshal(a.body, &a.object); err != nil {
				p.s.t.Errorf("%s: %v: %s", p.method, err, a.body)
			}
		}
		p.conn.Close()
		return a
	}
}

// parked lists the methods that take an access or refresh token, each with a function that returns
// a valid input. It lacks deleteSession, which has nothing left to do when the session has ended.
var parked = map[string]func(s *api, a *gatehousetest.Account) object{
	"server.getSession":                     nil,
	"server.refreshSession":                 nil,
	"server.listAppPasswords":               nil,
	"server.getAccountInviteCodes":          nil,
	"server.requestAccountDelete":           nil,
	"server.requestEmailConfirmation":       nil,
	"server.requestEmailUpdate":             nil,
	"server.activateAccount":                nil,
	"server.checkAccountStatus":             nil,
	"identity.getRecommendedDidCredentials": nil,
	"identity.requestPlcOperationSignature": nil,
	"temp.checkSignupQueue":                 nil,
	"server.getServiceAuth": func(*api, *gatehousetest.Account) object {
		return object{"aud": "did:web:elsewhere.example.com"}
	},
	"server.createAppPassword": func(*api, *gatehousetest.Account) object { return object{"name": "made by a parked request"} },
	"server.revokeAppPassword": func(*api, *gatehousetest.Account) object { return object{"name": "kept"} },
	"server.confirmEmail": func(s *api, a *gatehousetest.Account) object {
		s.do(bearer(a.AccessJWT), "server.requestEmailConfirmation", nil).ok()
		return object{"email": a.Email, "token": s.code(a.Email, confirmMail)}
	},
	"server.updateEmail":       func(_ *api, a *gatehousetest.Account) object { return object{"email": "thief-" + a.Email} },
	"server.deactivateAccount": func(*api, *gatehousetest.Account) object { return object{} },
	"identity.updateHandle":    func(*api, *gatehousetest.Account) object { return object{"handle": newHandle()} },
	"identity.signPlcOperation": func(s *api, a *gatehousetest.Account) object {
		s.do(bearer(a.AccessJWT), "identity.requestPlcOperationSignature", nil).ok()
		return plcInput(a, s.code(a.Email, plcMail))
	},
	"identity.submitPlcOperation": func(s *api, a *gatehousetest.Account) object {
		s.do(bearer(a.AccessJWT), "identity.requestPlcOperationSignature", nil).ok()
		return s.do(bearer(a.AccessJWT), "identity.signPlcOperation", plcInput(a, s.code(a.Email, plcMail))).ok()
	},
}

// ending is a way to end what authorizes a request, and the error that later requests get.
type ending struct {
	name    string
	end     func(s *api, a *gatehousetest.Account)
	status  int
	error   string
	message string
}

var endings = []ending{
	{"a log-out", func(s *api, a *gatehousetest.Account) {
		s.do(bearer(a.RefreshJWT), "server.deleteSession", nil).ok()
	}, 400, "ExpiredToken", "Token has been revoked"},
	{"a password reset", func(s *api, a *gatehousetest.Account) {
		s.do(nobody, "server.requestPasswordReset", object{"email": a.Email}).ok()
		s.do(nobody, "server.resetPassword", object{"token": s.code(a.Email, resetMail), "password": "another password"}).ok()
	}, 400, "ExpiredToken", "Token has been revoked"},
	{"the revocation of credentials", func(s *api, a *gatehousetest.Account) {
		s.do(admin, "temp.revokeAccountCredentials", object{"account": a.DID}).ok()
	}, 400, "ExpiredToken", "Token has been revoked"},
	{"a takedown", func(s *api, a *gatehousetest.Account) { s.takeDown(a.DID, "case 1") }, 401, "AccountTakedown", "Account has been taken down"},
	{"the account's deletion", func(s *api, a *gatehousetest.Account) {
		s.do(admin, "admin.deleteAccount", object{"did": a.DID}).ok()
	}, 403, "AccountNotFound", "Account not found"},
}

// revocation is an ending for sessions of the app password "kept".
var revocation = ending{"the app password's revocation", func(s *api, a *gatehousetest.Account) {
	s.do(bearer(a.AccessJWT), "server.revokeAppPassword", object{"name": "kept"}).ok()
}, 400, "ExpiredToken", "Token has been revoked"}

// lifting is an ending for the tokens of an account that is taken down: lifting the takedown.
var lifting = ending{"the takedown's end", func(s *api, a *gatehousetest.Account) { s.lift(a.DID) }, 400, "ExpiredToken", "Token has been revoked"}

// refuses checks that an answer is the error for requests after the ending.
func (e ending) refuses(a *answer) {
	a.t.Helper()
	a.refused(e.status, e.error, e.message)
}

// stateOf returns everything that a request can change about an account, as text.
func (s *api) stateOf(a *gatehousetest.Account) string {
	s.t.Helper()
	id := syntax.DID(a.DID)
	info := s.do(admin, "admin.getAccountInfo", object{"did": a.DID})
	var apps, sessions, codes []string
	passwords, err := s.Gatehouse.AppPasswords.List(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range passwords {
		apps = append(apps, p.Name)
	}
	open, err := s.Gatehouse.Sessions.List(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range open {
		sessions = append(sessions, o.ID+" "+o.LastUsedAt.String())
	}
	log, err := s.Gatehouse.Directory.Log(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range s.Mail.Messages() {
		if strings.HasSuffix(m.To, a.Email) && m.Code != "" { // a changed address has the old one as its suffix
			codes = append(codes, m.To+" "+m.Code)
		}
	}
	return fmt.Sprintf("%s\napp passwords %q\nsessions %q\n%d operations\ncodes %q", info.body, apps, sessions, len(log), codes)
}

// parkedCase is a combination of a method, a variant of holding its body back, and an ending.
type parkedCase struct {
	method, variant string
	ending          ending
	token           string // its kind: full, app or leaving
}

func (c parkedCase) String() string {
	return fmt.Sprintf("%s (%s, by a %s token) and %s", c.method, c.variant, c.token, c.ending.name)
}

// run parks a request, ends what authorizes it, releases it, and checks that it was refused and
// changed nothing.
func (c parkedCase) run(t *testing.T, s *api, l *lot) {
	t.Helper()
	alice := s.someone()
	app := object{}
	if c.token == "app" || c.method == "server.revokeAppPassword" {
		_, app = s.appLogin(alice, "kept", false)
	}
	var input object
	if prepare := parked[c.method]; prepare != nil {
		input = prepare(s, alice)
	}
	token := alice.AccessJWT
	switch {
	case c.method == "server.refreshSession":
		token = alice.RefreshJWT
	case c.token == "app":
		token = app["accessJwt"].(string)
	case c.token == "leaving":
		s.takeDown(alice.DID, "case 1")
		token = s.leave(alice).text("accessJwt")
	}
	request := s.park(l, c.variant, bearer(token), c.method, input)
	if c.ending.end == nil { // a control: without an ending the same request succeeds
		request.release().ok()
		return
	}
	c.ending.end(s, alice)
	before := s.stateOf(alice)
	got := request.release()
	if got.status != c.ending.status || got.object["error"] != c.ending.error || got.object["message"] != c.ending.message {
		t.Errorf("%v: answered %d %.120s; want %d %s %q", c, got.status, got.body, c.ending.status, c.ending.error, c.ending.message)
	}
	if after := s.stateOf(alice); after != before {
		t.Errorf("%v: the account changed from\n%s\nto\n%s", c, before, after)
	}
}

// parkedCases returns each method with each ending that applies to its tokens. The variants take
// turns.
func parkedCases(t *testing.T) []parkedCase {
	t.Helper()
	rows := documentedMethods(t)
	var cases []parkedCase
	turn := 0
	add := func(method, token string, all ...ending) {
		for _, e := range all {
			variant := []string{byLength, byChunks, byExpect}[turn%3]
			turn++
			cases = append(cases, parkedCase{method, variant, e, token})
		}
	}
	for _, method := range slices.Sorted(maps.Keys(parked)) {
		who := rows["com.atproto."+method].who
		add(method, "full", append([]ending{{name: "nothing"}}, endings...)...)
		if strings.HasPrefix(who, "access") {
			add(method, "app", revocation)
		}
		if strings.Contains(who, "leaving") && method != "server.getServiceAuth" {
			add(method, "leaving", lifting, endings[1], endings[4])
		}
	}
	for nsid, r := range rows {
		method := strings.TrimPrefix(nsid, "com.atproto.")
		for _, session := range []string{"access", "full", "leaving", "refresh"} {
			if _, ok := parked[method]; !ok && strings.HasPrefix(r.who, session) && method != "server.deleteSession" {
				t.Errorf("%s takes a session's token but is missing from the parked methods", nsid)
			}
		}
	}
	return cases
}

// TestDelayedBodiesDoNotOutliveTheirAuthorization checks that a request whose body arrives after a
// log-out, a reset, a takedown, a deletion or a revocation gets the same answer as one sent
// entirely after it, and changes nothing. The memory backend runs all cases; the others, which are
// slower, run every fourth.
func TestDelayedBodiesDoNotOutliveTheirAuthorization(t *testing.T) {
	t.Parallel()
	cases := parkedCases(t)
	l := newLot()
	onEach(t, func(t *testing.T, s *api) {
		each := 1
		if !strings.HasSuffix(t.Name(), "/memory") {
			each = 4
		}
		for i := 0; i < len(cases); i += each {
			cases[i].run(t, s, l)
		}
	}, withHandler(l.around))
}

// TestDelayedBodiesOfApplications is TestDelayedBodiesDoNotOutliveTheirAuthorization for the
// methods that applications may call.
func TestDelayedBodiesOfApplications(t *testing.T) {
	t.Parallel()
	l := newLot()
	s := newAPI(t, withHandler(l.around))
	revoked := func(name string, end func(o *oauthSession, a *gatehousetest.Account)) oauthEnding {
		return oauthEnding{name, end, "invalid_token", "Token has been revoked"}
	}
	all := []oauthEnding{
		{name: "nothing"},
		revoked("its revocation", func(o *oauthSession, _ *gatehousetest.Account) {
			o.app.post("/oauth/revoke", url.Values{"token": {o.refresh}}).ok()
		}),
		revoked("a refresh", func(o *oauthSession, _ *gatehousetest.Account) { o.app.refresh(o.refresh).ok() }),
		revoked("the end of the application", func(o *oauthSession, a *gatehousetest.Account) {
			if err := s.Gatehouse.OAuth.EndApplication(t.Context(), syntax.DID(a.DID), o.app.id); err != nil {
				t.Error(err)
			}
		}),
	}
	for _, e := range endings[1:] { // all but a log-out
		then := revoked(e.name, func(_ *oauthSession, a *gatehousetest.Account) { e.end(s, a) })
		if e.error == "AccountTakedown" {
			then.error, then.message = e.error, e.message
		}
		all = append(all, then)
	}
	turn := 0
	for _, method := range slices.Sorted(maps.Keys(parked)) {
		if strings.HasPrefix(oauthTable[method], "403 ") || method == "server.refreshSession" {
			continue
		}
		for _, e := range all {
			alice := s.someone()
			o := s.grant(alice, everyScope)
			o.app.session(o.access).ok()
			var input object
			if prepare := parked[method]; prepare != nil {
				input = prepare(s, alice)
			}
			if method == "server.getServiceAuth" {
				input["aud"] = "did:web:x.test%23y"
			}
			request := s.park(l, []string{byLength, byChunks, byExpect}[turn%3], o.scheme+" "+o.access, method, input, o.prove)
			if turn++; e.end == nil {
				request.release().ok()
				continue
			}
			e.end(o, alice)
			before := s.stateOf(alice)
			got := request.release()
			if got.status != http.StatusUnauthorized || got.object["error"] != e.error || got.object["message"] != e.message {
				t.Errorf("%s and %s: %d %s, want 401 %s %q", method, e.name, got.status, got.body, e.error, e.message)
			}
			if after := s.stateOf(alice); after != before {
				t.Errorf("%s and %s: the account changed from\n%s\nto\n%s", method, e.name, before, after)
			}
		}
	}
}

// oauthEnding is a way to end what an application has been granted, and the error that it gets
// then.
type oauthEnding struct {
	name           string
	end            func(o *oauthSession, a *gatehousetest.Account)
	error, message string
}

// TestEveryWayToDelayABody holds the body of each method back in each variant.
func TestEveryWayToDelayABody(t *testing.T) {
	t.Parallel()
	l := newLot()
	s := newAPI(t, withHandler(l.around))
	for _, method := range slices.Sorted(maps.Keys(parked)) {
		for _, variant := range []string{byLength, byChunks, byExpect} {
			parkedCase{method, variant, endings[0], "full"}.run(t, s, l)
		}
	}
}

// TestDelayedBodyDoesNotReachTheNextOwnerOfADID parks a request of an account with a did:web.
// Before the body arrives, somebody else signs up with the same handle and so gets the same DID.
func TestDelayedBodyDoesNotReachTheNextOwnerOfADID(t *testing.T) {
	t.Parallel()
	l := newLot()
	onEach(t, func(t *testing.T, s *api) {
		thief := s.signUp("alice.test")
		request := s.park(l, byLength, bearer(thief.AccessJWT), "server.createAppPassword", object{"name": "mine"})
		s.do(admin, "admin.deleteAccount", object{"did": thief.DID}).ok()
		owner := s.signUp("alice.test", object{"email": "owner@example.com"})
		if owner.DID != thief.DID {
			t.Fatalf("the new account's DID is %s, want %s again", owner.DID, thief.DID)
		}
		request.release().refused(400, "ExpiredToken", "Token has been revoked")
		if got := s.do(bearer(owner.AccessJWT), "server.listAppPasswords", nil).ok()["passwords"].([]any); len(got) != 0 {
			t.Errorf("the previous owner of the DID created app passwords: %v", got)
		}
	}, withHandler(l.around), config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestExamplesSetTimeouts checks that the examples set timeouts, since only the embedder's
// http.Server can limit how long a body may be held back.
func TestExamplesSetTimeouts(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../examples/embed/main.go", "../../README.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ReadHeaderTimeout", "ReadTimeout"} {
			if !strings.Contains(string(b), name) {
				t.Errorf("%s doesn't set %s", file, name)
			}
		}
	}
}
