package scope_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

func TestDescribe(t *testing.T) {
	all := []string{"create", "update", "delete"}
	read, manage := []string{"read"}, []string{"manage"}
	const appview = "did:web:api.bsky.app#bsky_appview"
	want := []scope.Item{
		{Scope: "atproto", Kind: scope.KindSignIn},
		{Scope: "repo?collection=app.b.d&collection=app.b.c", Kind: scope.KindRepo, Collections: []string{"app.b.c", "app.b.d"}, Actions: all},
		{Scope: "repo:app.b.e?action=delete&action=create", Kind: scope.KindRepo, Collections: []string{"app.b.e"}, Actions: []string{"create", "delete"}},
		{Scope: "blob?accept=video/*&accept=image/png", Kind: scope.KindBlob, Types: []string{"image/png", "video/*"}},
		{Scope: "rpc:app.b.getFeed?aud=*", Kind: scope.KindRPC, Methods: []string{"app.b.getFeed"}, Audience: "*"},
		{Scope: "account:repo", Kind: scope.KindAccount, Attribute: "repo", Actions: read},
		{Scope: "transition:generic", Kind: scope.KindGeneric, Risk: scope.Sensitive},
		{Scope: "repo:*?action=create", Kind: scope.KindRepo, Risk: scope.Sensitive, Collections: []string{"*"}, Actions: []string{"create"}},
		{Scope: "rpc:*?aud=did:web:api.bsky.app%23bsky_appview", Kind: scope.KindRPC, Risk: scope.Sensitive, Methods: []string{"*"}, Audience: appview},
		{Scope: "rpc:Chat.bsky.convo.getLog?aud=*", Kind: scope.KindRPC, Risk: scope.Sensitive, Methods: []string{"Chat.bsky.convo.getLog"}, Audience: "*"},
		{Scope: "rpc:com.atproto.server.createAccount?aud=*", Kind: scope.KindRPC, Risk: scope.Sensitive, Methods: []string{"com.atproto.server.createAccount"}, Audience: "*"},
		{Scope: "transition:chat.bsky", Kind: scope.KindChat, Risk: scope.Sensitive},
		{Scope: "transition:email", Kind: scope.KindAccount, Risk: scope.Sensitive, Attribute: "email", Actions: read},
		{Scope: "account:email", Kind: scope.KindAccount, Risk: scope.Sensitive, Attribute: "email", Actions: read},
		{Scope: "identity:handle", Kind: scope.KindIdentity, Risk: scope.Sensitive, Attribute: "handle"},
		{Scope: "account:email?action=manage", Kind: scope.KindAccount, Risk: scope.Dangerous, Attribute: "email", Actions: manage},
		{Scope: "account:repo?action=manage", Kind: scope.KindAccount, Risk: scope.Dangerous, Attribute: "repo", Actions: manage},
		{Scope: "identity:*", Kind: scope.KindIdentity, Risk: scope.Dangerous, Attribute: "*"},
	}
	var s scope.Set
	for i := range want {
		want[i].Optional = i > 0
		s = append(s, want[i].Scope)
	}
	// In whatever order the client asks, the list is the same but for what is alike.
	got := scope.Describe(append(scope.Set{"unknown:x", "rpc:*?aud=*"}, s...), nil)
	if len(got) != len(want) {
		t.Fatalf("%d items, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(normal(got[i]), normal(want[i])) {
			t.Errorf("item %d is\n%+v, want\n%+v", i, got[i], want[i])
		}
	}
	slices.Reverse(s)
	for i, item := range scope.Describe(s, nil) {
		if item.Risk != want[i].Risk || item.Kind != want[i].Kind {
			t.Errorf("item %d of the reversed scope is %+v", i, item)
		}
	}
	// Each item can be given back to Keep.
	for _, item := range got {
		if kept := s.Keep(scope.Set{item.Scope}); !kept.Contains(item.Scope) || len(kept) > 2 {
			t.Errorf("Keep(%q) = %q", item.Scope, kept)
		}
	}
}

// normal returns an item in which an empty list is nil.
func normal(i scope.Item) scope.Item {
	for _, list := range []*[]string{&i.Collections, &i.Actions, &i.Methods, &i.Types} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	return i
}

func TestDescribeASet(t *testing.T) {
	const svc = "did:web:api.example.com#svc"
	resolved := scope.Resolved{}
	for nsid, permissions := range map[string][]string{
		"app.example.auth": {rpc("app.example.getFeed", `,"inheritAud":true`), repo("app.example.post", ""), repo("com.evil.post", "")},
		"chat.bsky.auth":   {rpc("chat.bsky.convo.getLog", `,"aud":"*"`)},
	} {
		set, err := scope.ParsePermissionSet(parseNSID(t, nsid), lexiconOf(nsid, permissions...))
		if err != nil {
			t.Fatal(err)
		}
		resolved[set.NSID] = set
	}
	got := scope.Describe(parse(t, "atproto include:chat.bsky.auth include:app.example.auth?aud=did:web:api.example.com%23svc include:app.example.gone"), resolved)
	if len(got) != 4 {
		t.Fatalf("items: %+v", got)
	}
	set := got[1]
	if set.Kind != scope.KindSet || set.Risk != scope.Ordinary || !set.Optional || set.Audience != svc || set.Set.NSID != "app.example.auth" {
		t.Errorf("the set is %+v", set)
	}
	if title, _ := set.Set.Title(); title != "Posts" {
		t.Errorf("the title is %q", title)
	}
	contents := set.Set.Contents
	if len(contents) != 2 || contents[0].Scope != "repo:app.example.post" || contents[1].Kind != scope.KindRPC || contents[1].Audience != svc ||
		contents[0].Optional || contents[1].Optional {
		t.Errorf("the contents are %+v", contents)
	}
	if got[2].Scope != "include:app.example.gone" || got[2].Set != nil {
		t.Errorf("the set that wasn't resolved is %+v", got[2])
	}
	if got[3].Scope != "include:chat.bsky.auth" || got[3].Risk != scope.Sensitive {
		t.Errorf("the set with private methods is %+v", got[3])
	}
}
