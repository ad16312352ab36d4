// Package refusal pairs a domain's sentinel error with the sentence that a
// client is shown. A sentinel says what kind of refusal it is (and xrpc maps it to a status
// and an error name, once); the sentence is part of the protocol in practice,
// since clients compare it.
package refusal

import "fmt"

// Refusal is an error of a kind, with a text that is safe to show to anyone.
type Refusal struct {
	kind error
	text string
}

// New returns a refusal of a kind (a sentinel error) with a text for the client.
func New(kind error, text string) error { return &Refusal{kind, text} }

// Newf is New with a format.
func Newf(kind error, format string, args ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

// Error returns the text for the client.
func (r *Refusal) Error() string { return r.text }

// PublicMessage returns the text for the client. An embedder's own errors may have this
// method too.
func (r *Refusal) PublicMessage() string { return r.text }

// Unwrap returns the kind.
func (r *Refusal) Unwrap() error { return r.kind }
