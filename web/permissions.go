package web

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// permissionID returns the id of an element of the consent page.
func permissionID(i int) string { return fmt.Sprintf("scope-%d", i+1) }

// permission puts what a scope allows in words.
func (v *visit) permission(item scope.Item) pages.Permission {
	p := pages.Permission{Scope: item.Scope, Optional: item.Optional}
	t := v.lang.Text
	switch item.Kind {
	case scope.KindSignIn:
		p.Icon, p.Title, p.Detail = "person", t("permission.sign-in"), t("permission.sign-in.detail")
	case scope.KindGeneric:
		p.Icon, p.Title, p.Detail = "service", t("permission.generic"), t("permission.generic.detail")
	case scope.KindChat:
		p.Icon, p.Title, p.Detail = "chat", t("permission.chat"), t("permission.chat.detail")
	case scope.KindRepo:
		v.describeRecords(&p, item)
	case scope.KindBlob:
		v.describeFiles(&p, item)
	case scope.KindRPC:
		v.describeService(&p, item)
	case scope.KindAccount:
		v.describeAccount(&p, item)
	case scope.KindIdentity:
		p.Icon, p.Title, p.Detail = "identity", t("permission.handle"), t("permission.handle.detail")
		if item.Attribute != "handle" {
			p.Title, p.Detail = t("permission.identity"), t("permission.identity.detail")
		}
	case scope.KindSet:
		v.describeSet(&p, item)
	default:
		p.Icon, p.Title = "service", item.Scope
	}
	return p
}

// writing are the texts for what can be done with records, by the actions.
var writing = map[string]string{
	"create": "permission.write.create", "update": "permission.write.update", "delete": "permission.write.delete",
	"create update": "permission.write.create-update", "create delete": "permission.write.create-delete",
	"update delete": "permission.write.update-delete", "create update delete": "permission.write.create-update-delete",
}

// collections are the names of well-known kinds of records.
var collections = map[string]string{
	"app.bsky.feed.post": "collection.posts", "app.bsky.feed.like": "collection.likes", "app.bsky.feed.repost": "collection.reposts",
	"app.bsky.graph.follow": "collection.follows", "app.bsky.graph.block": "collection.blocks", "app.bsky.graph.list": "collection.lists",
	"app.bsky.graph.listitem": "collection.list-items", "app.bsky.actor.profile": "collection.profile",
	"app.bsky.feed.generator": "collection.feeds", "app.bsky.feed.threadgate": "collection.thread-gates",
	"app.bsky.feed.postgate": "collection.post-gates", "app.bsky.graph.starterpack": "collection.starter-packs",
}

// maxNamed is how many kinds of records a title names.
const maxNamed = 3

func (v *visit) describeRecords(p *pages.Permission, item scope.Item) {
	p.Icon, p.Parts = "write", item.Collections
	var what string
	switch {
	case slices.Contains(item.Collections, "*"):
		what, p.Detail, p.Parts = v.lang.Text("permission.write.everything"), v.lang.Text("permission.write.everything.detail"), nil
	case len(item.Collections) > maxNamed:
		what = v.lang.Text("permission.write.kinds", len(item.Collections))
	default:
		var names []string
		for _, c := range item.Collections {
			if key, ok := collections[c]; ok {
				names = append(names, v.lang.Text(key))
			} else {
				names = append(names, v.lang.Text("permission.write.kind", c))
			}
		}
		what = v.list(names)
	}
	key := writing[strings.Join(item.Actions, " ")]
	if key == "" {
		key = "permission.write.create-update-delete"
	}
	p.Title = v.lang.Text(key, what)
}

func (v *visit) describeFiles(p *pages.Permission, item scope.Item) {
	p.Icon, p.Title = "file", v.lang.Text("permission.blob")
	all := func(prefix string) bool {
		return !slices.ContainsFunc(item.Types, func(t string) bool { return !strings.HasPrefix(t, prefix) })
	}
	switch {
	case len(item.Types) == 0, slices.Contains(item.Types, "*/*"):
	case all("image/"):
		p.Title = v.lang.Text("permission.blob.images")
	case all("video/"):
		p.Title = v.lang.Text("permission.blob.videos")
	default:
		p.Title = v.lang.Text("permission.blob.types", v.list(item.Types))
	}
}

func (v *visit) describeService(p *pages.Permission, item scope.Item) {
	p.Icon, p.Title = "service", v.lang.Text("permission.rpc.any")
	if item.Audience != "*" {
		p.Title = v.lang.Text("permission.rpc", serviceName(item.Audience))
	}
	if slices.Contains(item.Methods, "*") {
		p.Detail = v.lang.Text("permission.rpc.everything")
		return
	}
	p.Detail, p.Parts = v.lang.Text("permission.rpc.detail", len(item.Methods), strings.Join(item.Methods, ", ")), item.Methods
	if len(item.Methods) == 1 {
		p.Parts = nil // the detail says it already
	}
}

// serviceName returns the host name of a service that is named by a did:web, otherwise its DID.
func serviceName(audience string) string {
	did, _, _ := strings.Cut(audience, "#")
	if host, ok := strings.CutPrefix(did, "did:web:"); ok {
		return host
	}
	return did
}

func (v *visit) describeAccount(p *pages.Permission, item scope.Item) {
	manage := slices.Contains(item.Actions, "manage")
	switch {
	case item.Attribute == "email" && manage:
		p.Icon, p.Title, p.Detail = "mail", v.lang.Text("permission.email.manage"), v.lang.Text("permission.email.manage.detail")
	case item.Attribute == "email":
		p.Icon, p.Title = "mail", v.lang.Text("permission.email.read")
	case item.Attribute == "repo" && manage:
		p.Icon, p.Title, p.Detail = "write", v.lang.Text("permission.repo.manage"), v.lang.Text("permission.repo.manage.detail")
	case manage:
		p.Icon, p.Title = "person", v.lang.Text("permission.account.other", item.Attribute)
	default:
		p.Icon, p.Title = "person", v.lang.Text("permission.account.read", item.Attribute)
	}
}

// describeSet describes a permission set in the words of whoever published it, as theirs, with what
// it allows below.
func (v *visit) describeSet(p *pages.Permission, item scope.Item) {
	p.Icon = "set"
	if item.Set == nil { // it wasn't resolved, which consent isn't asked for
		name, _, _ := strings.Cut(strings.TrimPrefix(item.Scope, "include:"), "?")
		p.Title = v.lang.Text("permission.set", name)
		return
	}
	publisher := item.Set.NSID.Authority()
	title, _ := item.Set.Title(v.lang.Tag())
	if title == "" {
		title = item.Set.NSID.String()
	}
	p.Title = v.lang.Text("permission.set", title)
	if detail, _ := item.Set.Detail(v.lang.Tag()); detail != "" {
		p.Detail = v.lang.Text("permission.set.detail-text", publisher, detail)
	} else {
		p.Detail = v.lang.Text("permission.set.detail", publisher)
	}
	p.Parts = append(p.Parts, item.Set.NSID.String())
	for _, part := range item.Set.Contents {
		inside := v.permission(part)
		p.Parts = append(p.Parts, inside.Title+partsOf(inside))
	}
}

// partsOf returns the technical names of what a permission covers, in parentheses.
func partsOf(p pages.Permission) string {
	if len(p.Parts) == 0 {
		return ""
	}
	return " (" + strings.Join(p.Parts, ", ") + ")"
}

// list joins words as a sentence does.
func (v *visit) list(words []string) string {
	if len(words) == 0 {
		return ""
	}
	text := words[0]
	for i, w := range words[1:] {
		key := "page.comma"
		if i == len(words)-2 {
			key = "page.and"
		}
		text = v.lang.Text(key, text, w)
	}
	return text
}

// maxName is the most characters of a client's name that are shown.
const maxName = 80

// tidyName makes what a client calls itself one short line, without characters that can't be seen
// or that change the direction of the text around them.
func tidyName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, refusal.Clean(name))
	runes := []rune(strings.Join(strings.Fields(name), " "))
	if len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return string(runes)
}
