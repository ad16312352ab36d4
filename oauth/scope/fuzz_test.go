package scope_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
)

func parseNSID(tb testing.TB, raw string) syntax.NSID {
	tb.Helper()
	nsid, err := syntax.ParseNSID(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return nsid
}

// allowed returns what a scope allows.
func allowed(t *testing.T, s scope.Set) sessions.Permissions {
	t.Helper()
	p, err := sessions.OAuthPermissions(s.String())
	if err != nil {
		t.Fatalf("OAuthPermissions(%q): %v", s, err)
	}
	return p
}

// FuzzScope gives anything for two scopes. What is taken keeps its meaning in all that is done with
// it, and a scope is within another one only if package sessions says so of each of its
// permissions.
func FuzzScope(f *testing.F) {
	for _, seed := range [][2]string{
		{"atproto", "atproto"},
		{"atproto repo:a.b.c?action=create blob:image/png", "atproto transition:generic"},
		{"atproto repo?collection=a.b.c&collection=a.b.d", "atproto repo:a.b.c repo:a.b.d"},
		{"atproto rpc:*?aud=did:web:x.com%23y", "atproto transition:generic transition:chat.bsky"},
		{"atproto rpc?lxm=a.b.c&lxm=*&aud=did:web:x.com%23y", "atproto rpc:*?aud=did:web:x.com#y"},
		{"atproto account:email?action=manage identity:handle", "atproto account:email identity:*"},
		{"atproto include:a.b.auth?aud=did:web:x.com%23y", "atproto include?nsid=a.b.auth"},
		{"atproto blob?accept=image/x%20repo:*", "atproto blob?accept=a/b%3Fc blob:a/b+c"},
		{"atproto  repo:*", "\x00"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		s, err := scope.Parse(a)
		if err != nil {
			if s != nil || !errors.Is(err, scope.ErrScope) {
				t.Fatalf("Parse(%q) = %q, %v", a, s, err)
			}
			return
		}
		if again, err := scope.Parse(s.String()); err != nil || !slices.Equal(again, s) {
			t.Fatalf("%q is parsed as %q, %v", s, again, err)
		}
		known := s.Known()
		if !known.Subset(s) || !slices.Equal(known.Known(), known) || !known.Contains("atproto") {
			t.Fatalf("of %q is known %q", s, known)
		}
		if !s.CoveredBy(s) || !known.CoveredBy(s) || !s.Subset(s) || len(s.Without(s)) != 0 || !slices.Equal(s.Keep(s), s) {
			t.Fatalf("%q isn't within itself", s)
		}
		if items := scope.Describe(s, nil); len(items) != len(known) {
			t.Fatalf("%q has %d items, %d elements are known", s, len(items), len(known))
		}
		if same, err := s.Expand(nil); err != nil || strings.Contains(same.String(), "  ") {
			t.Fatalf("Expand of %q: %q, %v", s, same, err)
		}
		may := allowed(t, known)
		for _, e := range known {
			resource, _, _ := strings.Cut(strings.ReplaceAll(e, "?", ":"), ":")
			if slices.Contains([]string{"repo", "blob", "rpc", "account", "identity"}, resource) && !may.Allow(sessions.Permission(e)) {
				t.Fatalf("%q doesn't allow its own %q", known, e)
			}
		}
		other, err := scope.Parse(b)
		if err != nil || !s.CoveredBy(other) {
			return
		}
		may = allowed(t, other)
		for _, e := range known {
			if p, err := auth.ParsePermissionString(e); err == nil && p.Resource != "include" && !may.Allow(sessions.Permission(e)) {
				t.Errorf("%q is taken to be within %q, which doesn't allow %q", s, other, e)
			}
		}
	})
}

// FuzzPermissionSet gives anything for the document of a permission set. Whatever is in it, it
// stands for known permissions to use records and methods of its own namespace.
func FuzzPermissionSet(f *testing.F) {
	const nsid, prefix = "app.example.auth", "app.example."
	f.Add([]byte(lexiconOf(nsid, repo("app.example.post", `,"action":["create"]`), rpc("app.example.getFeed", `,"inheritAud":true`))))
	f.Add([]byte(lexiconOf(nsid, repo("*", ""), rpc("*", `,"aud":"*"`), `{"type":"permission","resource":"blob","accept":["*/*"]}`)))
	f.Add([]byte(lexiconOf(nsid, repo("app.example.post", `,"collection":["*"]`), repo("app.example.a repo:*", ""))))
	f.Add([]byte(`{"lexicon":1,"id":"app.example.auth","defs":{"main":{"type":"permission-set","permissions":null}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		set, err := scope.ParsePermissionSet(nsid, doc)
		if err != nil {
			return
		}
		resolved := scope.Resolved{nsid: set}
		for _, include := range []string{"include:" + nsid, "include:" + nsid + "?aud=did:web:x.com%23y"} {
			expanded, err := scope.Set{include}.Expand(resolved)
			if err != nil {
				continue // too long
			}
			if known := expanded.Known(); !slices.Equal(known, expanded) {
				t.Fatalf("%q, of which is known only %q", expanded, known)
			}
			for _, e := range strings.Fields(expanded.String()) {
				p, err := auth.ParsePermissionString(e)
				if err != nil || p.Resource != "repo" && p.Resource != "rpc" {
					t.Fatalf("a permission set contains %q", e)
				}
				for _, name := range slices.Concat(p.Collection, p.Endpoint) {
					if !strings.HasPrefix(name, prefix) {
						t.Fatalf("a permission set contains %q", e)
					}
				}
				if p.Audience != "" && p.Audience != "*" && p.Audience != "did:web:x.com#y" {
					t.Fatalf("a permission set contains %q", e)
				}
			}
			info := scope.Describe(scope.Set{include}, resolved)[0].Set
			if title, _ := info.Title(); len([]rune(title)) > 100 || strings.ContainsAny(title, "\n\r\t\x00") {
				t.Fatalf("the title is %q", title)
			}
		}
	})
}
