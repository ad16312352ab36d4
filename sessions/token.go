package sessions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	_ "github.com/bluesky-social/indigo/atproto/auth" // registers ES256K with the JWT library
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Key signs and verifies tokens. It has either a Secret or a Private key.
type Key struct {
	// ID is the token header's "kid". The key without an ID verifies tokens without one.
	ID string
	// Secret is the key of HS256: at least 16 bytes.
	Secret []byte
	// Private is the key of ES256K.
	Private *atcrypto.PrivateKeyK256
}

// The values of the token header's "typ" (source: RFC 9068, and the reference server).
const (
	typeAccess  = "at+jwt"
	typeRefresh = "refresh+jwt"
)

// claims are what a token says. Lxm and Cnf only occur in tokens of other kinds, which are refused.
type claims struct {
	Scope   Scope            `json:"scope,omitempty"`
	Aud     string           `json:"aud,omitempty"`
	Sub     string           `json:"sub,omitempty"`
	ID      string           `json:"jti,omitempty"`
	Session string           `json:"sid,omitempty"`
	Iat     *jwt.NumericDate `json:"iat,omitempty"`
	Exp     *jwt.NumericDate `json:"exp,omitempty"`
	Nbf     *jwt.NumericDate `json:"nbf,omitempty"`
	Lxm     any              `json:"lxm,omitempty"`
	Cnf     any              `json:"cnf,omitempty"`
}

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Exp, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.Iat, nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.Nbf, nil }
func (c *claims) GetIssuer() (string, error)                   { return "", nil }
func (c *claims) GetSubject() (string, error)                  { return c.Sub, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Aud}, nil }

var (
	errUnverified = refusal.New(ErrInvalidToken, "Token could not be verified")
	errMalformed  = refusal.New(ErrInvalidToken, "Malformed token")
	errScope      = refusal.New(ErrInvalidToken, "Bad token scope")
	errExpired    = refusal.New(ErrExpiredToken, "Token has expired")
	errRevoked    = refusal.New(ErrExpiredToken, "Token has been revoked")
	// errReused is errRevoked for clients, with a reason for the log.
	errReused = fmt.Errorf("a refresh token was used again after its grace period: %w", errRevoked)
)

// signer signs and parses tokens for one audience.
type signer struct {
	keys     []Key
	audience string
	now      func() time.Time
	// The times of a token are validated separately, after its signature, since some methods accept an
	// expired token.
	parser    *jwt.Parser
	validator *jwt.Validator
	// verified are access tokens. A refresh token is hardly used twice.
	verified *verified[*verifiedToken]
}

// verifiedToken is a token whose signature was verified. It isn't changed.
type verifiedToken struct {
	typ    string
	claims claims
}

// CheckKeys returns an error if [New] would refuse the keys of a [Config].
func CheckKeys(keys []Key) error {
	if len(keys) == 0 {
		return errors.New("sessions: no key to sign tokens with")
	}
	ids := map[string]bool{}
	for _, k := range keys {
		switch {
		case ids[k.ID]:
			return fmt.Errorf("sessions: two keys have the ID %q", k.ID)
		case (k.Secret == nil) == (k.Private == nil):
			return fmt.Errorf("sessions: key %q needs either a Secret or a Private key", k.ID)
		case k.Private == nil && len(k.Secret) < 16:
			return fmt.Errorf("sessions: the secret of key %q is shorter than 16 bytes", k.ID)
		}
		ids[k.ID] = true
	}
	return nil
}

func newSigner(keys []Key, audience string, now func() time.Time) (*signer, error) {
	if err := CheckKeys(keys); err != nil {
		return nil, err
	}
	verified, err := newVerified[*verifiedToken]()
	if err != nil {
		return nil, err
	}
	return &signer{
		keys: keys, audience: audience, now: now, verified: verified,
		parser:    jwt.NewParser(jwt.WithValidMethods([]string{"HS256", "ES256K"}), jwt.WithoutClaimsValidation()),
		validator: jwt.NewValidator(jwt.WithExpirationRequired(), jwt.WithTimeFunc(now)),
	}, nil
}

func (s *signer) sign(typ string, c claims, lifetime time.Duration) (string, error) {
	now := s.now()
	c.Aud, c.Iat, c.Exp = s.audience, jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(lifetime))
	k := s.keys[0]
	t := jwt.NewWithClaims(k.method(), &c)
	t.Header["typ"] = typ
	if k.ID != "" {
		t.Header["kid"] = k.ID
	}
	var signed string
	var err error
	if k.Private != nil {
		signed, err = t.SignedString(k.Private)
	} else {
		signed, err = t.SignedString(k.Secret)
	}
	if err != nil {
		return "", fmt.Errorf("sessions: signing a token: %w", err)
	}
	if typ == typeAccess { // it is about to be used
		s.verified.add(signed, &verifiedToken{typ, c})
	}
	return signed, nil
}

func (k Key) method() jwt.SigningMethod {
	if k.Private != nil {
		return jwt.GetSigningMethod("ES256K")
	}
	return jwt.SigningMethodHS256
}

// find returns the key that verifies a token: the one that the token's header names, if it is a key
// of the token's algorithm.
func (s *signer) find(t *jwt.Token) (any, error) {
	kid, ok := t.Header["kid"].(string)
	if _, has := t.Header["kid"]; has && !ok {
		return nil, errMalformed
	}
	for _, k := range s.keys {
		if k.ID != kid {
			continue
		}
		if t.Method.Alg() != k.method().Alg() {
			return nil, errUnverified
		}
		if k.Private != nil {
			return k.Private.PublicKey()
		}
		return k.Secret, nil
	}
	return nil, errUnverified
}

// parsed is a token whose signature was checked.
type parsed struct {
	claims  claims
	expired bool
	bad     error // why it is refused, expired or not
}

// verify checks the signature of a token. An access token whose signature was good is remembered,
// since the keys stay the same.
func (s *signer) verify(raw string) (*verifiedToken, error) {
	return s.verified.read(raw, s.verifyAnew, func(t *verifiedToken) bool { return t.typ == typeAccess })
}

func (s *signer) verifyAnew(raw string) (*verifiedToken, error) {
	var v verifiedToken
	t, err := s.parser.ParseWithClaims(raw, &v.claims, s.find)
	if err != nil {
		return nil, errUnverified
	}
	v.typ, _ = t.Header["typ"].(string)
	return &v, nil
}

// parse checks the signature of a token of a type and all its claims except for the scope. If the
// token is bad, the result has no claims.
func (s *signer) parse(typ, raw string) parsed {
	v, err := s.verify(raw)
	if err != nil || !strings.EqualFold(v.typ, typ) {
		return parsed{bad: errUnverified}
	}
	p := parsed{claims: v.claims}
	if err := s.validator.Validate(&v.claims); err != nil {
		if p.expired = errors.Is(err, jwt.ErrTokenExpired); !p.expired {
			return parsed{bad: errUnverified}
		}
	}
	if p.claims.Aud != s.audience {
		return parsed{bad: errUnverified}
	}
	if _, err := syntax.ParseDID(p.claims.Sub); err != nil || p.claims.Lxm != nil || p.claims.Cnf != nil {
		p.bad = errMalformed
	}
	return p
}

// fresh returns why a token is refused where it must not have expired.
func (p parsed) fresh() error {
	if p.expired {
		return errExpired
	}
	return p.bad
}

func (p parsed) did() syntax.DID { return syntax.DID(p.claims.Sub) }

// RefreshToken is what a client sent as its refresh token. Its signature has been checked once, for
// all that a request does with it. The token may be invalid: the methods then return an error.
type RefreshToken struct {
	service *Service
	parsed  parsed
}

// ParseRefresh checks the signature of a refresh token. What is wrong with the token is returned
// when it is used.
func (s *Service) ParseRefresh(refreshJWT string) *RefreshToken {
	t := &RefreshToken{s, s.signer.parse(typeRefresh, refreshJWT)}
	if t.parsed.bad == nil && t.parsed.claims.Scope != ScopeRefresh {
		t.parsed.bad = errScope
	}
	return t
}

// Session returns the session of the token, or nil if the session has ended or the token isn't
// ours. The token itself may have expired or have been used before: only [RefreshToken.Refresh]
// finds that out.
func (t *RefreshToken) Session(ctx context.Context) (*Auth, error) {
	if t.parsed.bad != nil {
		return nil, nil
	}
	var auth *Auth
	did, session := t.parsed.did(), t.parsed.claims.Session
	err := storage.ViewOf(ctx, t.service.store, refs(did, session), func(tx storage.Tx) error {
		auth = nil
		a, r, err := t.service.loadBearer(tx, did, session)
		switch {
		case errors.Is(err, ErrExpiredToken), errors.Is(err, ErrAccountNotFound), errors.Is(err, ErrAccountTakedown):
			return nil
		case err != nil:
			return err
		}
		auth = &Auth{Account: a, Session: &r.Session, Scope: ScopeRefresh}
		return nil
	})
	return auth, err
}
