package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

func badRequest(err error) error {
	return refusal.New(ErrRequestObject, refusal.Clean("the request object can't be used: "+err.Error()))
}

// VerifyRequestObject returns the claims of a request object, which are the parameters of a request
// that the client signed (source: RFC 9101). It has to be signed, also if the client declares that
// it doesn't sign them, by a key of the client, for this server, and it expires; a client without
// keys has no request objects. The object is good once: the caller remembers its ID, with the
// client, until expires. The claims are those of the JWT too: iss, aud, jti, exp, iat and nbf.
//
// Errors: [ErrRequestObject], and those of [Registry.Get].
func (r *Registry) VerifyRequestObject(ctx context.Context, c *Client, jwt string) (claims map[string]any, id string, expires time.Time, err error) {
	t, err := jwks.Decode(jwt, MaxDocument)
	if err != nil {
		return nil, "", time.Time{}, badRequest(err)
	}
	if id, expires, err = r.checkRequest(t, c); err != nil {
		return nil, "", time.Time{}, badRequest(err)
	}
	if c, _, err = r.verify(ctx, c, t, badRequest); err != nil {
		return nil, "", time.Time{}, err
	}
	if want := c.Metadata.RequestAlgorithm; want != "" && want != "none" && want != t.Algorithm {
		return nil, "", time.Time{}, badRequest(fmt.Errorf("its alg is %s, and the request_object_signing_alg of the client is %s", t.Algorithm, want))
	}
	claims = make(map[string]any, len(t.Claims))
	for name, raw := range t.Claims {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, "", time.Time{}, badRequest(err)
		}
		claims[name] = value
	}
	return claims, id, expires, nil
}

// checkRequest checks the claims of a request object that are no parameters.
func (r *Registry) checkRequest(t *jwks.Token, c *Client) (id string, expires time.Time, err error) {
	if t.Type != "" && t.Type != "jwt" && t.Type != "oauth-authz-req+jwt" {
		return "", time.Time{}, fmt.Errorf("its typ is %.50q, and oauth-authz-req+jwt or JWT is needed", t.Type)
	}
	if id, err = r.checkParties(t, c); err != nil {
		return "", time.Time{}, err
	}
	// An assertion is a token with the same issuer and audience, whose subject is the client. The two
	// must not be taken for each other (source: RFC 9101, section 10.8).
	if subject, err := t.Claims.String("sub"); err != nil || subject == c.ID {
		return "", time.Time{}, errors.New("its sub must not be the client_id, since that is how client assertions look")
	}
	expires, err = checkTimes(t, r.cfg.Now(), requestAge)
	return id, expires, err
}
