package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/signin"
)

// row is the row of a method in a table of docs/methods.md.
type row struct{ who, errors, limit string }

// documentedMethods reads the tables of docs/methods.md and returns their rows by NSID.
func documentedMethods(t *testing.T) map[string]row {
	t.Helper()
	b, err := os.ReadFile("../../docs/methods.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, prefix := map[string]row{}, ""
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], " ---") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.HasPrefix(cells[1], "com.") {
			prefix, _, _ = strings.Cut(cells[1], " ")
			continue
		}
		for name := range strings.SplitSeq(cells[1], ", ") {
			nsid := prefix + name
			if strings.HasPrefix(name, "temp.") {
				nsid = "com.atproto." + name
			}
			if _, twice := rows[nsid]; twice {
				t.Errorf("docs/methods.md lists %s twice", nsid)
			}
			rows[nsid] = row{who: cells[2], errors: cells[3], limit: cells[4]}
		}
	}
	return rows
}

// passes lists the callers that a method's auth check accepts, by what docs/methods.md says about
// who may call the method.
var passes = map[string][]string{
	"anyone":                                {"nobody", "garbage", "full", "app", "takendown", "admin"},
	"anyone, with the code":                 {"nobody", "garbage", "full", "app", "takendown", "admin"},
	"did, password and code":                {"nobody", "garbage", "full", "app", "takendown", "admin"},
	"anyone; with `did` service auth of it": {"nobody"}, // tokens are checked, and none of these is a service token
	"access":                                {"full", "app"},
	"full":                                  {"full"},
	"leaving":                               {"full", "takendown"},
	"leaving, with a code":                  {"full", "takendown"},
	"access or leaving":                     {"full", "app", "takendown"},
	"access, or an account that is taken down": {"full", "app", "takendown"},
	"refresh":                   {"garbage", "full", "app", "takendown"}, // the token is verified after the input is read
	"refresh, expired ones too": {"garbage", "full", "app", "takendown"},
	"admin":                     {"admin"},
	"moderator":                 {"admin"},
}

// policyOf returns the RateLimit-Policy header for the limit at the start of a table cell, or "" if
// the cell doesn't start with one.
func policyOf(limit string) string {
	found := regexp.MustCompile(`^(\d+) / (5 min|h)\b`).FindStringSubmatch(limit)
	if found == nil {
		return ""
	}
	return found[1] + ";w=" + map[string]string{"5 min": "300", "h": "3600"}[found[2]]
}

// TestDocsListEveryMethod checks that the tables of docs/methods.md list exactly the methods that
// are served, with who may call them, their limits, and the errors that the lexicons declare.
func TestDocsListEveryMethod(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Limits.Limiter = nil }))
	ctx := context.Background()
	alice, carol := s.CreateAccount("alice.test"), s.CreateAccount("carol.test")
	_, password, err := s.Gatehouse.AppPasswords.Create(ctx, syntax.DID(alice.DID), "phone", false)
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Gatehouse.SignIn.SignIn(ctx, signin.Attempt{Identifier: alice.DID, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Gatehouse.Accounts.TakeDown(ctx, syntax.DID(carol.DID), "case 1"); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Gatehouse.SignIn.SignIn(ctx, signin.Attempt{Identifier: carol.DID, Password: carol.Password, AllowTakendown: true})
	if err != nil {
		t.Fatal(err)
	}
	callers := []struct{ name, authorization string }{
		{"nobody", nobody}, {"garbage", bearer("garbage")}, {"full", bearer(alice.AccessJWT)}, {"app", bearer(app.AccessJWT)},
		{"takendown", bearer(gone.AccessJWT)}, {"admin", admin},
	}
	// probe sends a body that every method refuses with InvalidRequest, so that a caller who passes
	// the auth check can be told from one who doesn't, and nothing is changed.
	probe := func(nsid, authorization string) (errorName, policy string) {
		verb := http.MethodPost
		if m, _ := s.lexicons.Method(nsid); m.Query {
			verb = http.MethodGet
		}
		req, err := http.NewRequest(verb, s.URL+"/xrpc/"+nsid, strings.NewReader("[]"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatalf("%s: %d, %v", nsid, resp.StatusCode, err)
		}
		return out.Error, resp.Header.Get("RateLimit-Policy")
	}

	rows := documentedMethods(t)
	for _, nsid := range s.lexicons.Methods("com.atproto.") {
		name, _ := probe(nsid, nobody)
		if _, listed := rows[nsid]; listed != (name != "MethodNotImplemented") {
			t.Errorf("%s: listed in docs/methods.md: %v, but the server answers %s", nsid, listed, name)
		}
	}
	for nsid, r := range rows {
		m, ok := s.lexicons.Method(nsid)
		if !ok {
			t.Errorf("%s has no lexicon", nsid)
			continue
		}
		var passed, policies []string
		for _, c := range callers {
			name, policy := probe(nsid, c.authorization)
			if name == "InvalidRequest" {
				passed, policies = append(passed, c.name), append(policies, policy)
			}
			if c.name == "garbage" && (name == "UntrustedIss") != (r.who == "moderator") {
				t.Errorf("%s, documented for %q: a token that isn't the server's is answered %s", nsid, r.who, name)
			}
		}
		if !slices.Equal(passed, passes[r.who]) {
			t.Errorf("%s: the auth check accepts %v, but docs/methods.md says %q", nsid, passed, r.who)
		}
		want := policyOf(r.limit)
		if want == "" { // no limit of the method applies before its input is read
			want = "3000;w=300"
		}
		for _, got := range policies {
			if got != want {
				t.Errorf("%s: RateLimit-Policy is %s, but docs/methods.md says %q", nsid, got, r.limit)
			}
		}
		for _, name := range m.Errors {
			common := slices.Contains([]string{"InvalidRequest", "InvalidToken", "ExpiredToken", "AccountNotFound", "AccountTakedown"}, name)
			if !common && never[nsid+" "+name] == "" && !slices.Contains(strings.Split(r.errors, ", "), name) {
				t.Errorf("%s: docs/methods.md does not mention %s", nsid, name)
			}
		}
	}
	// The limits that docs/methods.md lists after "then" apply once the method has read its input.
	const guesses = "30;w=300"
	then := map[string]struct {
		authorization string
		input         object
		policy        string
	}{
		"com.atproto.server.createSession": {nobody, object{"identifier": "unknown.test", "password": "wrong"}, guesses},
		"com.atproto.server.deleteAccount": {nobody, object{"did": noSuchDID, "password": "wrong", "token": "AAAAA-AAAAA"}, guesses},
		"com.atproto.server.updateEmail":   {bearer(alice.AccessJWT), object{"email": "another@example.com"}, "24;w=3600"},
	}
	for nsid, r := range rows {
		_, limit, has := strings.Cut(r.limit, "then ")
		if !has || limit == "a hash" { // the limit of password hashes is tested elsewhere
			continue
		}
		if limit == "as createSession" {
			_, limit, _ = strings.Cut(rows["com.atproto.server.createSession"].limit, "then ")
		}
		c := then[nsid]
		if got := policyOf(limit); got == "" || got != c.policy {
			t.Errorf("%s: docs/methods.md says %q, and the test expects RateLimit-Policy %q", nsid, r.limit, c.policy)
		}
		got := s.do(c.authorization, strings.TrimPrefix(nsid, "com.atproto."), c.input).header.Get("RateLimit-Policy")
		if got != c.policy {
			t.Errorf("%s: RateLimit-Policy %s, and docs/methods.md says %q", nsid, got, r.limit)
		}
		delete(then, nsid)
	}
	if len(then) > 0 {
		t.Errorf("docs/methods.md has no \"then\" limit for %v", slices.Collect(maps.Keys(then)))
	}
	if len(rows) < 26 {
		t.Errorf("docs/methods.md lists only %d methods", len(rows))
	}
}
