package sessions

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// ErrServiceAuth says that a service token that came in isn't good. The error is a [*ServiceAuthError]. Test for it
// with [errors.Is].
var ErrServiceAuth = errors.New("sessions: service auth")

// ServiceAuthError is why a service token was refused. Name is the protocol's name of the error.
type ServiceAuthError struct {
	Name string
	text string
}

func (e *ServiceAuthError) Error() string { return e.text }

// PublicMessage is the text for the client.
func (e *ServiceAuthError) PublicMessage() string { return e.text }

// Is makes errors.Is(err, ErrServiceAuth) true.
func (e *ServiceAuthError) Is(target error) bool { return target == ErrServiceAuth }

func serviceAuth(name, text string) error { return &ServiceAuthError{name, text} }

// ErrMissingJWT is the refusal of a call without a service token.
var ErrMissingJWT = serviceAuth("MissingJwt", "missing jwt")

// ServiceVerifier checks the service tokens that others present here.
type ServiceVerifier struct {
	// Audience is the DID that tokens have to be for.
	Audience string
	// Resolver finds the keys of issuers.
	Resolver *did.Resolver
	// Now tells the time. Default [time.Now].
	Now func() time.Time
}

// Verify checks a token for a method and returns its issuer. Only issuers of a list are trusted, if it isn't
// empty. Errors: [ErrServiceAuth].
func (v *ServiceVerifier) Verify(ctx context.Context, raw, method string, trusted ...string) (syntax.DID, error) {
	if raw == "" {
		return "", ErrMissingJWT
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256K", "ES256"}), jwt.WithoutClaimsValidation())
	var c jwt.MapClaims
	// What the token says has to be right before anybody's DID is resolved.
	if t, _, err := parser.ParseUnverified(raw, &c); err != nil || t.Header["typ"] == typeAccess || t.Header["typ"] == typeRefresh {
		return "", serviceAuth("BadJwt", "poorly formatted jwt")
	}
	iss, _ := c["iss"].(string)
	aud, _ := c["aud"].(string)
	lxm, _ := c["lxm"].(string)
	expires, err := c.GetExpirationTime()
	id, fragment, _ := strings.Cut(iss, "#")
	issuer, derr := syntax.ParseDID(id)
	switch {
	case err != nil || expires == nil || derr != nil:
		return "", serviceAuth("BadJwt", "poorly formatted jwt")
	case !now().Before(expires.Time):
		return "", serviceAuth("JwtExpired", "jwt expired")
	case aud != v.Audience && !strings.HasPrefix(aud, v.Audience+"#"):
		return "", serviceAuth("BadJwtAudience", "jwt audience does not match service did")
	case lxm == "":
		return "", serviceAuth("BadJwtLexiconMethod", "missing jwt lexicon method (\"lxm\"). must match: "+method)
	case lxm != method:
		return "", serviceAuth("BadJwtLexiconMethod", "bad jwt lexicon method (\"lxm\"). must match: "+method)
	case len(trusted) > 0 && !slices.Contains(trusted, iss):
		return "", serviceAuth("UntrustedIss", "Untrusted issuer")
	}
	keyID := did.AtprotoKey
	if fragment == "atproto_labeler" {
		keyID = "atproto_label"
	}
	check := func() error {
		key, err := v.key(ctx, issuer, keyID)
		if err != nil {
			return err
		}
		_, err = parser.Parse(raw, func(*jwt.Token) (any, error) { return key, nil })
		if err != nil {
			return serviceAuth("BadJwtSignature", "jwt signature does not match jwt issuer")
		}
		return nil
	}
	err = check()
	var bad *ServiceAuthError
	if errors.As(err, &bad) && bad.Name == "BadJwtSignature" {
		// The key may have been rotated since the document was read.
		v.Resolver.Forget(issuer)
		err = check()
	}
	return issuer, err
}

// key returns the key that an issuer's DID document names.
func (v *ServiceVerifier) key(ctx context.Context, issuer syntax.DID, keyID string) (atcrypto.PublicKey, error) {
	ident, err := v.Resolver.Identity(ctx, issuer)
	if err != nil {
		return nil, serviceAuth("AuthenticationRequired", "could not resolve iss did")
	}
	key, err := ident.GetPublicKey(keyID)
	if err != nil {
		return nil, serviceAuth("AuthenticationRequired", "missing or bad key in did doc")
	}
	return key, nil
}
