package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/clientip"
	"github.com/gatehouse-at/gatehouse/internal/httplimit"
	"github.com/gatehouse-at/gatehouse/oauth"
)

// call is one of the things that an endpoint does.
type call func(ctx context.Context, s *oauth.Service, c oauth.Call, p url.Values) (any, error)

func push(ctx context.Context, s *oauth.Service, c oauth.Call, p url.Values) (any, error) {
	return s.Push(ctx, c, p)
}

func exchange(ctx context.Context, s *oauth.Service, c oauth.Call, p url.Values) (any, error) {
	return s.Token(ctx, c, p)
}

func revoke(ctx context.Context, s *oauth.Service, c oauth.Call, p url.Values) (any, error) {
	return struct{}{}, s.Revoke(ctx, c, p)
}

// endpoint serves an endpoint that programs call: pushed requests (RFC 9126), tokens (RFC 6749) and
// their revocation (RFC 7009). Every answer has a DPoP nonce (RFC 9449, section 8).
func (s *Server) endpoint(path string, success int, do call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			preflight(w, http.MethodPost)
			return
		}
		h := w.Header()
		allowOrigins(h)
		h.Set("DPoP-Nonce", s.oauth.service.Nonce())
		params, ok := s.takeParams(w, r, "POST, OPTIONS")
		if !ok {
			return
		}
		c := oauth.Call{Method: r.Method, URL: s.oauth.origin + path, Proofs: r.Header.Values("DPoP")}
		answer, err := do(s.withAddress(w, r), s.oauth.service, c, params)
		if err != nil {
			s.failEndpoint(w, r, err)
			return
		}
		h.Set("Cache-Control", "no-store")
		writeJSON(w, success, answer)
	}
}

// takeParams returns the parameters of a call to an endpoint, which is charged to the address before
// they are read. If it returns false, the call has been answered; allow is what a 405 allows.
func (s *Server) takeParams(w http.ResponseWriter, r *http.Request, allow string) (url.Values, bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", allow)
		writeOAuthError(w, http.StatusMethodNotAllowed, codeInvalidRequest, "this endpoint takes POST")
		return nil, false
	}
	err := s.charge(w, r, "")
	var params url.Values
	if err == nil {
		params, err = readParams(r)
	}
	if err != nil {
		s.failEndpoint(w, r, err)
		return nil, false
	}
	return params, true
}

const basicChallenge = `Basic realm="introspection", charset="UTF-8"`

// introspectFailures is how often an address may give a wrong name or password of a service before
// it is refused.
var introspectFailures = []ratelimit.Window{{Points: 10, Per: 5 * time.Minute}}

// introspect serves the introspection endpoint (RFC 7662), which services of the operator call with
// a name and a password.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	params, ok := s.takeParams(w, r, http.MethodPost)
	if !ok {
		return
	}
	name, secret, ok := r.BasicAuth()
	if !ok {
		w.Header().Set("WWW-Authenticate", basicChallenge)
		writeOAuthError(w, http.StatusUnauthorized, codeInvalidClient, "the name and the password of a service are required")
		return
	}
	ctx := s.withAddress(w, r)
	guesses := "introspect " + ratelimit.FromContext(ctx).Address
	if err := s.meter.Check(ctx, guesses, introspectFailures...); err != nil {
		s.failEndpoint(w, r, err)
		return
	}
	answer, err := s.oauth.service.Introspect(ctx, name, secret, params)
	if err != nil {
		if refused, ok := errors.AsType[*oauth.Error](err); ok && refused.Status() == http.StatusUnauthorized {
			s.cfg.Logger.WarnContext(ctx, "wrong name or password of a service that introspects tokens", "ip", s.clients.Find(r).String())
			if limited := s.meter.Charge(ctx, guesses, introspectFailures...); limited != nil {
				s.failEndpoint(w, r, limited)
				return
			}
			w.Header().Set("WWW-Authenticate", basicChallenge)
		}
		s.failEndpoint(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

// withAddress returns the context of a request, from which other packages learn whose it is when
// they count what somebody may try. What they refuse is told in the headers of the answer.
func (s *Server) withAddress(w http.ResponseWriter, r *http.Request) context.Context {
	headers := httplimit.NewHeaders(w.Header(), s.cfg.Now)
	return ratelimit.NewContext(r.Context(), ratelimit.Client{
		Address: clientip.Key(s.clients.Find(r)),
		Observe: func(state ratelimit.State) {
			if !state.Allowed {
				headers.Observe(state)
			}
		},
	})
}
