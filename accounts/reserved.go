package accounts

import (
	_ "embed"
	"strings"
	"sync"
)

// reserved.txt lists words that would let their owner pass for the server or for someone
// well known, or whose host name means something to machines (RFC 2142, RFC 6761,
// RFC 8461 and the like). One on each line, sorted, without hyphens.
//
//go:embed reserved.txt
var reservedList string

var reservedWords = sync.OnceValue(func() map[string]bool { return wordSet(reservedList) })

// reserved reports whether a label in lower case is a reserved word, with or without
// hyphens in it.
func reserved(label string) bool {
	return reservedWords()[strings.ReplaceAll(label, "-", "")]
}

// wordSet reads a list of words, one on each line.
func wordSet(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.Lines(list) {
		set[strings.TrimSpace(word)] = true
	}
	return set
}
