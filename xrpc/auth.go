package xrpc

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

// auth finds out who makes a call, and refuses callers that may not make it. It is a [bySession] if
// the rate limits count the calls of a session, and a [byAddress] if they count those of an
// address.
type auth interface {
	authenticate(s *Server, c *call) (caller, error)
}

// bySession is the auth of methods that take a session's token. A call is charged to the session if
// that is alive, and otherwise to the address.
type bySession struct {
	find func(s *Server, c *call) (caller, error)
	// permissions are those that an access token needs. A method that takes a refresh token has none.
	permissions []sessions.Permission
}

func (b bySession) authenticate(s *Server, c *call) (caller, error) { return b.find(s, c) }

// byAddress is the auth of all other methods. A call is charged to the address, before anything
// else is done.
type byAddress func(s *Server, c *call) (caller, error)

func (f byAddress) authenticate(s *Server, c *call) (caller, error) { return f(s, c) }

var (
	errAuthMissing  = &Error{http.StatusUnauthorized, "AuthMissing", "Authentication Required"}
	errAuthRequired = &Error{Status: http.StatusUnauthorized, Message: "Authentication Required"}
	errMalformed    = &Error{http.StatusBadRequest, "InvalidToken", "Malformed authorization header"}
)

// The schemes of the Authorization header beside those of sessions.
const (
	schemeNone  = ""
	schemeBasic = "Basic"
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
	for _, known := range []string{schemeBasic, sessions.SchemeBearer, sessions.SchemeDPoP} {
		if strings.EqualFold(scheme, known) {
			return known, credentials, nil
		}
	}
	return "", "", &Error{http.StatusBadRequest, "InvalidToken", "Unsupported authorization type: " + scheme}
}

// isDPoP reports whether a request uses the scheme of OAuth clients.
func isDPoP(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, sessions.SchemeDPoP)
}

// Challenges in the WWW-Authenticate header of a 401: a token of a session or a service, an admin's
// password, or either (sources: RFC 9110, section 11.6.1; RFC 7617; RFC 6750).
var (
	bearerChallenge = []string{`Bearer realm="atproto"`}
	basicChallenge  = []string{`Basic realm="admin", charset="UTF-8"`}
	eitherChallenge = append(basicChallenge[:1:1], bearerChallenge...)
)

// challenge returns the challenges of a 401 with an error.
func (c *call) challenge(e *Error) []string {
	switch {
	case c.challenges != nil:
		return c.challenges
	case c.dpop == dpopUsed:
		return []string{dpopChallenge(e)}
	case c.dpop == dpopOffered:
		return append(bearerChallenge[:1:1], dpopChallenge(nil))
	}
	return bearerChallenge
}

// How a call to something that takes access tokens has to do with OAuth.
type dpopUse int

const (
	dpopOff     dpopUse = iota // no OAuth clients are served
	dpopOffered                // it has no credentials, and might have those of an OAuth client
	dpopUsed                   // an OAuth client makes it
)

// dpopErrors are the errors that an OAuth client has to find in the challenge (sources: RFC 9449,
// sections 7.1 and 9; RFC 6750, section 3.1). To a client, an account that is taken down is a token
// that is good no longer.
var dpopErrors = map[string]string{
	"use_dpop_nonce": "use_dpop_nonce", "invalid_dpop_proof": "invalid_dpop_proof", "invalid_token": "invalid_token",
	"AccountTakedown": "invalid_token",
}

// dpopChallenge returns the challenge to an OAuth client, with the error that it has made, if any.
func dpopChallenge(e *Error) string {
	challenge := `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `"`
	if e == nil || dpopErrors[e.Name] == "" {
		return challenge
	}
	return challenge + `, error="` + dpopErrors[e.Name] + `", error_description="` + quotable.Replace(refusal.Clean(e.Message)) + `"`
}

// quotable replaces what may not be in an error_description (source: RFC 6750, section 3).
var quotable = strings.NewReplacer(`"`, "'", `\`, "/")

// private marks an answer as one that depends on who asks.
func private(c *call) {
	c.header["Cache-Control"] = cachedPrivate
	c.header["Vary"] = append(byCredentials[:1:1], c.header["Vary"]...)
}

// anyone lets everybody call.
var anyone = byAddress(func(*Server, *call) (caller, error) { return caller{}, nil })

// verifyFunc is the method of a [sessions.Service] that verifies the access token of a request.
type verifyFunc func(*sessions.Service, context.Context, sessions.Request, ...sessions.Permission) (*sessions.Auth, error)

// may asks for an access token with some permissions.
func may(permissions ...sessions.Permission) bySession {
	return verifiedBy((*sessions.Service).Verify, permissions)
}

func verifiedBy(verify verifyFunc, permissions []sessions.Permission) bySession {
	find := func(s *Server, c *call) (caller, error) {
		private(c)
		scheme, raw, err := authorization(c.Request)
		if s.takesDPoP() {
			switch {
			case isDPoP(c.Request):
				c.dpop = dpopUsed
			case scheme == schemeNone:
				c.dpop = dpopOffered
			}
		}
		switch {
		case err != nil:
			return caller{}, err
		case scheme == schemeNone:
			return caller{}, errAuthMissing
		}
		auth, err := verify(s.cfg.Sessions, c.Context(), s.request(c, scheme, raw), permissions...)
		return caller{session: auth}, err
	}
	return bySession{find, permissions}
}

// takesDPoP reports whether OAuth clients are served.
func (s *Server) takesDPoP() bool {
	return s.cfg.Sessions != nil && s.cfg.Sessions.Nonces() != nil // nil in tests of the machinery
}

// offerNonce gives an OAuth client the nonce for its next proof (source: RFC 9449, section 8.2).
func (s *Server) offerNonce(c *call) {
	if isDPoP(c.Request) && s.takesDPoP() {
		c.header.Set("DPoP-Nonce", s.cfg.Sessions.Nonce())
	}
}

// request returns the part of a call that identifies the caller. Its URL is the one that clients
// use for this server.
func (s *Server) request(c *call, scheme, token string) sessions.Request {
	return sessions.Request{
		Scheme: scheme, Token: token, Method: c.Method, URL: s.cfg.Accounts.PublicURL() + c.URL.EscapedPath(), Proofs: c.Header.Values("DPoP"),
	}
}

// refresh asks for a refresh token. A bad one is refused by the method, in the transaction that
// uses it; until then it only matters whom the call is charged to.
func (s *Server) refresh(c *call) (caller, error) {
	private(c)
	scheme, raw, err := authorization(c.Request)
	switch {
	case err != nil:
		return caller{}, err
	case scheme != sessions.SchemeBearer:
		return caller{}, errAuthMissing
	}
	token := s.cfg.Sessions.ParseRefresh(raw)
	session, err := token.Session(c.Context())
	if err != nil {
		return caller{}, err
	}
	return caller{refresh: token, session: session}, nil
}

// moderator asks for an admin, or for a service token of the moderation service, which a procedure
// uses up.
func (s *Server) moderator(c *call) (caller, error) {
	c.challenges = eitherChallenge
	private(c)
	scheme, raw, err := authorization(c.Request)
	if err == nil && scheme != sessions.SchemeBearer {
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

// newcomer takes a service token if the call has one. The method uses it up. If sign-up is closed
// no token is verified, since that would mean resolving the issuer's DID.
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
	case scheme != sessions.SchemeBearer:
		return caller{}, &Error{Status: http.StatusUnauthorized, Message: "Invalid authorization header"}
	}
	proof, err := s.verify(c, raw)
	return caller{service: proof}, err
}

// verify verifies a service token of one of some issuers, or of any account.
func (s *Server) verify(c *call, raw string, issuers ...string) (*sessions.ServiceAuth, error) {
	v := sessions.ServiceVerifier{
		Audience: s.cfg.Sessions.ServiceDID(), Resolver: s.cfg.Resolver, RequireID: c.changes(), Now: s.cfg.Now,
	}
	return v.Verify(c.Context(), raw, c.nsid, issuers...)
}
