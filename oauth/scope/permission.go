package scope

import (
	"reflect"
	"slices"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// actions are what repo permissions allow to do with records, in the order in which they are shown.
var actions = []string{"create", "update", "delete"}

// Known returns the set without the elements that this server doesn't understand, which allow
// nothing: they may belong to a later version of the protocol. It keeps "atproto", the three
// transition scopes, and permissions of the resources of https://atproto.com/specs/permission.
// Permissions for everything, such as "rpc:*?aud=*", aren't understood.
func (s Set) Known() Set {
	return s.filter(func(e string) bool {
		if plain(e) {
			return true
		}
		_, known := parse(e)
		return known
	})
}

// plain reports whether an element is one of the scopes that aren't permissions.
func plain(element string) bool {
	switch element {
	case Atproto, TransitionGeneric, TransitionChat, TransitionEmail:
		return true
	}
	return false
}

// parse parses a permission, and returns it in its normal form: lists are sorted and without
// doubles, and what says no more than the default is left out.
func parse(element string) (*auth.Permission, bool) {
	if !printable(element) {
		return nil, false
	}
	p, err := auth.ParsePermissionString(element)
	if err != nil {
		return nil, false
	}
	for _, list := range []*[]string{&p.Accept, &p.Action, &p.Collection, &p.Endpoint} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		// Values were percent-encoded in the element, and a space in one would begin the next element.
		if slices.ContainsFunc(*list, func(v string) bool { return !printable(v) }) {
			return nil, false
		}
	}
	if !printable(p.Audience) {
		return nil, false
	}
	switch p.Resource {
	case "repo":
		if len(p.Action) == 0 || len(p.Action) == len(actions) {
			p.Action = nil
		}
	case "account":
		if slices.Equal(p.Action, []string{"read"}) {
			p.Action = nil
		}
	case "include":
		// The audience of a permission set is one service (source: the reference server).
		if p.Audience == "*" {
			return nil, false
		}
		p.NSID = syntax.NSID(p.NSID).Normalize().String()
	}
	return p, true
}

// normalize returns the spelling of an element by which it is compared. Elements that aren't
// permissions have only one.
func normalize(element string) string {
	p, known := parse(element)
	if !known {
		return element
	}
	written, ok := write(p)
	if !ok {
		return element
	}
	return written
}

// write writes a permission of parse as an element of a scope. It reports false if the permission
// can't be written so that it reads as the same: the positional part of an element isn't escaped.
func write(p *auth.Permission) (string, bool) {
	written := p.ScopeString()
	again, known := parse(written)
	return written, known && reflect.DeepEqual(p, again)
}
