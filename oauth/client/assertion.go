package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// AssertionType is the client_assertion_type of assertions that are JWTs (source: RFC 7523).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertion = 8 << 10         // bytes
	assertionAge = time.Minute     // how long ago an assertion may have been issued
	requestAge   = 5 * time.Minute // how long ago a request object may have been issued
	skew         = time.Minute     // by which the clock of a client may be wrong
	maxJTI       = 256             // bytes
)

// Credentials are what a client brings in a request to show who it is (sources: RFC 6749, RFC
// 7521).
type Credentials struct {
	ClientID      string // client_id
	AssertionType string // client_assertion_type
	Assertion     string // client_assertion
}

// Auth is how a client authenticated.
type Auth struct {
	Client *Client
	// Key is the SHA-256 thumbprint of the key by which a confidential client authenticated. It is
	// empty for a public client.
	Key string
	// AssertionID is the jti of the assertion, which is good once: the caller remembers it, with the
	// client, until Expires. It is empty for a public client.
	AssertionID string
	Expires     time.Time
}

// Authenticate finds out which client a request is from. A confidential client has to bring an
// assertion that it signed for this server a minute ago at most (source: the atproto OAuth
// specification, "Confidential Client Authentication"). A public client is who it says it is.
//
// Errors: [ErrInvalidClient], and those of [Registry.Get].
func (r *Registry) Authenticate(ctx context.Context, credentials Credentials) (*Auth, error) {
	if credentials.ClientID == "" {
		return nil, unauthenticated("client_id is missing")
	}
	c, err := r.Get(ctx, credentials.ClientID)
	if err != nil {
		return nil, err
	}
	switch given := credentials.Assertion != "" || credentials.AssertionType != ""; {
	case !c.Confidential() && given:
		return nil, unauthenticated("the client sent a client_assertion, but its token_endpoint_auth_method is none")
	case !c.Confidential():
		return &Auth{Client: c}, nil
	case credentials.Assertion == "":
		return nil, unauthenticated("client_assertion is missing: the token_endpoint_auth_method of the client is private_key_jwt")
	case credentials.AssertionType != AssertionType:
		return nil, unauthenticated("client_assertion_type must be " + AssertionType)
	}
	return r.checkAssertion(ctx, c, credentials.Assertion)
}

func unauthenticated(text string) error {
	return refusal.New(ErrInvalidClient, refusal.Clean(text))
}

func badAssertion(err error) error {
	return unauthenticated("the client_assertion can't be used: " + err.Error())
}

func (r *Registry) checkAssertion(ctx context.Context, c *Client, assertion string) (*Auth, error) {
	t, err := jwks.Decode(assertion, maxAssertion)
	if err != nil {
		return nil, badAssertion(err)
	}
	now := r.cfg.Now()
	id, expires, err := r.checkClaims(t, c, now)
	if err != nil {
		return nil, badAssertion(err)
	}
	// The cheap checks come first, so that what can't be right costs no signature and no request.
	c, key, err := r.verify(ctx, c, t, badAssertion)
	switch {
	case err != nil:
		return nil, err
	case !c.Confidential():
		return nil, unauthenticated("the client sent a client_assertion, but its token_endpoint_auth_method is none")
	case c.Metadata.AuthAlgorithm != "" && t.Algorithm != c.Metadata.AuthAlgorithm:
		return nil, badAssertion(fmt.Errorf("its alg is %s, and the token_endpoint_auth_signing_alg of the client is %s", t.Algorithm, c.Metadata.AuthAlgorithm))
	}
	return &Auth{Client: c, Key: key.Thumbprint, AssertionID: id, Expires: expires}, nil
}

// checkClaims checks the claims of an assertion. It returns its jti, and when the assertion can't
// be used any longer by the clock of any server (source: RFC 7523, section 3).
func (r *Registry) checkClaims(t *jwks.Token, c *Client, now time.Time) (id string, expires time.Time, err error) {
	if t.Type != "" && t.Type != "jwt" && t.Type != "client-authentication+jwt" {
		return "", time.Time{}, fmt.Errorf("its typ is %.50q, and JWT is needed", t.Type)
	}
	if id, err = r.checkParties(t, c); err != nil {
		return "", time.Time{}, err
	}
	if subject, err := t.Claims.String("sub"); err != nil || subject != c.ID {
		return "", time.Time{}, errors.New("its sub must be the client_id")
	}
	if !t.Claims.Has("iat") {
		return "", time.Time{}, errors.New("iat is required")
	}
	expires, err = checkTimes(t, now, assertionAge)
	return id, expires, err
}

// checkParties checks who made a token for whom, and returns its jti.
func (r *Registry) checkParties(t *jwks.Token, c *Client) (id string, err error) {
	if issuer, err := t.Claims.String("iss"); err != nil || issuer != c.ID {
		return "", errors.New("its iss must be the client_id")
	}
	if !t.For(r.cfg.Issuer) {
		return "", fmt.Errorf("its aud must be the issuer of this server, %s", r.cfg.Issuer)
	}
	if id, err = t.Claims.String("jti"); err != nil || id == "" || len(id) > maxJTI {
		return "", fmt.Errorf("its jti must be a string of 1 to %d bytes", maxJTI)
	}
	return id, nil
}

// checkTimes checks that a token is in force, and that it was issued age ago at most, if it has an
// iat. Without an iat, it has to expire as soon as if it had been issued now.
func checkTimes(t *jwks.Token, now time.Time, age time.Duration) (expires time.Time, err error) {
	times := map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if times[name], err = t.Time(name); err != nil {
			return time.Time{}, err
		}
	}
	end, issued := times["exp"], times["iat"]
	switch {
	case end.IsZero():
		return time.Time{}, errors.New("exp is required")
	case !now.Before(end.Add(skew)):
		return time.Time{}, errors.New("it has expired (exp); compare the clocks")
	case times["nbf"].After(now.Add(skew)):
		return time.Time{}, errors.New("it isn't in force yet (nbf); compare the clocks")
	case issued.IsZero() && end.After(now.Add(age+skew)):
		return time.Time{}, fmt.Errorf("it has no iat, and its exp is more than %v ahead", age)
	case issued.After(now.Add(skew)):
		return time.Time{}, errors.New("it was issued in the future (iat); compare the clocks")
	case !issued.IsZero() && !now.Before(issued.Add(age+skew)):
		return time.Time{}, fmt.Errorf("it was issued more than %v ago (iat); make a new one for each request, and compare the clocks", age)
	case !issued.IsZero() && issued.Add(age).Before(end):
		end = issued.Add(age)
	}
	return end.Add(skew), nil
}
