package accounts

import (
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// Errors about handles.
var (
	// ErrInvalidHandle says that a handle is malformed, too short, too long or offensive.
	ErrInvalidHandle = errors.New("accounts: invalid handle")
	// ErrHandleNotAvailable says that a handle is reserved, belongs to another account, or is held
	// for the account that had it.
	ErrHandleNotAvailable = errors.New("accounts: handle not available")
	// ErrUnsupportedDomain says that a new account's handle isn't on one of the server's domains.
	ErrUnsupportedDomain = errors.New("accounts: unsupported handle domain")
)

// The lengths of the label that users choose on the server's domains.
const (
	minLabel = 3
	maxLabel = 18
)

// NormalizeHandle returns a handle as it is stored, in lower case, from any spelling that
// [NormalizeIdentifier] understands. It is an [ErrInvalidHandle] if that isn't a domain name of
// atproto's handle syntax or its top-level domain can't be used (source: the atproto handle
// specification).
func NormalizeHandle(raw string) (syntax.Handle, error) {
	return parseHandle(NormalizeIdentifier(raw))
}

// parseHandle is NormalizeHandle for handles that programs write, without their other spellings.
func parseHandle(raw string) (syntax.Handle, error) {
	h, err := syntax.ParseHandle(raw)
	switch {
	case err == nil && !h.AllowedTLD():
		return "", refusal.New(ErrInvalidHandle, "Handle TLD is invalid or disallowed")
	case err == nil:
		return h.Normalize(), nil
	case strings.Trim(raw, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "":
		return "", refusal.New(ErrInvalidHandle, "Invalid characters in handle")
	case len(raw) > 253:
		return "", refusal.New(ErrInvalidHandle, "Handle too long")
	}
	return "", refusal.New(ErrInvalidHandle, "Handle must be a domain name, like alice.example.com")
}

// HandlePolicy says which handles accounts may have.
type HandlePolicy struct {
	// Domains are those that are hosted here, written like ".example.com".
	Domains []string
	// AllowPunycode allows labels on the hosted domains that begin with "xn--". They are shown as
	// other letters than they are written with, and so can look like somebody else's handle.
	AllowPunycode bool
	// Override lets reserved, offensive and punycode handles pass, for admins.
	Override bool
}

// CheckHandle returns a handle as [NormalizeHandle] does if an account may have it, and whether it
// is hosted, which is to say on one of the server's domains. On those it is one label of 3 to 18
// characters that isn't reserved. Whether a handle on another domain is its owner's can only be
// found out by resolving it, which the caller does. Whether a handle is taken isn't looked at.
//
// Errors: [ErrInvalidHandle], [ErrHandleNotAvailable].
func CheckHandle(raw string, p HandlePolicy) (handle syntax.Handle, hosted bool, err error) {
	handle, err = NormalizeHandle(raw)
	if err != nil {
		return "", false, err
	}
	if !p.Override && offensive(handle) {
		return "", false, refusal.New(ErrInvalidHandle, "Inappropriate language in handle")
	}
	label, hosted := hostedLabel(handle, p.Domains)
	if !hosted {
		return handle, false, nil
	}
	switch {
	case strings.Contains(label, "."):
		err = refusal.New(ErrInvalidHandle, "Invalid characters in handle")
	case len(label) < minLabel:
		err = refusal.New(ErrInvalidHandle, "Handle too short")
	case len(label) > maxLabel:
		err = refusal.New(ErrInvalidHandle, "Handle too long")
	case !p.Override && !p.AllowPunycode && strings.HasPrefix(label, "xn--"):
		err = refusal.New(ErrInvalidHandle, "Internationalized handles (xn--) are not supported")
	case !p.Override && reserved(label):
		err = refusal.New(ErrHandleNotAvailable, "Reserved handle")
	}
	if err != nil {
		return "", true, err
	}
	return handle, true, nil
}

// hostedLabel cuts the longest of the domains that fits from a handle in lower case.
func hostedLabel(h syntax.Handle, domains []string) (label string, hosted bool) {
	for _, d := range domains {
		front, ok := strings.CutSuffix(string(h), "."+strings.ToLower(strings.TrimPrefix(d, ".")))
		if ok && (!hosted || len(front) < len(label)) {
			label, hosted = front, true
		}
	}
	return label, hosted
}
