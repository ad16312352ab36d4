package scope_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/text/language"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

// lexiconOf returns the lexicon of a permission set.
func lexiconOf(nsid string, permissions ...string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(
		`{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":%q,"defs":{"main":{"type":"permission-set",`+
			`"title":"Posts","title:lang":{"de":"Beiträge"},"detail":"Write posts","permissions":[%s]}}}`,
		nsid, strings.Join(permissions, ",")))
}

// repo and rpc are permissions in a set, with further properties.
func repo(collection, more string) string {
	return fmt.Sprintf(`{"type":"permission","resource":"repo","collection":[%q]%s}`, collection, more)
}

func rpc(method, more string) string {
	return fmt.Sprintf(`{"type":"permission","resource":"rpc","lxm":[%q]%s}`, method, more)
}

// expand returns what a permission in the set app.example.feed.auth stands for.
func expand(t *testing.T, include string, permissions ...string) string {
	t.Helper()
	set, err := scope.ParsePermissionSet("app.example.feed.auth", lexiconOf("app.example.feed.auth", permissions...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := scope.Set{include}.Expand(scope.Resolved{set.NSID: set})
	if err != nil {
		t.Fatal(err)
	}
	return got.String()
}

func TestPermissionsOfASet(t *testing.T) {
	const inherits = `,"inheritAud":true`
	for name, test := range map[string]struct{ permission, want string }{
		"records":                        {repo("app.example.feed.post", ""), "repo:app.example.feed.post"},
		"records below":                  {repo("app.example.feed.post.draft", ""), "repo:app.example.feed.post.draft"},
		"an action":                      {repo("app.example.feed.like", `,"action":["delete"]`), "repo:app.example.feed.like?action=delete"},
		"all actions":                    {repo("app.example.feed.like", `,"action":["delete","update","create"]`), "repo:app.example.feed.like"},
		"several records":                {`{"type":"permission","resource":"repo","collection":["app.example.feed.b","app.example.feed.a"]}`, "repo?collection=app.example.feed.a&collection=app.example.feed.b"},
		"a description":                  {repo("app.example.feed.post", `,"description":"Posts"`), "repo:app.example.feed.post"},
		"a method of any service":        {rpc("app.example.feed.getFeed", `,"aud":"*"`), "rpc:app.example.feed.getFeed?aud=%2A"},
		"a method of the service":        {rpc("app.example.feed.getFeed", inherits), "rpc:app.example.feed.getFeed?aud=did%3Aweb%3Aapi.example.com%23svc"},
		"a method, nothing inherited":    {rpc("app.example.feed.getFeed", `,"inheritAud":false,"aud":"*"`), "rpc:app.example.feed.getFeed?aud=%2A"},
		"records of a sibling":           {repo("app.example.actor.profile", ""), ""},
		"records of the parent":          {repo("app.example.post", ""), ""},
		"records of a namesake":          {repo("app.example.feeds.post", ""), ""},
		"records of another name":        {repo("app.example.feedX.post", ""), ""},
		"records in another spelling":    {repo("App.Example.feed.post", ""), ""},
		"one of two records outside":     {`{"type":"permission","resource":"repo","collection":["app.example.feed.post","app.example.actor.profile"]}`, ""},
		"all records":                    {repo("*", ""), ""},
		"a pattern of records":           {repo("app.example.feed.*", ""), ""},
		"no records":                     {`{"type":"permission","resource":"repo","collection":[]}`, ""},
		"records without a list":         {`{"type":"permission","resource":"repo","collection":"app.example.feed.post"}`, ""},
		"an unknown action":              {repo("app.example.feed.post", `,"action":["create","publish"]`), ""},
		"no action":                      {repo("app.example.feed.post", `,"action":[]`), ""},
		"a null action":                  {repo("app.example.feed.post", `,"action":null`), ""},
		"an unknown restriction":         {repo("app.example.feed.post", `,"onlyOn":"sunday"`), ""},
		"a restriction of methods":       {repo("app.example.feed.post", `,"aud":"*"`), ""},
		"a restriction in capitals":      {repo("app.example.feed.post", `,"Action":["create"]`), ""},
		"a type in capitals":             {`{"Type":"permission","resource":"repo","collection":["app.example.feed.post"]}`, ""},
		"all methods":                    {rpc("*", inherits), ""},
		"methods of others":              {rpc("com.atproto.server.createAccount", `,"aud":"*"`), ""},
		"a method of a service of its":   {rpc("app.example.feed.getFeed", `,"aud":"did:web:evil.example#svc"`), ""},
		"a method of any and inherited":  {rpc("app.example.feed.getFeed", `,"aud":"*","inheritAud":true`), ""},
		"a method of no service":         {rpc("app.example.feed.getFeed", ""), ""},
		"a method of an empty service":   {rpc("app.example.feed.getFeed", `,"aud":"","inheritAud":true`), ""},
		"inheriting by a word":           {rpc("app.example.feed.getFeed", `,"inheritAud":"true"`), ""},
		"files":                          {`{"type":"permission","resource":"blob","accept":["*/*"]}`, ""},
		"the account":                    {`{"type":"permission","resource":"account","attr":"email","action":"manage"}`, ""},
		"the identity":                   {`{"type":"permission","resource":"identity","attr":"*"}`, ""},
		"another set":                    {`{"type":"permission","resource":"include","nsid":"app.example.feed.other"}`, ""},
		"an unknown resource":            {`{"type":"permission","resource":"space","collection":["app.example.feed.post"]}`, ""},
		"another type":                   {`{"type":"prohibition","resource":"repo","collection":["app.example.feed.post"]}`, ""},
		"no object":                      {`"repo:*"`, ""},
		"null":                           {`null`, ""},
		"a scope in place of a name":     {repo("app.example.feed.post repo:*", ""), ""},
		"parameters in place of a name":  {repo("app.example.feed.post?collection=*", ""), ""},
		"a property that is there twice": {repo("app.example.feed.post", `,"collection":["*"]`), ""},
	} {
		// A permission that isn't understood doesn't take others with it.
		want := strings.TrimSpace(test.want + " repo:app.example.feed.other")
		got := expand(t, "include:app.example.feed.auth?aud=did:web:api.example.com%23svc", test.permission, repo("app.example.feed.other", ""))
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := expand(t, "include:app.example.feed.auth", rpc("app.example.feed.getFeed", inherits)); got != "" {
		t.Errorf("a method that inherits no service: %q", got)
	}
	if got := expand(t, "include:app.example.feed.auth?aud=*", rpc("app.example.feed.getFeed", inherits)); got != "include:app.example.feed.auth?aud=*" {
		t.Errorf("a method that inherits any service: %q", got)
	}
}

func TestParsePermissionSetRefuses(t *testing.T) {
	const nsid = "app.example.auth"
	good := string(lexiconOf(nsid, repo("app.example.post", "")))
	replaced := func(old, with string) string {
		doc := strings.Replace(good, old, with, 1)
		if doc == good {
			t.Fatalf("%q isn't in the document", old)
		}
		return doc
	}
	for name, doc := range map[string]string{
		"nothing":              "",
		"no JSON":              "<html>",
		"null":                 "null",
		"an array":             "[]",
		"the set of another":   string(lexiconOf("app.example.other")),
		"a record":             replaced("permission-set", "record"),
		"another version":      replaced(`"lexicon":1`, `"lexicon":2`),
		"a version as text":    replaced(`"lexicon":1`, `"lexicon":"1"`),
		"another collection":   replaced("com.atproto.lexicon.schema", "app.bsky.feed.post"),
		"another definition":   replaced(`"main"`, `"other"`),
		"permissions by name":  replaced(`"permissions":[`, `"permissions":{"a":1},"x":[`),
		"a title of no string": replaced(`"Posts"`, `{}`),
		"too long":             replaced("Write posts", strings.Repeat("x", scope.MaxDocument)),
		"too deep":             replaced(`"Posts"`, strings.Repeat("[", 20000)),
	} {
		if set, err := scope.ParsePermissionSet(nsid, []byte(doc)); set != nil || err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := scope.ParsePermissionSet("App.Example.auth", []byte(good)); err != nil {
		t.Errorf("the name in another spelling: %v", err)
	}
	if _, err := scope.ParsePermissionSet("app.example.Auth", []byte(good)); err == nil {
		t.Error("another name was taken, which differs in its case")
	}
}

func TestTextsOfASet(t *testing.T) {
	const nsid = syntax.NSID("app.example.auth")
	doc := `{"lexicon":1,"id":"app.example.auth","defs":{"main":{"type":"permission-set","title":"Posts\u202e\n\n  and\u0000\u200b more",` +
		`"title:lang":{"de":"Beiträge","pt-BR":"Publicações","no language!":"x","ja":""},"detail":"` + strings.Repeat("ü", 600) + `","permissions":[]}}}`
	set, err := scope.ParsePermissionSet(nsid, []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	info := scope.Describe(scope.Set{"include:app.example.auth"}, scope.Resolved{nsid: set})[0].Set
	for preferred, want := range map[string]string{"de-AT": "Beiträge", "pt-BR": "Publicações", "fr": "Posts and more", "ja": "Posts and more", "en": "Posts and more", "": "Posts and more"} {
		if got, _ := info.Title(language.Make(preferred)); got != want {
			t.Errorf("the title in %q is %q, want %q", preferred, got, want)
		}
	}
	if got, tag := info.Title(language.Japanese, language.German); got != "Beiträge" || tag != language.German {
		t.Errorf("the title in the second language is %q in %v", got, tag)
	}
	detail, tag := info.Detail()
	if runes := []rune(detail); len(runes) != 500 || runes[499] != '…' || tag != language.Und {
		t.Errorf("the detail has %d characters, in %v", len(runes), tag)
	}
}
