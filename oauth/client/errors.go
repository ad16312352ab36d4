package client

import (
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

var (
	// ErrInvalidMetadata is returned for a client whose metadata document can't be fetched or breaks
	// a rule, and for client_ids that name no document. The error name of OAuth is
	// invalid_client_metadata (source: RFC 7591).
	ErrInvalidMetadata = errors.New("invalid client metadata")
	// ErrInvalidRedirect is returned for a redirect URI that a client must not have, or that isn't
	// its own. The error name of OAuth is invalid_redirect_uri (source: RFC 7591).
	ErrInvalidRedirect = errors.New("invalid redirect URI")
	// ErrRefused is returned for a client that the operator doesn't admit. The error name of OAuth
	// is unauthorized_client.
	ErrRefused = errors.New("client refused")
	// ErrInvalidClient is returned if a client doesn't authenticate as it has to. The error name of
	// OAuth is invalid_client (source: RFC 6749).
	ErrInvalidClient = errors.New("invalid client")
	// ErrRequestObject is returned for a request object that can't be used. The error name of OAuth
	// is invalid_request_object (source: RFC 9101).
	ErrRequestObject = errors.New("invalid request object")
)

// invalid returns an error for a rule that a document breaks.
func invalid(format string, args ...any) error {
	return refusal.New(ErrInvalidMetadata, refusal.Clean(fmt.Sprintf(format, args...)))
}

// badRedirect returns an error for a rule that a redirect URI breaks.
func badRedirect(format string, args ...any) error {
	return refusal.New(ErrInvalidRedirect, refusal.Clean(fmt.Sprintf(format, args...)))
}

// caused is a refusal with what caused it, which tells, for example, an outage from a mistake.
type caused struct {
	kind  error
	text  string
	cause error
}

func (c *caused) Error() string         { return c.text }
func (c *caused) PublicMessage() string { return c.text }
func (c *caused) Unwrap() []error       { return []error{c.kind, c.cause} }

// because returns a refusal that begins with a text and ends with the public message of its cause.
func because(kind, cause error, format string, args ...any) error {
	reason := "it couldn't be fetched"
	var public interface{ PublicMessage() string }
	if errors.As(cause, &public) {
		reason = public.PublicMessage()
	}
	return &caused{kind, refusal.Clean(fmt.Sprintf(format, args...) + ": " + reason), cause}
}
