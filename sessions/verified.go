package sessions

import (
	"crypto/sha256"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cachedTokens is the most tokens of each kind that are remembered.
const cachedTokens = 10_000

// verified remembers what was read of tokens whose signatures were verified by keys that stay the
// same, by the hashes of the tokens. What it holds isn't changed.
type verified[T any] struct{ byHash *lru.Cache[[32]byte, T] }

func newVerified[T any]() (*verified[T], error) {
	l, err := lru.New[[32]byte, T](cachedTokens)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return &verified[T]{l}, nil
}

// read returns what is remembered of a token, or what verify returns, which is remembered if it is
// good and kept returns true. Tokens of more than maxCached bytes are always verified.
func (v *verified[T]) read(raw string, verify func(string) (T, error), kept func(T) bool) (T, error) {
	if len(raw) > maxCached {
		return verify(raw)
	}
	sum := sha256.Sum256([]byte(raw))
	if t, ok := v.byHash.Get(sum); ok {
		return t, nil
	}
	t, err := verify(raw)
	if err == nil && kept(t) {
		v.byHash.Add(sum, t)
	}
	return t, err
}

// add remembers a token that was signed here.
func (v *verified[T]) add(raw string, t T) {
	if len(raw) <= maxCached {
		v.byHash.Add(sha256.Sum256([]byte(raw)), t)
	}
}
