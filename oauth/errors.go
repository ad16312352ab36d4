package oauth

import (
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

// The codes of [Error] (sources: RFC 6749, sections 4.1.2.1 and 5.2; RFC 9449; RFC 9101; OpenID
// Connect Core, section 3.1.2.6).
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = "invalid_grant"
	codeInvalidScope         = "invalid_scope"
	codeInvalidMetadata      = "invalid_client_metadata"
	codeInvalidRedirect      = "invalid_redirect_uri"
	codeInvalidRequestObject = "invalid_request_object"
	codeInvalidProof         = "invalid_dpop_proof"
	codeUseNonce             = "use_dpop_nonce"
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrant     = "unsupported_grant_type"
	codeUnsupportedResponse  = "unsupported_response_type"
	codeAccessDenied         = "access_denied"
	codeLoginRequired        = "login_required"
	codeConsentRequired      = "consent_required"
	codeSelectionRequired    = "account_selection_required"
)

// ErrRefused is what every [Error] is to [errors.Is]: a request that is refused for a reason which
// the client, or the developer of the client, is told.
var ErrRefused = errors.New("oauth: refused")

// Error is why a request is refused, in the words of OAuth. It is an [ErrRefused].
type Error struct {
	// Code is the error code, such as "invalid_grant".
	Code string
	// Description says what is wrong, for the developer of the client.
	Description string
	// Answer is not nil if the error goes back to the client by way of the browser. All other errors
	// of the authorization page are shown to the person.
	Answer *Answer

	cause error
}

// Error returns the code and the description.
func (e *Error) Error() string { return fmt.Sprintf("oauth: %s: %s", e.Code, e.Description) }

// PublicMessage returns the description.
func (e *Error) PublicMessage() string { return e.Description }

// Unwrap returns the error of another package that is the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, ErrRefused) true.
func (e *Error) Is(target error) bool { return target == ErrRefused }

// Status returns the HTTP status with which an endpoint answers the error: 401 if the client could
// not be authenticated, and otherwise 400.
func (e *Error) Status() int {
	if e.Code == codeInvalidClient {
		return 401
	}
	return 400
}

// refuse returns an [Error].
func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// codeOf lists the errors of other packages that are refusals, and their codes.
var codeOf = []struct {
	is   error
	code string
}{
	{dpop.ErrNonce, codeUseNonce},
	{dpop.ErrProof, codeInvalidProof},
	{client.ErrRefused, codeUnauthorizedClient},
	{client.ErrInvalidMetadata, codeInvalidMetadata},
	{client.ErrInvalidRedirect, codeInvalidRedirect},
	{client.ErrRequestObject, codeInvalidRequestObject},
	{client.ErrInvalidClient, codeInvalidClient},
	{scope.ErrScope, codeInvalidScope},
}

// translate returns the [Error] of a refusal of another package, and any other error as it is.
func translate(err error) error {
	for _, c := range codeOf {
		if errors.Is(err, c.is) {
			description := err.Error()
			if p, ok := errors.AsType[interface {
				error
				PublicMessage() string
			}](err); ok {
				description = p.PublicMessage()
			}
			return &Error{Code: c.code, Description: description, cause: err}
		}
	}
	return err
}
