package handle

import (
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrInvalid is returned when a handle is malformed, has a label of the wrong length, or is
	// refused as offensive. Clients are answered 400 InvalidHandle.
	ErrInvalid = errors.New("handle: invalid handle")
	// ErrNotAvailable is returned when a handle is reserved, is the server's own name, belongs to
	// another account, or is held for one. Clients are answered 400 HandleNotAvailable.
	ErrNotAvailable = errors.New("handle: handle not available")
	// ErrUnsupportedDomain is returned when a new account without a DID of its own asks for a handle
	// that isn't on one of the server's domains. Clients are answered 400 UnsupportedDomain.
	ErrUnsupportedDomain = errors.New("handle: unsupported domain")
	// ErrUnresolved is returned when a handle on a foreign domain doesn't resolve to the DID of the
	// account that asks for it. Clients are answered 400 InvalidRequest.
	ErrUnresolved = errors.New("handle: handle doesn't resolve to the account's DID")
)

var errReserved = refusal.New(ErrNotAvailable, "Reserved handle")

// taken returns the [ErrNotAvailable] for a handle that another account has, or that is held for
// one. It doesn't say which.
func taken(h syntax.Handle) error {
	return refusal.Newf(ErrNotAvailable, "Handle already taken: %s", h)
}

// The shortest and the longest label that an account can have on one of the server's domains.
const (
	minLabel = 3
	maxLabel = 18
)

// Normalize returns a handle as it is stored, in lower case, from any spelling that people type or
// paste (see accounts.NormalizeIdentifier). It returns an [ErrInvalid] if the result isn't a domain
// name of the handle syntax, or if its top-level domain is one that handles can't have (source: the
// atproto handle specification).
func Normalize(raw string) (syntax.Handle, error) { return Parse(typed.Identifier(raw)) }

// Parse is [Normalize] for handles that programs write: it accepts upper case, and no other
// spellings.
func Parse(raw string) (syntax.Handle, error) {
	h, err := syntax.ParseHandle(raw)
	switch {
	case err == nil && !h.AllowedTLD():
		return "", refusal.New(ErrInvalid, "Handle TLD is invalid or disallowed")
	case err == nil:
		return h.Normalize(), nil
	case strings.Trim(raw, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "":
		return "", refusal.New(ErrInvalid, "Invalid characters in handle")
	case len(raw) > 253:
		return "", refusal.New(ErrInvalid, "Handle too long")
	}
	return "", refusal.New(ErrInvalid, "Handle must be a domain name, like alice.example.com")
}
