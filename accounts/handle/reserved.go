package handle

import (
	"context"
	_ "embed"
	"strings"
)

// reserved.txt lists words that would let their owner pass for the server or for somebody well
// known, or whose host name means something to machines (RFC 2142, RFC 6761, RFC 8461 and the
// like): one on each line, sorted, in lower case, without hyphens.
//
//go:embed reserved.txt
var reservedList string

// ReservedWords returns the words that [DefaultPolicy] reserves, sorted, in lower case and without
// hyphens: names that pass for the server (admin), that mean something to machines (www), and those
// of well-known companies. Pass them to [NotReserved] with changes of your own.
func ReservedWords() []string { return strings.Fields(reservedList) }

// NotReserved returns a [Policy] that refuses labels on the server's domains that are one of the
// words, with or without hyphens in them, as an [ErrNotAvailable]. The words may have hyphens and
// capitals.
func NotReserved(words ...string) Policy {
	reserved := make(map[string]bool, len(words))
	for _, word := range words {
		reserved[plainWord(word)] = true
	}
	return func(_ context.Context, c Candidate) error {
		// A label that is too long is refused as such, whatever it spells.
		if c.Hosted() && len(c.Label) <= maxLabel && reserved[plainWord(c.Label)] {
			return errReserved
		}
		return nil
	}
}

// plainWord returns a word in lower case, without hyphens.
func plainWord(word string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(word), "-", ""))
}
