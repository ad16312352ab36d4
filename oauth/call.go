package oauth

import (
	"context"
	"errors"
	"net/url"

	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Call is what a request to an endpoint brings beside its parameters.
type Call struct {
	// Method is the HTTP method, and URL is the URL without its query, as clients know it.
	Method, URL string
	// Proofs are the DPoP headers.
	Proofs []string
}

// caller is who makes a call to an endpoint.
type caller struct {
	*client.Auth
	proof *dpop.Proof // nil if a proof isn't required, and there was none
}

// key returns the thumbprint of the key of the proof.
func (c *caller) key() string {
	if c.proof == nil {
		return ""
	}
	return c.proof.Key
}

// identify finds out which client makes a call. The proof is checked first, so that a client that
// has no nonce yet learns one before anything is fetched for it. That proof and assertion are used
// for the first time is checked in the transaction that the call ends in: see [Service.firstUse].
func (s *Service) identify(ctx context.Context, c Call, p url.Values) (*caller, error) {
	if e := single(p); e != nil {
		return nil, e
	}
	proof, err := dpop.Verify(c.Proofs, dpop.Check{Method: c.Method, URL: c.URL, Now: s.cfg.Now(), Nonces: s.cfg.Nonces})
	if err != nil {
		return nil, translate(err)
	}
	who, err := s.authenticate(ctx, p)
	if err != nil {
		return nil, err
	}
	if who.Key == proof.Key {
		return nil, refuse(codeInvalidProof, "the key of the proof must not be the one that authenticates the client")
	}
	return &caller{who, proof}, nil
}

// authenticate authenticates a client.
func (s *Service) authenticate(ctx context.Context, p url.Values) (*client.Auth, error) {
	if p.Get("client_id") == "" {
		return nil, refuse(codeInvalidRequest, "client_id is required")
	}
	who, err := s.cfg.Clients.Authenticate(ctx, client.Credentials{
		ClientID: p.Get("client_id"), AssertionType: p.Get("client_assertion_type"), Assertion: p.Get("client_assertion"),
	})
	if err != nil {
		return nil, translate(err)
	}
	return who, nil
}

// firstUse refuses a proof or an assertion that was used before, inside of the transaction that a
// call ends in, and marks them as used, whatever else that transaction decides. A call that is
// refused before leaves them unused.
func (s *Service) firstUse(tx storage.Tx, c *caller) (refusal, err error) {
	if c.proof != nil {
		if err := s.sessions.UseProofTx(tx, c.proof); errors.Is(err, dpop.ErrProof) {
			return translate(err), nil
		} else if err != nil {
			return nil, err
		}
	}
	if c.AssertionID == "" {
		return nil, nil
	}
	first, err := once.UseTx(tx, "assertion", c.Client.ID+" "+c.AssertionID, s.now(), c.Expires)
	if err != nil || !first {
		return refuse(codeInvalidClient, "the client_assertion was used before"), err
	}
	return nil, nil
}
