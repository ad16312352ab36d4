package sessions

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	_ "github.com/bluesky-social/indigo/atproto/auth" // registers ES256K with the JWT library
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// Key signs and verifies tokens. It has either a Secret or a Private key.
type Key struct {
	// ID is the token header's "kid". The key without an ID verifies
	// tokens without one.
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

// claims are what a token says. Lxm and Cnf only occur in tokens that aren't ours to take.
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
)

// signer signs and parses tokens for one audience.
type signer struct {
	keys     []Key
	audience string
	now      func() time.Time
	strict   *jwt.Parser
	lenient  *jwt.Parser
}

// CheckKeys reports what [New] would refuse in the keys of a [Config].
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
	options := func(more ...jwt.ParserOption) *jwt.Parser {
		return jwt.NewParser(append(more, jwt.WithValidMethods([]string{"HS256", "ES256K"}), jwt.WithTimeFunc(now))...)
	}
	return &signer{
		keys: keys, audience: audience, now: now,
		strict:  options(jwt.WithExpirationRequired()),
		lenient: options(jwt.WithoutClaimsValidation()),
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
	return signed, nil
}

func (k Key) method() jwt.SigningMethod {
	if k.Private != nil {
		return jwt.GetSigningMethod("ES256K")
	}
	return jwt.SigningMethodHS256
}

// find returns what verifies a token: the key that its header names, used only
// with that key's own algorithm.
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

// parse verifies a token of a type and one of some scopes. An expired one is
// refused unless expiredToo.
func (s *signer) parse(typ, raw string, expiredToo bool, scopes ...Scope) (*claims, error) {
	var c claims
	parser := s.strict
	if expiredToo {
		parser = s.lenient
	}
	t, err := parser.ParseWithClaims(raw, &c, s.find)
	expired := errors.Is(err, jwt.ErrTokenExpired)
	if err != nil && !expired {
		return nil, errUnverified
	}
	if got, _ := t.Header["typ"].(string); !strings.EqualFold(got, typ) {
		return nil, errUnverified
	}
	switch {
	case c.Aud != s.audience:
		return nil, errUnverified
	case expired:
		return nil, errExpired
	case c.Lxm != nil || c.Cnf != nil:
		return nil, errMalformed
	}
	if _, err := syntax.ParseDID(c.Sub); err != nil {
		return nil, errMalformed
	}
	for _, scope := range scopes {
		if c.Scope == scope {
			return &c, nil
		}
	}
	return nil, errScope
}
