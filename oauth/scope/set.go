package scope

import (
	"slices"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// MaxLength is the longest scope that a client may ask for, in bytes. Permission sets are there to
// keep scopes short, but a client may also list a hundred permissions.
const MaxLength = 8 << 10

// The scopes that aren't permissions in the syntax of the permission specification.
const (
	// Atproto is the scope of signing in. Every scope contains it.
	Atproto = "atproto"
	// TransitionGeneric allows what an app password allows: to write all records, upload all files
	// and call all methods of other services, except for direct messages.
	TransitionGeneric = "transition:generic"
	// TransitionChat allows to read and write direct messages.
	TransitionChat = "transition:chat.bsky"
	// TransitionEmail allows to see the e-mail address.
	TransitionEmail = "transition:email"
)

// Set is a scope: a list of elements such as "repo:app.bsky.feed.post", in the order in which the
// client wrote them. No two elements mean the same.
type Set []string

// Parse splits the scope of a request, and drops what is repeated. Error: [ErrScope], if the scope
// breaks the syntax of RFC 6749, section 3.3, is longer than [MaxLength], or lacks "atproto".
func Parse(raw string) (Set, error) {
	if len(raw) > MaxLength {
		return nil, refusal.Newf(ErrScope, "The scope is longer than %d bytes", MaxLength)
	}
	for element := range strings.SplitSeq(raw, " ") {
		if element == "" {
			return nil, refusal.New(ErrScope, "The scope must be a list of words with a single space between them")
		}
		if !printable(element) {
			return nil, refusal.New(ErrScope, "The scope contains a character that isn't allowed in scopes")
		}
	}
	s := unique(strings.Split(raw, " "))
	if !slices.Contains(s, Atproto) {
		return nil, refusal.New(ErrScope, `The scope must contain "atproto"`)
	}
	return s, nil
}

// printable reports whether a text consists of characters that an element of a scope may have
// (source: RFC 6749, section 3.3).
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// unique returns elements as a Set. Of those that mean the same, it keeps the first.
func unique(elements []string) Set {
	s := make(Set, 0, len(elements))
	seen := make(map[string]bool, len(elements))
	for _, e := range elements {
		if n := normalize(e); !seen[n] {
			seen[n] = true
			s = append(s, e)
		}
	}
	return s
}

// String returns the set as the scope parameter of a request: see [Parse].
func (s Set) String() string { return strings.Join(s, " ") }

// Contains reports whether the set has an element, in this or in another spelling: repo:a.b.c and
// repo?collection=a.b.c are the same.
func (s Set) Contains(element string) bool {
	n := normalize(element)
	return slices.ContainsFunc(s, func(e string) bool { return e == element || normalize(e) == n })
}

// Subset reports whether all elements of the set are in another one, in any spelling.
func (s Set) Subset(of Set) bool { return len(s.Without(of)) == 0 }

// Without returns the set without the elements of another one, in any spelling. Of a requested
// scope it tells what the client's document doesn't declare.
func (s Set) Without(other Set) Set {
	drop := other.normalized()
	return s.filter(func(e string) bool { return !drop[normalize(e)] })
}

// Keep returns the elements of the set that are in another one, in any spelling, and "atproto" if
// the set has it. It is what remains of a requested scope if the account's owner keeps only the
// ticked permissions; elements of ticked that weren't asked for count for nothing.
func (s Set) Keep(ticked Set) Set {
	keep := ticked.normalized()
	return s.filter(func(e string) bool { return e == Atproto || keep[normalize(e)] })
}

// With returns the set with the elements of another one added at its end.
func (s Set) With(other Set) Set { return unique(slices.Concat(s, other)) }

func (s Set) filter(keep func(string) bool) Set {
	kept := make(Set, 0, len(s))
	for _, e := range s {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// normalized returns the normal forms of all elements.
func (s Set) normalized() map[string]bool {
	all := make(map[string]bool, len(s))
	for _, e := range s {
		all[normalize(e)] = true
	}
	return all
}
