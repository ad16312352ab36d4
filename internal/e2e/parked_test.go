package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
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

// A request whose body is held back waits in the server while what it was allowed by comes to its
// end.

// lot tells when the server begins to read the body of a parked request.
type lot struct{ reading chan struct{} }

func newLot() *lot { return &lot{make(chan struct{}, 1)} }

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

// The ways to hold a body back.
const (
	byLength   = "Content-Length"
	byChunks   = "chunked"
	byExpect   = "Expect: 100-continue"
	emptyChunk = "0\r\n\r\n"
)

// parkedRequest is a request of which the server has the headers, and reads the body.
type parkedRequest struct {
	s      *api
	method string
	conn   net.Conn
	rest   string // that was held back
}

// park sends the headers of a call and waits until the server reads the body. A method without an
// input gets an empty one, in chunks, whose end is held back.
func (s *api) park(l *lot, variant, who, method string, input object) *parkedRequest {
	s.t.Helper()
	nsid, req := s.request(who, method, input)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience)) // against a server that hangs
	var body []byte
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			s.t.Fatal(err)
		}
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nConnection: close\r\n%s: yes\r\n",
		req.Method, req.URL.RequestURI(), who, parkedHeader)
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
		s.t.Fatalf("%s: the server doesn't read the body", nsid)
	}
	return &parkedRequest{s, nsid, conn, rest}
}

// release sends the rest of the request, and returns the answer.
func (p *parkedRequest) release() *answer {
	p.s.t.Helper()
	// Whoever has answered already reads no more, which is an error here and none of the test's.
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

// parked are the methods that take a session, with an input that an account's session could use.
// Those of refresh tokens are among them, but for deleteSession, which has nothing left to do.
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

// ending is a way in which what a request was allowed by comes to its end, and what a request after
// it is answered.
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

// lifting is an ending for the tokens of an account that is taken down.
var lifting = ending{"the takedown's end", func(s *api, a *gatehousetest.Account) { s.lift(a.DID) }, 400, "ExpiredToken", "Token has been revoked"}

// refuses demands the answer to a request after the ending.
func (e ending) refuses(a *answer) {
	a.t.Helper()
	a.refused(e.status, e.error, e.message)
}

// stateOf is what a request can change of an account, as text.
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
		if strings.HasSuffix(m.To, a.Email) && m.Code != "" { // also what its address was changed to
			codes = append(codes, m.To+" "+m.Code)
		}
	}
	return fmt.Sprintf("%s\napp passwords %q\nsessions %q\n%d operations\ncodes %q", info.body, apps, sessions, len(log), codes)
}

// A parkedCase is one method, one way of holding back, and one ending.
type parkedCase struct {
	method, variant string
	ending          ending
	token           string // of which kind: full, app, leaving
}

func (c parkedCase) String() string {
	return fmt.Sprintf("%s (%s, by a %s token) and %s", c.method, c.variant, c.token, c.ending.name)
}

// run parks a request, has it end, and lets it go on.
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
	if c.ending.end == nil { // to see that nothing else is wrong with it
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
		t.Errorf("%v: the account was\n%s\nand is\n%s", c, before, after)
	}
}

// parkedCases are all of them: each method with each ending that its tokens have. The ways of
// holding back take turns.
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
				t.Errorf("%s takes a session, and isn't among the methods that are parked", nsid)
			}
		}
	}
	return cases
}

// TestParkedRequestsEndWithWhatAllowedThem: a request whose body comes after a log-out, a reset, a
// takedown, a deletion or a revocation is answered as one whose headers come after it, and changes
// nothing. In memory each method meets each ending; the other backends, which take longer, have
// every fourth of these meetings.
func TestParkedRequestsEndWithWhatAllowedThem(t *testing.T) {
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

// TestEveryWayOfParking holds the body of each procedure back in each way.
func TestEveryWayOfParking(t *testing.T) {
	t.Parallel()
	l := newLot()
	s := newAPI(t, withHandler(l.around))
	for _, method := range slices.Sorted(maps.Keys(parked)) {
		for _, variant := range []string{byLength, byChunks, byExpect} {
			parkedCase{method, variant, endings[0], "full"}.run(t, s, l)
		}
	}
}

// TestAParkedRequestDoesNotReachWhoComesAfter parks a request of an account with a did:web, whose
// name, and so whose DID, somebody else takes before the body comes.
func TestAParkedRequestDoesNotReachWhoComesAfter(t *testing.T) {
	t.Parallel()
	l := newLot()
	onEach(t, func(t *testing.T, s *api) {
		thief := s.signUp("alice.test")
		request := s.park(l, byLength, bearer(thief.AccessJWT), "server.createAppPassword", object{"name": "mine"})
		s.do(admin, "admin.deleteAccount", object{"did": thief.DID}).ok()
		owner := s.signUp("alice.test", object{"email": "owner@example.com"})
		if owner.DID != thief.DID {
			t.Fatalf("the DID is %s, and was %s", owner.DID, thief.DID)
		}
		request.release().refused(400, "ExpiredToken", "Token has been revoked")
		if got := s.do(bearer(owner.AccessJWT), "server.listAppPasswords", nil).ok()["passwords"].([]any); len(got) != 0 {
			t.Errorf("somebody who had the DID before has app passwords for it: %v", got)
		}
	}, withHandler(l.around), config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestTheExampleSetsTimeouts: how long a body may be held back is up to the embedder's server.
func TestTheExampleSetsTimeouts(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../examples/embed/main.go", "../../README.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ReadHeaderTimeout", "ReadTimeout"} {
			if !strings.Contains(string(b), name) {
				t.Errorf("%s sets no %s", file, name)
			}
		}
	}
}
