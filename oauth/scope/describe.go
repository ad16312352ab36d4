package scope

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/text/language"
)

// Kind says what an [Item] is about.
type Kind string

// The kinds of items.
const (
	// KindSignIn is signing in: the application learns who the account is.
	KindSignIn Kind = "sign-in"
	// KindGeneric is what an app password allows ([TransitionGeneric]).
	KindGeneric Kind = "generic"
	// KindChat is reading and writing direct messages ([TransitionChat]).
	KindChat Kind = "chat"
	// KindRepo is writing the records of Item.Collections, in the ways of Item.Actions.
	KindRepo Kind = "repo"
	// KindBlob is uploading files of Item.Types.
	KindBlob Kind = "blob"
	// KindRPC is calling Item.Methods of the service Item.Audience in the account's name.
	KindRPC Kind = "rpc"
	// KindAccount is reading or managing Item.Attribute of the account: "email" (also
	// [TransitionEmail]) or "repo", the repository as a whole. Item.Actions is "read" or "manage".
	KindAccount Kind = "account"
	// KindIdentity is changing Item.Attribute of the account's identity: "handle", or "*" for the
	// whole DID document.
	KindIdentity Kind = "identity"
	// KindSet is a permission set, which Item.Set describes.
	KindSet Kind = "set"
)

// Risk says how much harm an application could do with a permission. Risks are ordered.
type Risk int

// The risks.
const (
	// Ordinary is what applications usually need. It concerns public data of one kind.
	Ordinary Risk = iota
	// Sensitive is access to private data, or to everything of its kind.
	Sensitive
	// Dangerous is what can take the account away from its owner, or replace its data as a whole.
	Dangerous
)

// Item is one thing that a scope allows, as data that a page puts in words. Only the fields of its
// kind are set.
type Item struct {
	// Scope is the element of the scope, for [Set.Keep]. In the contents of a permission set it is
	// what the set stands for, which can't be granted alone.
	Scope string
	// Kind is what the item is about.
	Kind Kind
	// Risk is how much harm could be done with it. That of a permission set is the greatest in it.
	Risk Risk
	// Optional items may be refused singly.
	Optional bool
	// Collections are the NSIDs of kinds of records, or "*" for all.
	Collections []string
	// Actions are "create", "update" and "delete" for records, "read" or "manage" for the account.
	Actions []string
	// Methods are the NSIDs of methods, or "*" for all.
	Methods []string
	// Audience is the service whose methods may be called (did#service), or "*" for any service. For a
	// permission set it is the one that the client named, or "".
	Audience string
	// Types are MIME types such as "image/png", or patterns such as "image/*".
	Types []string
	// Attribute is a part of the account or of the identity.
	Attribute string
	// Set is the permission set. It is nil if the set wasn't resolved.
	Set *SetInfo
}

// SetInfo describes a permission set. Those who published it have written its texts, which may
// claim anything: show its NSID, and at least on demand its contents, beside them.
type SetInfo struct {
	// NSID is the name of the set. Its authority, reversed, is the domain that published it.
	NSID syntax.NSID
	// Contents is what the set allows.
	Contents []Item

	title, detail texts
}

// Title returns the title in the first of some languages that there is, otherwise the one without a
// language, and the language of the text ([language.Und] if not known). It is plain text of one
// line and at most 100 characters, and "" if there is none.
func (s *SetInfo) Title(preferred ...language.Tag) (string, language.Tag) {
	return s.title.in(preferred)
}

// Detail is like Title, for a description of at most 500 characters.
func (s *SetInfo) Detail(preferred ...language.Tag) (string, language.Tag) {
	return s.detail.in(preferred)
}

// Describe lists what a scope allows: signing in first, then by risk, the most dangerous last, so
// that what is risky is together, and then by kind. Elements that aren't known ([Set.Known]) are
// left out. The sets are those of [Sets.Resolve].
func Describe(s Set, sets Resolved) []Item {
	items := make([]Item, 0, len(s))
	for _, e := range s {
		item, known := describe(e, sets)
		if known {
			item.Optional = item.Kind != KindSignIn
			items = append(items, item)
		}
	}
	order(items)
	return items
}

// kinds are all kinds, in the order in which they are listed.
var kinds = []Kind{KindSignIn, KindSet, KindGeneric, KindRepo, KindBlob, KindRPC, KindChat, KindAccount, KindIdentity}

func order(items []Item) {
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Risk, b.Risk), cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)))
	})
}

// describe describes one element.
func describe(element string, sets Resolved) (Item, bool) {
	switch element {
	case Atproto:
		return Item{Scope: element, Kind: KindSignIn}, true
	case TransitionGeneric:
		return Item{Scope: element, Kind: KindGeneric, Risk: Sensitive}, true
	case TransitionChat:
		return Item{Scope: element, Kind: KindChat, Risk: Sensitive}, true
	case TransitionEmail:
		return Item{Scope: element, Kind: KindAccount, Risk: Sensitive, Attribute: "email", Actions: []string{"read"}}, true
	}
	p, known := parse(element)
	if !known {
		return Item{}, false
	}
	item := Item{
		Scope: element, Kind: Kind(p.Resource), Risk: risk(p), Collections: p.Collection, Methods: p.Endpoint,
		Audience: p.Audience, Types: p.Accept, Attribute: p.Attribute, Actions: p.Action,
	}
	switch p.Resource {
	case "repo":
		item.Actions = slices.DeleteFunc(slices.Clone(actions), func(a string) bool { // in the usual order
			return len(p.Action) > 0 && !slices.Contains(p.Action, a)
		})
	case "account":
		item.Actions = []string{"read"}
		if manages(p) {
			item.Actions = []string{"manage"}
		}
	case "include":
		item.Kind = KindSet
		if set := sets[syntax.NSID(p.NSID)]; set != nil {
			item.Set = set.info(p.Audience)
			for _, c := range item.Set.Contents {
				item.Risk = max(item.Risk, c.Risk)
			}
		}
	}
	return item, true
}

// info describes a permission set that is included with an audience.
func (s *PermissionSet) info(audience string) *SetInfo {
	info := &SetInfo{NSID: s.NSID, title: s.title, detail: s.detail}
	for _, e := range s.elements(audience) {
		if item, known := describe(e, nil); known {
			info.Contents = append(info.Contents, item)
		}
	}
	order(info.Contents)
	return info
}

// risk returns the risk of a permission.
func risk(p *auth.Permission) Risk {
	switch {
	case p.Resource == "identity" && p.Attribute == "*",
		p.Resource == "account" && manages(p):
		return Dangerous
	case p.Resource == "identity",
		p.Resource == "account" && p.Attribute == "email",
		slices.Contains(p.Collection, "*"),
		slices.ContainsFunc(p.Endpoint, private):
		return Sensitive
	}
	return Ordinary
}

// manages reports whether a permission for the account is one to change it.
func manages(p *auth.Permission) bool { return slices.Contains(p.Action, "manage") }

// sensitive are the beginnings of methods that give access to private data, or to the account
// itself: those of direct messages, of moderators, and of servers.
var sensitive = []string{"chat.bsky.", "tools.ozone.", "com.atproto.admin.", "com.atproto.identity.", "com.atproto.server."}

// private reports whether a method, or "*", is one of those.
func private(method string) bool {
	method = strings.ToLower(method)
	return method == "*" || slices.ContainsFunc(sensitive, func(prefix string) bool { return strings.HasPrefix(method, prefix) })
}
