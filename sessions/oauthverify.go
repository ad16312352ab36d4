package sessions

import (
	"context"
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// verifyBound is [Service.Verify] of an access token that is bound to a key.
func (s *Service) verifyBound(ctx context.Context, r Request, permissions []Permission) (*Auth, error) {
	if s.oauth == nil {
		return nil, errScheme
	}
	if strings.Count(r.Token, ".") != 2 { // isn't a JWT, whatever the proof is
		return nil, errBoundMalformed
	}
	now := s.now()
	proof, err := dpop.Verify(r.Proofs, dpop.Check{Method: r.Method, URL: r.URL, AccessToken: r.Token, Now: now, Nonces: s.oauth.cfg.Nonces})
	if err != nil {
		return nil, err
	}
	b, err := s.oauth.parse(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	if err := s.good(b); err != nil {
		return nil, err
	}
	if !token.Equal(b.key, proof.Key) {
		return nil, errBoundKey
	}
	auth := &Auth{Scope: Scope(b.scope), service: s}
	if auth.permissions, err = s.oauth.allowedBy(b.scope); err != nil {
		return nil, errBound
	}
	if !s.oauth.proofs.first(proof.Once(), now) {
		return nil, errProofUsed
	}
	check := func(tx storage.Tx) (err error) {
		if auth.Account, auth.Session, auth.Client, err = s.loadBound(tx, b); err != nil {
			return err
		}
		return auth.Require(permissions...)
	}
	read := refs(b.did, b.session)
	if safe(r.Method) {
		err = storage.ViewOf(ctx, s.store, read, check)
	} else { // which writes anyway, so that the proof holds for all processes
		err = s.store.Update(ctx, func(tx storage.Tx) error {
			if err := storage.Prefetch(tx, append(read, proofRef(proof))...); err != nil {
				return err
			}
			if err := check(tx); err != nil {
				return err
			}
			return s.UseProofTx(tx, proof)
		})
	}
	if err != nil {
		return nil, err
	}
	return auth, nil
}

// safe reports whether requests with an HTTP method change nothing.
func safe(method string) bool { return method == "GET" || method == "HEAD" }

var errProofUsed = refusal.New(dpop.ErrProof, "The DPoP proof was used before")

// kindProof is the kind of DPoP proofs among what may be used once.
const kindProof = "dpop"

func proofRef(p *dpop.Proof) storage.Ref { return once.Ref(kindProof, p.Once()) }

// UseProofTx marks a DPoP proof as used, inside a transaction, and refuses one that is marked
// already. Error: [dpop.ErrProof].
func (s *Service) UseProofTx(tx storage.Tx, p *dpop.Proof) error {
	first, err := once.UseTx(tx, kindProof, p.Once(), s.now(), p.Expires())
	if err == nil && !first {
		return errProofUsed
	}
	return err
}

// loadBound reads the account of an access token, and its session unless that is another server's.
// The transaction knows in advance what it reads: see refs.
func (s *Service) loadBound(tx storage.Tx, b *boundToken) (*accounts.Account, *Session, *Client, error) {
	if s.oauth.cfg.Remote != nil {
		a, err := s.loadRemote(tx, b.did)
		return a, nil, &Client{ID: b.client, Key: b.key, Scope: b.scope}, err
	}
	a, r, err := s.loadPrefetched(tx, b.did, b.session)
	switch {
	case err != nil:
		return nil, nil, nil, dead(err)
	case r.Client == nil || r.Client.Key != b.key || r.Access != b.id:
		return nil, nil, nil, errBoundRevoked
	}
	return a, &r.Session, r.Client, nil
}

// loadRemote reads the account of another server's access token, which has no session here.
func (s *Service) loadRemote(tx storage.Tx, did syntax.DID) (*accounts.Account, error) {
	a, err := accounts.GetTx(tx, did)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, errBoundRevoked
	case err == nil && a.Takedown != nil:
		return nil, errTakedown
	}
	return a, err
}

// dead returns what a client of OAuth is told when its session is over, by which it knows that it
// has to refresh its token or begin anew.
func dead(err error) error {
	if errors.Is(err, ErrExpiredToken) || errors.Is(err, ErrAccountNotFound) {
		return errBoundRevoked
	}
	return err
}

// errForEmail is the refusal of a change of the e-mail address, which clients know by its text
// (source: the reference server).
var (
	errForEmail = refusal.New(ErrNotForOAuth, "Use the account manager interface to update email address associated with an account")
	errForOwner = refusal.New(ErrNotForOAuth, "OAuth credentials are not supported for this endpoint")
)

// missing returns the refusal of an OAuth session that lacks a permission. It names the scope that
// would have it.
func missing(p Permission) error {
	need := p
	if oauth, ours := oauthNeeds[p]; ours {
		need = oauth
	}
	switch {
	case p == ChangeEmail:
		return errForEmail
	case need == never:
		return errForOwner
	}
	return refusal.Newf(ErrScopeMissing, "Missing required scope %q", plainScope.Replace(string(need)))
}

// plainScope writes a scope as the reference server does, which clients compare: in the values of
// parameters only what has to be is percent-encoded.
var plainScope = strings.NewReplacer("%3A", ":", "%2F", "/", "?action=read", "")
