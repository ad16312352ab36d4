package dpop

import (
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/token"
)

// Nonces are the values that a server gives out for clients to put into their proofs, so that a
// proof can't be made long before it is used. A nonce is a keyed hash of the minute. Nothing is
// stored: processes that share the secret take each other's nonces, also after a restart.
type Nonces struct{ secret []byte }

// NewNonces returns the nonces of a secret, which should have 32 bytes.
func NewNonces(secret []byte) *Nonces { return &Nonces{slices.Clone(secret)} }

// A nonce is taken in the minute in which it is given out and in two more, and one minute before if
// the clock of another process is ahead.
const (
	noncePeriod = time.Minute
	nonceBefore = 1
	nonceAfter  = 2
)

// Current returns the nonce to give out now.
func (n *Nonces) Current(now time.Time) string { return n.of(minute(now)) }

// Good reports whether a nonce is one that is taken now.
func (n *Nonces) Good(nonce string, now time.Time) bool {
	for m := minute(now) + nonceBefore; m >= minute(now)-nonceAfter; m-- {
		if token.Equal(nonce, n.of(m)) {
			return true
		}
	}
	return false
}

func minute(now time.Time) int64 { return now.Unix() / int64(noncePeriod/time.Second) }

func (n *Nonces) of(minute int64) string {
	return token.Hash(n.secret, "dpop-nonce", strconv.FormatInt(minute, 10))
}
