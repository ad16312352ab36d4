package scope_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

// parse parses a scope that a test relies on.
func parse(tb testing.TB, raw string) scope.Set {
	tb.Helper()
	s, err := scope.Parse(raw)
	if err != nil {
		tb.Fatalf("Parse(%q): %v", raw, err)
	}
	return s
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]scope.Set{
		"atproto":                   {"atproto"},
		"atproto atproto":           {"atproto"},
		"repo:a.b.c atproto":        {"repo:a.b.c", "atproto"},
		"atproto whatever:this/is!": {"atproto", "whatever:this/is!"},
		"atproto repo:app.bsky.feed.post repo?collection=app.bsky.feed.post":                                           {"atproto", "repo:app.bsky.feed.post"},
		"atproto repo:app.bsky.feed.post?action=delete&action=create&action=update repo:app.bsky.feed.post":            {"atproto", "repo:app.bsky.feed.post?action=delete&action=create&action=update"},
		"atproto account:email?action=read account:email account:email?action=manage":                                  {"atproto", "account:email?action=read", "account:email?action=manage"},
		"atproto rpc:a.b.c?aud=did:web:x.com%23y rpc:a.b.c?aud=did:web:x.com#y":                                        {"atproto", "rpc:a.b.c?aud=did:web:x.com%23y"},
		"atproto include:App.Example.auth include:app.example.auth include:app.example.Auth":                           {"atproto", "include:App.Example.auth", "include:app.example.Auth"},
		"atproto blob?accept=image/png&accept=video/mp4&accept=image/png blob?accept=video/mp4&accept=image/png blob:": {"atproto", "blob?accept=image/png&accept=video/mp4&accept=image/png", "blob:"},
	} {
		got, err := scope.Parse(raw)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Parse(%q) = %q, %v; want %q", raw, got, err, want)
		}
		if again, err := scope.Parse(got.String()); err != nil || !slices.Equal(got, again) {
			t.Errorf("Parse(%q) = %q, %v; want %q", got.String(), again, err, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		list      = "The scope must be a list of words with a single space between them"
		character = "The scope contains a character that isn't allowed in scopes"
		signIn    = `The scope must contain "atproto"`
	)
	for name, test := range map[string]struct{ raw, message string }{
		"nothing":           {"", list},
		"a space":           {" ", list},
		"a leading space":   {" atproto", list},
		"a trailing space":  {"atproto ", list},
		"two spaces":        {"atproto  repo:*", list},
		"a tab":             {"atproto\trepo:*", character},
		"a new line":        {"atproto repo:*\n", character},
		"a NUL":             {"atproto\x00", character},
		"a quotation mark":  {`atproto "repo:*"`, character},
		"a backslash":       {`atproto repo:\*`, character},
		"a letter with dot": {"atproto repo:québec.example.post", character},
		"no UTF-8":          {"atproto \xff", character},
		"DEL":               {"atproto \x7f", character},
		"no atproto":        {"repo:*", signIn},
		"ATPROTO":           {"ATPROTO repo:*", signIn},
		"atproto:":          {"atproto: repo:*", signIn},
		"OpenID":            {"openid profile email", signIn},
		"too long":          {"atproto " + strings.Repeat("x", scope.MaxLength), "The scope is longer than 8192 bytes"},
	} {
		got, err := scope.Parse(test.raw)
		if got != nil || !errors.Is(err, scope.ErrScope) || err.Error() != test.message {
			t.Errorf("%s: Parse = %q, %v; want %q", name, got, err, test.message)
		}
	}
	if _, err := scope.Parse("atproto " + strings.Repeat("x", scope.MaxLength-len("atproto "))); err != nil {
		t.Errorf("the longest scope: %v", err)
	}
}

func TestKnown(t *testing.T) {
	known := []string{
		"atproto", "transition:generic", "transition:email", "transition:chat.bsky", "repo:*", "repo:app.bsky.feed.post?action=create",
		"blob:*/*", "blob:image/*", "account:email?action=manage", "identity:*", "identity:handle", "rpc:*?aud=did:web:api.bsky.app%23bsky_appview",
		"rpc:app.bsky.feed.getFeed?aud=*", "include:app.example.authFull", "include:app.example.authFull?aud=did:web:api.example.com%23svc",
	}
	unknown := []string{
		"transition:everything", "transition:", "Atproto", "openid", "rpc:*?aud=*", "rpc?lxm=*&lxm=a.b.c&aud=*", "rpc:a.b.c", "rpc:a.b.c?aud=did:web:x.com",
		"repo:", "repo:app.bsky.*", "repo:*?action=*", "repo:*?action=read", "repo:a.b.c?collection=d.e.f", "repo:*?collection=a.b.c", "Repo:*",
		"repo:app.bsky.feed.post?role=x", "account:password", "account:*", "identity:did", "blob:*", "blob:*/png", "include:app.example.authFull?aud=*",
		"include:app.example.authFull?aud=", "include:app", "include:app.example.authFull?aud=did:web:x", "space:*",
		// Values in which an element would end, so that another began, if they were written without
		// the escapes.
		"blob?accept=image/x%20repo:*", "blob?accept=image/x%0Arepo:*", "rpc:a.b.c?aud=did:web:x.com%23y%20repo:*",
		"include:a.b.c?aud=did:web:x.com%23y%20repo:*", "blob?accept=image/%C3%A9", "repo:a.b.c%20repo:*", "repo?collection=a.b.c%20repo:*",
	}
	got := parse(t, strings.Join(slices.Concat(known, unknown), " ")).Known()
	if !slices.Equal(got, known) {
		t.Errorf("Known() = %q, want %q", got, known)
	}
}

func TestSetOperations(t *testing.T) {
	s := parse(t, "atproto repo:a.b.c repo:a.b.d?action=update&action=create unknown:x")
	for element, want := range map[string]bool{
		"atproto": true, "repo:a.b.c": true, "repo?collection=a.b.c": true, "repo:a.b.d?action=create&action=update": true, "unknown:x": true,
		"": false, "repo:a.b.d": false, "repo:a.b": false, "unknown:y": false, "atproto repo:a.b.c": false,
	} {
		if got := s.Contains(element); got != want {
			t.Errorf("Contains(%q) = %t", element, got)
		}
	}
	declared := parse(t, "atproto repo?collection=a.b.c repo:a.b.d?action=create&action=update")
	if missing := s.Without(declared); missing.String() != "unknown:x" || s.Subset(declared) || !declared.Subset(s) {
		t.Errorf("Without = %q, Subset = %t, %t", missing, s.Subset(declared), declared.Subset(s))
	}
	if got := s.With(scope.Set{"repo?collection=a.b.c", "blob:*/*"}).String(); got != s.String()+" blob:*/*" {
		t.Errorf("With = %q", got)
	}
	// Nobody can tick what wasn't asked for, and not even signing in can be unticked.
	ticked := scope.Set{"repo:a.b.c", "repo:*", "transition:generic", "repo:a.b.d"}
	if got := s.Keep(ticked).String(); got != "atproto repo:a.b.c" {
		t.Errorf("Keep = %q", got)
	}
	if got := s.Keep(nil).String(); got != "atproto" {
		t.Errorf("Keep(nil) = %q", got)
	}
}

func TestCoveredBy(t *testing.T) {
	for _, test := range []struct {
		narrow, granted string
		want            bool
	}{
		{"atproto", "atproto", true},
		{"atproto", "atproto repo:*", true},
		{"atproto repo:a.b.c", "atproto repo?collection=a.b.c", true},
		{"atproto repo:a.b.c", "atproto", false},
		{"atproto repo:a.b.c?action=create", "atproto repo:*", true},
		{"atproto repo:a.b.c?action=create", "atproto repo:a.b.c?action=delete repo:a.b.d", false},
		{"atproto repo:a.b.c", "atproto repo:a.b.c?action=create repo:a.b.c?action=update", false},
		{"atproto repo:a.b.c", "atproto repo:a.b.c?action=create repo:*?action=update repo:*?action=delete", true},
		{"atproto repo:*", "atproto repo?collection=a.b.c&collection=a.b.d", false},
		{"atproto repo?collection=a.b.c&collection=a.b.d", "atproto repo:a.b.c repo:a.b.d", true},
		{"atproto repo?collection=a.b.c&collection=a.b.e", "atproto repo:a.b.c repo:a.b.d", false},
		{"atproto blob:image/png", "atproto blob:image/*", true},
		{"atproto blob:image/*", "atproto blob:image/png", false},
		{"atproto blob:*/*", "atproto blob:image/* blob:video/*", false},
		{"atproto blob?accept=image/png&accept=text/html", "atproto blob:image/*", false},
		{"atproto account:email", "atproto account:email?action=manage", true},
		{"atproto account:email?action=manage", "atproto account:email", false},
		{"atproto account:email", "atproto transition:email", true},
		{"atproto account:email?action=manage", "atproto transition:email", false},
		{"atproto transition:email", "atproto account:email", false},
		{"atproto identity:handle", "atproto identity:*", true},
		{"atproto identity:*", "atproto identity:handle", false},
		{"atproto rpc:a.b.c?aud=did:web:x.com%23y", "atproto rpc:*?aud=did:web:x.com%23y", true},
		{"atproto rpc:a.b.c?aud=did:web:x.com%23y", "atproto rpc:a.b.c?aud=*", true},
		{"atproto rpc:a.b.c?aud=*", "atproto rpc:a.b.c?aud=did:web:x.com%23y", false},
		{"atproto rpc:a.b.c?aud=did:web:x.com%23z", "atproto rpc:*?aud=did:web:x.com%23y", false},
		{"atproto rpc:*?aud=did:web:x.com%23y", "atproto rpc:a.b.c?aud=*", false},
		{"atproto repo:* blob:*/*", "atproto transition:generic", true},
		{"atproto rpc:a.b.c?aud=*", "atproto transition:generic", true},
		{"atproto identity:handle", "atproto transition:generic", false},
		{"atproto account:email", "atproto transition:generic", false},
		{"atproto transition:generic", "atproto repo:* blob:*/*", false},
		{"atproto transition:chat.bsky", "atproto transition:generic", false},
		{"atproto rpc:chat.bsky.convo.getLog?aud=*", "atproto transition:generic", false},
		{"atproto rpc:chat.bsky.convo.getLog?aud=*", "atproto transition:chat.bsky", true},
		{"atproto rpc:a.b.c?aud=*", "atproto transition:chat.bsky", false},
		// All methods of a service aren't those that a transition scope allows.
		{"atproto rpc:*?aud=did:web:api.bsky.chat%23bsky_chat", "atproto transition:generic", false},
		{"atproto rpc?lxm=a.b.c&lxm=*&aud=did:web:api.bsky.chat%23bsky_chat", "atproto transition:generic transition:chat.bsky", false},
		{"atproto include:a.b.auth", "atproto include:a.b.auth", true},
		{"atproto include:a.b.auth", "atproto include?nsid=a.b.auth", true},
		{"atproto include:a.b.auth", "atproto include:a.b.auth?aud=did:web:x.com%23y", false},
		{"atproto include:a.b.auth", "atproto transition:generic repo:* include:a.b.other", false},
		{"atproto repo:a.b.c", "atproto include:a.b.auth", false},
		{"atproto unknown:x", "atproto unknown:x", true},
		{"atproto unknown:x", "atproto repo:* unknown:y", false},
		{"atproto rpc:*?aud=*", "atproto transition:generic rpc:*?aud=did:web:x.com%23y", false},
	} {
		if got := parse(t, test.narrow).CoveredBy(parse(t, test.granted)); got != test.want {
			t.Errorf("%q covered by %q: %t, want %t", test.narrow, test.granted, got, test.want)
		}
	}
	if !(scope.Set{}).CoveredBy(nil) || (scope.Set{"atproto"}).CoveredBy(nil) || !(scope.Set{"repo:a.b.c"}).CoveredBy(scope.Set{"repo:*"}) {
		t.Error("sets without atproto are compared in another way")
	}
}
