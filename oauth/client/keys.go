package client

import (
	"context"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/cached"
	"github.com/gatehouse-at/gatehouse/internal/jwks"
)

// HasKey reports whether a key is among those of a client, by its SHA-256 thumbprint. Before it
// says no, it fetches the keys anew: "no" ends the sessions that are bound to the key, and the keys
// that are cached here may be from before the key was added.
//
// Errors, which mean that nothing is known about the key: those of [Registry.Get].
func (r *Registry) HasKey(ctx context.Context, c *Client, thumbprint string) (bool, error) {
	keys, err := r.keysOf(ctx, c, nil)
	if err != nil {
		return false, err
	}
	if jwks.Contains(keys, thumbprint) {
		return true, nil
	}
	if c, keys, err = r.renewKeys(ctx, c, 0); err != nil {
		return false, err
	}
	return c.Confidential() && jwks.Contains(keys, thumbprint), nil
}

// keysOf returns the keys of a client. With renewal, a set at a jwks_uri that is older than that
// isn't taken from the cache.
func (r *Registry) keysOf(ctx context.Context, c *Client, renewal *time.Duration) ([]jwks.Key, error) {
	at := c.Metadata.JWKSURI
	if at == "" {
		return c.Metadata.keys, nil
	}
	return lookUp(ctx, r.keys, at, renewal, func(ctx context.Context) (cached.Found[[]jwks.Key], error) {
		return r.fetchKeys(ctx, at)
	})
}

// renewKeys returns a client and its keys anew, unless they have just been fetched.
func (r *Registry) renewKeys(ctx context.Context, c *Client, least time.Duration) (*Client, []jwks.Key, error) {
	c, err := r.find(ctx, c.ID, &least)
	if err != nil {
		return nil, nil, err
	}
	keys, err := r.keysOf(ctx, c, &least)
	return c, keys, err
}

func (r *Registry) fetchKeys(ctx context.Context, at string) (cached.Found[[]jwks.Key], error) {
	none := cached.Found[[]jwks.Key]{}
	doc, err := r.cfg.Fetcher.Get(ctx, at, MaxDocument)
	if err != nil {
		return none, because(ErrInvalidMetadata, err, "the keys at the jwks_uri %.200q can't be used", at)
	}
	keys, err := jwks.Parse(doc.Body)
	if err != nil {
		return none, invalid("the keys at the jwks_uri %.200q can't be used: %v", at, err)
	}
	return cached.Found[[]jwks.Key]{Value: keys, Cost: len(doc.Body) + 1500*len(keys), Lifetime: doc.Lifetime}, nil
}

// verify returns the key of a client by which a token was signed, and the client anew if its keys
// had to be fetched anew. The error of a token is wrapped by fail.
func (r *Registry) verify(ctx context.Context, c *Client, t *jwks.Token, fail func(error) error) (*Client, *jwks.Key, error) {
	keys, err := r.keysOf(ctx, c, nil)
	if err != nil {
		return nil, nil, err
	}
	key, err := t.Verify(keys)
	if err == nil {
		return c, key, nil
	}
	// The client may have a new key.
	if c.Local {
		return nil, nil, fail(err)
	}
	if c, keys, err = r.renewKeys(ctx, c, minRenewal); err != nil {
		return nil, nil, err
	}
	if key, err = t.Verify(keys); err != nil {
		return nil, nil, fail(err)
	}
	return c, key, nil
}
