package handle

import (
	"context"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Policy decides whether accounts may have a handle, by what it says: reserved words, offensive
// words, names of known people. It returns nil if they may. It isn't asked when an admin gives a
// handle to an account.
//
// A refusal is an [ErrNotAvailable] or an [ErrInvalid] with a text for clients, as accounts.Refuse
// makes it. Over HTTP, any other error with a method PublicMessage() string is a 400 with that
// text; the check of availability takes all of these for a handle that isn't available. An error
// without such a text means that the policy failed: it is logged, and clients are answered 500
// without detail (or 503 if it is the error of a context that has ended).
//
// A Policy is called before sign-ups, before changes of handles, and for checks of availability,
// which also ask it about up to nine handles that might be suggested. It is called outside
// transactions, so it may use the services of the server and the network; it is to return when ctx
// ends. It is called concurrently.
type Policy func(ctx context.Context, c Candidate) error

// Candidate is a handle that somebody asks for, as a [Policy] sees it.
type Candidate struct {
	// Handle is the whole handle. It is valid and in lower case.
	Handle syntax.Handle
	// Domain is the server's domain that the handle is on, such as ".example.com". It is empty for a
	// handle on a foreign domain.
	Domain string
	// Label is what the handle has before Domain, and is empty for a handle on a foreign domain. The
	// policy comes before the check of labels, so this one may still be too short or too long, or
	// contain dots.
	Label string
	// DID is the DID of the account that asks for the handle. It is empty for a new account, except
	// for one that brings its DID along.
	DID syntax.DID
}

// Hosted reports whether the handle is on one of the server's domains.
func (c Candidate) Hosted() bool { return c.Domain != "" }

// DefaultPolicy is the [Policy] of a server that has none of its own: [NotOffensive], then
// [NotReserved] with the [ReservedWords]. Wrap it to refuse more.
func DefaultPolicy(ctx context.Context, c Candidate) error {
	if err := NotOffensive(ctx, c); err != nil {
		return err
	}
	return reservedByDefault()(ctx, c)
}

var reservedByDefault = sync.OnceValue(func() Policy { return NotReserved(ReservedWords()...) })
