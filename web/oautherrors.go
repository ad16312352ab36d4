package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth"
)

// The error codes that this package gives out itself (source: RFC 6749, section 5.2).
const (
	codeInvalidRequest = "invalid_request"
	codeInvalidClient  = "invalid_client"
	codeUnavailable    = "temporarily_unavailable"
	codeServerError    = "server_error"
)

// failEndpoint answers a request to an endpoint with an error.
func (s *Server) failEndpoint(w http.ResponseWriter, r *http.Request, err error) {
	var refused *oauth.Error
	var body *bodyError
	switch {
	case errors.As(err, &refused):
		if refused.Status() == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", s.challenge(refused.Code))
		}
		writeOAuthError(w, refused.Status(), refused.Code, refused.Description)
		return
	case errors.As(err, &body):
		writeOAuthError(w, body.status, codeInvalidRequest, body.text)
		return
	}
	p := s.describe(err)
	code := codeInvalidRequest
	switch {
	case p.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		code = codeUnavailable
	case p.status == http.StatusTooManyRequests:
		code = codeUnavailable
	case p.status >= http.StatusInternalServerError:
		code = codeServerError
	}
	if p.status >= http.StatusInternalServerError {
		id := uuid.NewString()
		w.Header().Set("X-Request-Id", id)
		s.logFailure(r, p.status, err, "request", id)
	}
	writeOAuthError(w, p.status, code, p.message)
}

// challenge returns the challenge of an answer with the status 401, which RFC 9110 requires.
// Clients authenticate by parameters, for which there is no scheme, and are bound to keys by DPoP.
func (s *Server) challenge(code string) string {
	return `DPoP algs="` + strings.Join(s.oauth.metadata.DPoPSigningAlgValuesSupported, " ") + `", error="` + code + `"`
}

// writeOAuthError writes an error in the form of RFC 6749, section 5.2.
func writeOAuthError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, map[string]string{"error": code, "error_description": refusal.Clean(description)})
}
