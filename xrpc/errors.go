package xrpc

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Error is an error as a client is answered. An embedder's hooks may return one to choose the
// answer; the errors of the domain packages are converted by [ErrorOf].
type Error struct {
	// Status is the HTTP status.
	Status int
	// Name is the name of the error in the lexicons. Empty: the usual name for the status.
	Name string
	// Message is the text for people.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// errorTable says how each error of the domain packages is answered: the status, the name in the
// lexicons, and the message, unless the error has one for clients. The first row that matches
// counts.
var errorTable = []struct {
	is      error
	status  int
	name    string
	message string
}{
	{did.ErrRefused, http.StatusBadGateway, "UpstreamFailure", "The DID directory refused the operation"},
	{did.ErrNotController, http.StatusBadRequest, "InvalidRequest", "The rotation keys of the DID do not include the server's"},
	{did.ErrTombstoned, http.StatusBadRequest, "InvalidRequest", "Did is tombstoned"},
	{accounts.ErrDirectory, http.StatusBadGateway, "UpstreamFailure", "The DID directory could not be reached"},
	{accounts.ErrNotFound, http.StatusBadRequest, "AccountNotFound", "Account not found"},
	{accounts.ErrInvalidPassword, http.StatusBadRequest, "InvalidPassword", "Invalid password"},
	{accounts.ErrSignUpClosed, http.StatusBadRequest, "SignUpClosed", "This server doesn't take new accounts"},
	{handle.ErrInvalid, http.StatusBadRequest, "InvalidHandle", "Invalid handle"},
	{handle.ErrNotAvailable, http.StatusBadRequest, "HandleNotAvailable", "Handle not available"},
	{handle.ErrUnsupportedDomain, http.StatusBadRequest, "UnsupportedDomain", "Not a supported handle domain"},
	{handle.ErrUnresolved, http.StatusBadRequest, "InvalidRequest", "External handle did not resolve to DID"},
	{accounts.ErrInvalidEmail, http.StatusBadRequest, "InvalidRequest", "Invalid e-mail address"},
	{accounts.ErrEmailTaken, http.StatusBadRequest, "InvalidRequest", "Email already taken"},
	{accounts.ErrInvalidRequest, http.StatusBadRequest, "InvalidRequest", "Invalid request"},
	{accounts.ErrBadCredentials, http.StatusUnauthorized, "AuthenticationRequired", "Invalid identifier or password"},
	{accounts.ErrNoPasswords, http.StatusBadRequest, "InvalidRequest", "This server doesn't use account passwords"},
	{accounts.ErrTakenDown, http.StatusUnauthorized, "AccountTakedown", "Account has been taken down"},
	{accounts.ErrHeldKey, http.StatusUnauthorized, "BadJwtSignature", "the jwt was signed with a key that was held here"},
	{accounts.ErrMissingAuth, http.StatusUnauthorized, "AuthenticationRequired", "Authentication Required"},
	{signin.ErrFactorRequired, http.StatusUnauthorized, "AuthFactorTokenRequired", "A sign in code is required"},
	{accounts.ErrWrongEmail, http.StatusBadRequest, "InvalidEmail", "invalid email"},
	{accounts.ErrCodeRequired, http.StatusBadRequest, "TokenRequired", "confirmation token required"},
	{accounts.ErrHandleNotFound, http.StatusBadRequest, "HandleNotFound", "Unable to resolve handle"},
	{codes.ErrInvalid, http.StatusBadRequest, "InvalidToken", "Token is invalid"},
	{codes.ErrExpired, http.StatusBadRequest, "ExpiredToken", "Token is expired"},
	{dpop.ErrNonce, http.StatusUnauthorized, "use_dpop_nonce", "Resource server requires nonce in DPoP proof"},
	{dpop.ErrProof, http.StatusUnauthorized, "invalid_dpop_proof", "Invalid DPoP proof"},
	{sessions.ErrBoundToken, http.StatusUnauthorized, "invalid_token", "Token could not be verified"},
	{sessions.ErrScopeMissing, http.StatusForbidden, "ScopeMissingError", "Missing required scope"},
	{sessions.ErrNotForOAuth, http.StatusForbidden, "Forbidden", "OAuth credentials are not supported for this endpoint"},
	{sessions.ErrIssuer, http.StatusServiceUnavailable, "ServiceUnavailable", "The authorization server can't be reached for the moment"},
	{sessions.ErrInvalidToken, http.StatusBadRequest, "InvalidToken", "Token could not be verified"},
	{sessions.ErrExpiredToken, http.StatusBadRequest, "ExpiredToken", "Token has expired"},
	{sessions.ErrBadExpiration, http.StatusBadRequest, "BadExpiration", "Bad expiration"},
	{sessions.ErrInvalidRequest, http.StatusBadRequest, "InvalidRequest", "Invalid request"},
	{sessions.ErrAccountNotFound, http.StatusForbidden, "AccountNotFound", "Account not found"},
	{sessions.ErrAccountTakedown, http.StatusUnauthorized, "AccountTakedown", "Account has been taken down"},
	{sessions.ErrAccountDeactivated, http.StatusUnauthorized, "AccountDeactivated", "Account is deactivated"},
	{invites.ErrRequired, http.StatusBadRequest, "InvalidInviteCode", "No invite code provided"},
	{invites.ErrUnavailable, http.StatusBadRequest, "InvalidInviteCode", "Provided invite code not available"},
	{invites.ErrDuplicateCreate, http.StatusBadRequest, "DuplicateCreate", "attempted to create additional codes in another request"},
	{invites.ErrInvalidRequest, http.StatusBadRequest, "InvalidRequest", "Invalid request"},
	{apppasswords.ErrNameTaken, http.StatusBadRequest, "InvalidRequest", "App password name already in use"},
	{apppasswords.ErrTooMany, http.StatusBadRequest, "InvalidRequest", "Too many app passwords"},
	{apppasswords.ErrInvalidName, http.StatusBadRequest, "InvalidRequest", "Invalid app password name"},
	{did.ErrUnavailable, http.StatusBadGateway, "UpstreamFailure", "The DID directory could not be reached"},
	{mail.ErrBusy, http.StatusServiceUnavailable, "ServiceUnavailable", "The service is too busy"},
	{mail.ErrDelivery, http.StatusBadGateway, "UpstreamFailure", "The e-mail could not be sent"},
	{ratelimit.ErrLimited, http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded"},
	{ratelimit.ErrBusy, http.StatusServiceUnavailable, "ServiceUnavailable", "The service is too busy"},
	{storage.ErrUnavailable, http.StatusServiceUnavailable, "ServiceUnavailable", "The service is unavailable for the moment"},
	{storage.ErrClosed, http.StatusServiceUnavailable, "ServiceUnavailable", "The service is shutting down"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "ServiceUnavailable", "The service is too busy"},
	{context.Canceled, 499, "ClientClosedRequest", "Client closed the request"},
}

// statusNames are the names of errors that have only a status.
var statusNames = map[int]string{
	http.StatusBadRequest:            "InvalidRequest",
	http.StatusUnauthorized:          "AuthenticationRequired",
	http.StatusForbidden:             "Forbidden",
	http.StatusNotFound:              "XRPCNotSupported",
	http.StatusNotAcceptable:         "NotAcceptable",
	http.StatusRequestEntityTooLarge: "PayloadTooLarge",
	http.StatusUnsupportedMediaType:  "UnsupportedMediaType",
	http.StatusTooManyRequests:       "RateLimitExceeded",
	http.StatusInternalServerError:   "InternalServerError",
	http.StatusNotImplemented:        "MethodNotImplemented",
	http.StatusBadGateway:            "UpstreamFailure",
	http.StatusServiceUnavailable:    "ServiceUnavailable",
	http.StatusGatewayTimeout:        "UpstreamTimeout",
}

// ErrorOf returns what a client is answered for an error: an [*Error] as it is, an error of a
// domain package by the table of errors, and any other error that has a method PublicMessage()
// string, such as an embedder's, as 400 InvalidRequest with that message. All other errors are
// answered 500 InternalServerError without detail.
func ErrorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		switch {
		case e.Status == http.StatusInternalServerError:
			return errInternal
		case e.Name == "":
			return &Error{e.Status, statusName(e.Status), e.Message}
		}
		return e
	}
	var service *sessions.ServiceAuthError
	if errors.As(err, &service) { // these carry their names, which aren't in the lexicons
		return &Error{http.StatusUnauthorized, service.Name, service.PublicMessage()}
	}
	var text interface{ PublicMessage() string }
	for _, row := range errorTable {
		if !errors.Is(err, row.is) {
			continue
		}
		e := &Error{row.status, row.name, row.message}
		if errors.As(err, &text) {
			e.Message = text.PublicMessage()
		}
		return e
	}
	if errors.As(err, &text) { // a hook of the embedder refused
		return &Error{http.StatusBadRequest, "InvalidRequest", text.PublicMessage()}
	}
	return errInternal
}

var errInternal = &Error{http.StatusInternalServerError, "InternalServerError", "Internal Server Error"}

// statusName returns the name of an error that has only a status.
func statusName(status int) string {
	switch name := statusNames[status]; {
	case name != "":
		return name
	case status >= 500:
		return "InternalServerError"
	}
	return "InvalidRequest"
}

// invalid returns a 400 InvalidRequest.
func invalid(message string) error { return &Error{Status: http.StatusBadRequest, Message: message} }
