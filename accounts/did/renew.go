package did

import "github.com/bluesky-social/indigo/atproto/syntax"

// Renew makes the next Resolve ask anew if what is remembered of a DID is old enough to be wrong, and reports
// whether it did.
func (r *Resolver) Renew(id syntax.DID) bool {
	r.Forget(id)
	return true
}
