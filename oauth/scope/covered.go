package scope

import (
	"slices"

	"github.com/gatehouse-at/gatehouse/sessions"
)

// CoveredBy reports whether the set asks for no more than another one grants: each element is one
// of the other, in any spelling, or a permission that those of the other include, as repo:*
// includes repo:app.bsky.feed.post?action=create. It decides about a narrower scope at a refresh
// (source: RFC 6749, section 6).
//
// A permission set is covered only by itself. What is in a permission set of the other one counts
// if it is there as well: compare with granted.With(expanded).
func (s Set) CoveredBy(other Set) bool {
	granted := other.normalized()
	var all, listed sessions.Permissions
	computed := false
	for _, e := range s {
		if granted[normalize(e)] {
			continue
		}
		p, known := parse(e)
		if !known {
			return false
		}
		if !computed {
			computed = true
			all = permissions(other)
			listed = permissions(other.filter(func(e string) bool { return !plain(e) }))
		}
		by := all
		if slices.Contains(p.Endpoint, "*") {
			// A transition scope stands for the methods of some names. It doesn't include "all methods".
			by = listed
		}
		if !by.Allow(sessions.Permission(e)) {
			return false
		}
	}
	return true
}

// permissions returns what the known elements of a set allow.
func permissions(s Set) sessions.Permissions {
	allowed, err := sessions.OAuthPermissions(Set{Atproto}.With(s.Known()).String())
	if err != nil {
		return sessions.Permissions{}
	}
	return allowed
}
