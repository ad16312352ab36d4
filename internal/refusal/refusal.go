// Package refusal makes errors that combine a sentinel error of a domain with the message that the
// client is shown. The sentinel is the kind of refusal, which package xrpc maps to a status and an
// error name. The message is part of the protocol in practice, since clients compare it.
package refusal

import "fmt"

// Refusal is an error of some kind with a message that may be shown to anyone.
type Refusal struct {
	kind error
	text string
}

// New returns a refusal of a kind, which is a sentinel error, with a message for the client.
func New(kind error, text string) error { return &Refusal{kind, text} }

// Newf is like New, with a message made from a format.
func Newf(kind error, format string, args ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

// Error returns the message for the client.
func (r *Refusal) Error() string { return r.text }

// PublicMessage returns the message for the client. Embedders' own errors may have this method too.
func (r *Refusal) PublicMessage() string { return r.text }

// Unwrap returns the kind of the refusal.
func (r *Refusal) Unwrap() error { return r.kind }
