package xrpc

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// auth finds out who makes a call, and refuses whoever may not. It is either [bySession] or
// [byAddress], after whom the call is charged to.
type auth interface {
	authenticate(c *call) (caller, error)
}

// bySession is the auth of methods that take a session's token. A call is charged to the session if
// that is alive, and else to the address.
type bySession func(c *call) (caller, error)

func (f bySession) authenticate(c *call) (caller, error) { return f(c) }

// byAddress is the auth of all other methods. A call is charged to the address, before anything of
// it is looked at.
type byAddress func(c *call) (caller, error)

func (f byAddress) authenticate(c *call) (caller, error) { return f(c) }

var (
	errAuthMissing  = &Error{http.StatusUnauthorized, "AuthMissing", "Authentication Required"}
	errAuthRequired = &Error{Status: http.StatusUnauthorized, Message: "Authentication Required"}
	errMalformed    = &Error{http.StatusBadRequest, "InvalidToken", "Malformed authorization header"}
	errUnexpected   = &Error{http.StatusBadRequest, "InvalidToken", "Unexpected authorization type"}
)

// The schemes of the Authorization header that clients of the protocol use.
const (
	schemeNone   = ""
	schemeBasic  = "Basic"
	schemeBearer = "Bearer"
	schemeDPoP   = "DPoP"
)

// authorization takes the Authorization header apart.
func authorization(r *http.Request) (scheme, credentials string, err error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 || values[0] == "" {
		return schemeNone, "", nil
	}
	scheme, credentials, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || credentials == "" || strings.Contains(credentials, " ") {
		return "", "", errMalformed
	}
	for _, known := range []string{schemeBasic, schemeBearer, schemeDPoP} {
		if strings.EqualFold(scheme, known) {
			return known, credentials, nil
		}
	}
	return "", "", &Error{http.StatusBadRequest, "InvalidToken", "Unsupported authorization type: " + scheme}
}

// Challenges in the WWW-Authenticate header of a 401: a token of a session or a service, an admin's
// password, or either (sources: RFC 9110, section 11.6.1; RFC 7617; RFC 6750).
var (
	bearerChallenge = []string{`Bearer realm="atproto"`}
	basicChallenge  = []string{`Basic realm="admin", charset="UTF-8"`}
	eitherChallenge = append(basicChallenge[:1:1], bearerChallenge...)
)

func (c *call) challenge() []string {
	if c.challenges == nil {
		return bearerChallenge
	}
	return c.challenges
}

// private marks an answer as one that depends on who asks.
func private(c *call) {
	c.header.Set("Cache-Control", "private")
	c.header.Add("Vary", "Authorization")
}

// anyone asks nothing.
var anyone = byAddress(func(*call) (caller, error) { return caller{}, nil })

// verifyFunc checks an access token.
type verifyFunc func(ctx context.Context, accessJWT string, scopes ...sessions.Scope) (*sessions.Auth, error)

// access asks for an access token of one of some scopes.
func (s *Server) access(scopes ...sessions.Scope) bySession {
	return verifiedBy(s.cfg.Sessions.Verify, scopes...)
}

func verifiedBy(verify verifyFunc, scopes ...sessions.Scope) bySession {
	return func(c *call) (caller, error) {
		private(c)
		scheme, raw, err := authorization(c.Request)
		switch {
		case err != nil:
			return caller{}, err
		case scheme == schemeNone:
			return caller{}, errAuthMissing
		case scheme != schemeBearer:
			return caller{}, errUnexpected
		}
		auth, err := verify(c.Context(), raw, scopes...)
		return caller{session: auth}, err
	}
}

// refresh asks for a refresh token. The method refuses one that isn't good, in the transaction that
// uses it; here it is only found out whom the call is charged to.
func (s *Server) refresh(c *call) (caller, error) {
	private(c)
	scheme, raw, err := authorization(c.Request)
	switch {
	case err != nil:
		return caller{}, err
	case scheme != schemeBearer:
		return caller{}, errAuthMissing
	}
	session, err := s.cfg.Sessions.RefreshSession(c.Context(), raw)
	if err != nil {
		return caller{}, err
	}
	return caller{refresh: raw, session: session}, nil
}

// moderator asks for an admin, or for a service token of the moderation service. A procedure uses
// the token up.
func (s *Server) moderator(c *call) (caller, error) {
	c.challenges = eitherChallenge
	private(c)
	scheme, raw, err := authorization(c.Request)
	if err == nil && scheme != schemeBearer {
		return s.byPassword(c)
	}
	if err != nil {
		return caller{}, err
	}
	if s.cfg.ModService == "" {
		return caller{}, &Error{http.StatusUnauthorized, "UntrustedIss", "Untrusted issuer"}
	}
	proof, err := s.verify(c, raw, s.cfg.ModService, s.cfg.ModService+"#atproto_labeler")
	if err == nil && c.changes() {
		err = s.cfg.Sessions.UseServiceToken(c.Context(), proof)
	}
	if err != nil {
		return caller{}, err
	}
	return caller{service: proof, admin: proof.Issuer.String()}, nil
}

// newcomer takes a service token if there is one. The method uses it up. If sign-up is closed it
// looks at no token, since that would mean resolving the issuer.
func (s *Server) newcomer(c *call) (caller, error) {
	private(c)
	if s.cfg.Accounts.SignUpMode() == accounts.SignUpClosed {
		return caller{}, accounts.ErrSignUpClosed
	}
	scheme, raw, err := authorization(c.Request)
	switch {
	case err != nil:
		return caller{}, err
	case scheme == schemeNone:
		return caller{}, nil
	case scheme != schemeBearer:
		return caller{}, &Error{Status: http.StatusUnauthorized, Message: "Invalid authorization header"}
	}
	proof, err := s.verify(c, raw)
	return caller{service: proof}, err
}

// verify checks a service token, of some issuers or of any account.
func (s *Server) verify(c *call, raw string, issuers ...string) (*sessions.ServiceAuth, error) {
	v := sessions.ServiceVerifier{
		Audience: s.cfg.Sessions.ServiceDID(), Resolver: s.cfg.Resolver, RequireID: c.changes(), Now: s.cfg.Now,
	}
	return v.Verify(c.Context(), raw, c.nsid, issuers...)
}
