package web

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// TestPermissionsInWords says for each kind of scope what people read.
func TestPermissionsInWords(t *testing.T) {
	set, err := pages.New(pages.Config{AssetPath: "/a/"})
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{lang: set.Language()}
	for element, want := range map[string]struct{ icon, title, detail string }{
		"atproto":                                             {"person", "Know who you are", "It learns your handle"},
		"transition:generic":                                  {"service", "Do almost everything in your name", "This alone doesn’t let it read direct messages"},
		"transition:chat.bsky":                                {"chat", "Read and send your direct messages", "All your conversations"},
		"transition:email":                                    {"mail", "See your e-mail address", ""},
		"account:email":                                       {"mail", "See your e-mail address", ""},
		"account:email?action=manage":                         {"mail", "See and manage your e-mail address", "can reset your password"},
		"account:repo?action=manage":                          {"write", "Replace everything you have published", "overwrite"},
		"account:repo":                                        {"person", "See “repo” of your account", ""},
		"identity:handle":                                     {"identity", "Change your handle", "find you"},
		"identity:*":                                          {"identity", "Control your identity", "for good"},
		"repo:app.bsky.feed.post":                             {"write", "Publish, change and delete posts", ""},
		"repo:app.bsky.feed.post?action=create":               {"write", "Publish new posts", ""},
		"repo:app.bsky.actor.profile?action=update":           {"write", "Change your profile", ""},
		"repo:app.bsky.feed.like?action=delete":               {"write", "Delete your likes", ""},
		"repo:app.bsky.feed.like?action=create&action=delete": {"write", "Publish and delete likes", ""},
		"repo?collection=app.bsky.feed.like&collection=app.bsky.feed.post&collection=com.example.x": {"write", "Publish, change and delete likes, posts and “com.example.x” records", ""},
		"repo?collection=a.b.c&collection=a.b.d&collection=a.b.e&collection=a.b.f":                  {"write", "Publish, change and delete records of 4 kinds", ""},
		"repo:*":                               {"write", "Publish, change and delete records of every kind", "All that you publish"},
		"blob:*/*":                             {"file", "Upload files", ""},
		"blob:image/*":                         {"file", "Upload images", ""},
		"blob:video/mp4":                       {"file", "Upload videos", ""},
		"blob?accept=audio/*&accept=image/png": {"file", "Upload files of these kinds: audio/* and image/png", ""},
		"rpc:app.bsky.feed.getFeed?aud=did:web:api.bsky.app%23bsky_appview":      {"service", "Use the service api.bsky.app in your name", "For one purpose: app.bsky.feed.getFeed."},
		"rpc:app.bsky.feed.getFeed?aud=*":                                        {"service", "Use services of its choice in your name", "For one purpose"},
		"rpc:*?aud=did:web:api.bsky.app%23bsky_appview":                          {"service", "Use the service api.bsky.app in your name", "Everything that the service offers"},
		"rpc?lxm=a.b.c&lxm=a.b.d&aud=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa%23service": {"service", "Use the service did:plc:aaaaaaaaaaaaaaaaaaaaaaaa in your name", "For 2 purposes."},
		"include:com.example.basics":                                             {"set", "“com.example.basics”", ""},
	} {
		items := scope.Describe(scope.Set{element}, nil)
		if len(items) != 1 {
			t.Errorf("%s: %d items", element, len(items))
			continue
		}
		p := v.permission(items[0])
		if p.Icon != want.icon || p.Title != want.title || !strings.Contains(p.Detail, want.detail) || want.detail == "" && p.Detail != "" {
			t.Errorf("%s: %s %q %q, want %v", element, p.Icon, p.Title, p.Detail, want)
		}
		if p.Scope != element || p.Optional != (element != "atproto") {
			t.Errorf("%s: %v", element, p)
		}
	}
	if p := v.permission(scope.Item{Kind: "later", Scope: "later:x"}); p.Title != "later:x" {
		t.Errorf("a kind of a later version: %v", p)
	}
	many := scope.Describe(scope.Set{"rpc?lxm=a.b.c&lxm=a.b.d&aud=*"}, nil)
	if p := v.permission(many[0]); !slices.Equal(p.Parts, []string{"a.b.c", "a.b.d"}) {
		t.Errorf("the parts: %v", p.Parts)
	}
}
