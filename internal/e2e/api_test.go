package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/lexicons"
)

// api calls the methods of a test server and validates the answers against the lexicons.
type api struct {
	*gatehousetest.Server
	t        testing.TB
	lexicons *lexicons.Catalog
	random   bool // the calls differ from run to run, so the errors they meet don't count as covered
	waited   bool // a wait for the server's background work has already timed out
}

func newAPI(t testing.TB, opts ...gatehousetest.Option) *api {
	t.Helper()
	catalog, err := lexicons.Load()
	if err != nil {
		t.Fatal(err)
	}
	return &api{Server: gatehousetest.NewServer(t, opts...), t: t, lexicons: catalog}
}

// object is a JSON object, in an input or an answer.
type object = map[string]any

// answer is the response to a call.
type answer struct {
	t      testing.TB
	method string
	status int
	header http.Header
	body   []byte
	object object
}

// Values of the Authorization header, by the caller.
func bearer(token string) string { return "Bearer " + token }

const admin = "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=" // admin:admin-password

const nobody = ""

// do calls a method as who. The lexicon decides whether it is a query, which is sent by GET with
// input as its parameters, or a procedure, which is sent by POST with input as its body.
func (s *api) do(who, method string, input object) *answer {
	s.t.Helper()
	nsid, req := s.request(who, method, input)
	return s.send(nsid, req)
}

// request returns the request that do sends, and the full name of the method.
func (s *api) request(who, method string, input object) (nsid string, req *http.Request) {
	s.t.Helper()
	nsid = "com.atproto." + method
	m, ok := s.lexicons.Method(nsid)
	if !ok {
		s.t.Fatalf("%s has no lexicon", nsid)
	}
	url := s.URL + "/xrpc/" + nsid
	var body io.Reader
	verb := http.MethodPost
	if m.Query {
		verb = http.MethodGet
		url += query(input)
	} else if input != nil {
		b, err := json.Marshal(input)
		if err != nil {
			s.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(verb, url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != nobody {
		req.Header.Set("Authorization", who)
	}
	return nsid, req
}

func query(params object) string {
	if len(params) == 0 {
		return ""
	}
	var parts []string
	for name, v := range params {
		list, ok := v.([]string)
		if !ok {
			b, _ := json.Marshal(v)
			list = []string{strings.Trim(string(b), `"`)}
		}
		for _, v := range list {
			parts = append(parts, name+"="+v)
		}
	}
	return "?" + strings.Join(parts, "&")
}

// send sends a request and returns the answer. It reports an error if a successful answer doesn't
// match the lexicon, and unless exactly the answers with status 401 have a WWW-Authenticate header.
func (s *api) send(nsid string, req *http.Request) *answer {
	s.t.Helper()
	resp, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatalf("%s: %v", nsid, err)
	}
	defer resp.Body.Close()
	a := &answer{t: s.t, method: nsid, status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		s.t.Fatalf("%s: %v", nsid, err)
	}
	if a.status == http.StatusOK {
		if err := s.lexicons.CheckOutput(nsid, a.body); err != nil {
			s.t.Error(err)
		}
	}
	if asks := a.header.Get("WWW-Authenticate"); (asks != "") != (a.status == http.StatusUnauthorized) {
		s.t.Errorf("%s: %d with WWW-Authenticate %q", nsid, a.status, asks)
	}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &a.object); err != nil {
			s.t.Errorf("%s: %v: %s", nsid, err, a.body)
		}
	}
	if name, ok := a.object["error"].(string); ok && !s.random {
		provoked.add(nsid, name)
	}
	return a
}

// ok returns the body of a successful answer, and stops the test if the answer is an error.
func (a *answer) ok() object {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("%s: %d %s", a.method, a.status, a.body)
	}
	return a.object
}

// refused checks that the answer is an error with a status, a name and, if given, a message.
func (a *answer) refused(status int, name string, message ...string) {
	a.t.Helper()
	if a.status != status || a.object["error"] != name || len(message) > 0 && a.object["message"] != message[0] {
		a.t.Errorf("%s: %d %s; want %d %s %q", a.method, a.status, a.body, status, name, message)
	}
}

// text returns a string property of a successful answer.
func (a *answer) text(property string) string {
	a.t.Helper()
	text, ok := a.ok()[property].(string)
	if !ok {
		a.t.Fatalf("%s: no %s in %s", a.method, property, a.body)
	}
	return text
}

// signUp creates an account over HTTP, with more properties in the input if given.
func (s *api) signUp(handle string, more ...object) *gatehousetest.Account {
	s.t.Helper()
	label, _, _ := strings.Cut(handle, ".")
	a := &gatehousetest.Account{Handle: handle, Email: label + "@example.com", Password: "password-" + label}
	input := object{"handle": a.Handle, "email": a.Email, "password": a.Password}
	for _, m := range more {
		for k, v := range m {
			input[k] = v
		}
	}
	out := s.do(nobody, "server.createAccount", input)
	a.DID, a.AccessJWT, a.RefreshJWT = out.text("did"), out.text("accessJwt"), out.text("refreshJwt")
	return a
}

// login calls createSession.
func (s *api) login(identifier, password string) *answer {
	s.t.Helper()
	return s.do(nobody, "server.createSession", object{"identifier": identifier, "password": password})
}
