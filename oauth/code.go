package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// authCode is a code that a client can exchange for tokens, once.
type authCode struct {
	// Hash is the hash of the code.
	Hash        string     `json:"hash"`
	DID         syntax.DID `json:"did"`
	ClientID    string     `json:"clientId"`
	AuthKey     string     `json:"authKey,omitempty"`
	Key         string     `json:"key"`
	RedirectURI string     `json:"redirectUri"`
	Challenge   string     `json:"challenge"`
	// Granted is what the owner granted, and Scope the same with its permission sets expanded.
	Granted string `json:"granted"`
	Scope   string `json:"scope"`
	// Method is the way in which the owner proved who they are, and Browser the session of the browser
	// in which they did. If that ends, so does the code.
	Method    string    `json:"method"`
	Browser   string    `json:"browser"`
	ExpiresAt time.Time `json:"expiresAt"`
}

var authCodes = storage.NewCollection("oauth_codes",
	func(c *authCode) string { return c.Hash },
	storage.Ordered("account", func(c *authCode) string { return c.DID.String() }),
	storage.Ordered("expires", func(c *authCode) string { return storage.TimeKey(c.ExpiresAt) }),
	storage.Ordered("client", func(c *authCode) string { return clientKey(c.ClientID) }),
).OwnedBy(storage.OwnerGatehouse)

// The lengths of a code_verifier (source: RFC 7636, section 4.1).
const (
	minVerifier = 43
	maxVerifier = 128
)

var (
	errBadCode = refuse(codeInvalidGrant, "the code is unknown, was used before, or has expired")
	errGone    = refuse(codeInvalidGrant, "the account can't be used any more")
)

// exchange exchanges a code for tokens. A code that comes with a wrong verifier, redirect URI,
// client or key is used up, and one that comes again ends the session that it has opened.
func (s *Service) exchange(ctx context.Context, who *caller, p url.Values) (*TokenResponse, error) {
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		if p.Get(name) == "" {
			return nil, refuse(codeInvalidRequest, "%s is required", name)
		}
	}
	hash := s.hash("code", p.Get("code"))
	var issue *sessions.Issue
	var replayed bool
	err := storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		replayed = false
		if refusal, err := s.firstUse(tx, who); refusal != nil || err != nil {
			return refusal, err
		}
		c, err := authCodes.Get(tx, hash)
		if errors.Is(err, storage.ErrNotFound) {
			// If it has been exchanged, then somebody else has it too, and what it was exchanged for ends.
			replayed, err = sessions.EndByCodeTx(tx, hash)
			return errBadCode, err
		}
		if err == nil {
			err = authCodes.Delete(tx, hash)
		}
		if err != nil {
			return nil, err
		}
		if refusal, err := s.checkCodeTx(tx, c, who, p); refusal != nil || err != nil {
			return refusal, err
		}
		issue, refusal, err = s.openTx(tx, c, who)
		return refusal, err
	})
	if replayed && errors.Is(err, errBadCode) {
		s.cfg.Logger.WarnContext(ctx, "a code was used twice, so its session has ended", "client", who.Client.ID)
	}
	if err != nil {
		return nil, err
	}
	t, err := s.respond(issue)
	if err == nil && !who.Client.Refreshes() {
		t.RefreshToken = ""
	}
	return t, err
}

// checkCodeTx checks that a code is exchanged by the client that it was made for.
func (s *Service) checkCodeTx(tx storage.Tx, c *authCode, who *caller, p url.Values) (refusal, err error) {
	verifier := p.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case !s.now().Before(c.ExpiresAt), c.ClientID != who.Client.ID:
		return errBadCode, nil
	case c.AuthKey != who.Auth.Key:
		return refuse(codeInvalidGrant, "the client doesn't authenticate as it did when it pushed the request"), nil
	case c.Key != who.key():
		return refuse(codeInvalidGrant, "the proof has another key than that of the pushed request"), nil
	case c.RedirectURI != p.Get("redirect_uri"):
		return refuse(codeInvalidGrant, "the redirect_uri is not that of the request"), nil
	case len(verifier) < minVerifier || len(verifier) > maxVerifier,
		!token.Equal(c.Challenge, base64.RawURLEncoding.EncodeToString(sum[:])):
		return refuse(codeInvalidGrant, "the code_verifier doesn't fit the code_challenge"), nil
	}
	first, err := once.UseTx(tx, "challenge", c.ClientID+" "+c.Challenge, s.now(), s.now().Add(challengeMemory))
	if err != nil || !first {
		return refuse(codeInvalidGrant, "the code_challenge was used before"), err
	}
	return nil, nil
}

// openTx opens the session of a code.
func (s *Service) openTx(tx storage.Tx, c *authCode, who *caller) (issue *sessions.Issue, refusal, err error) {
	a, err := accounts.GetTx(tx, c.DID)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, errGone, nil
	case err != nil:
		return nil, nil, err
	}
	// The browser may have been signed out since the owner agreed.
	if _, _, err := s.sessions.BrowserTx(tx, c.Browser); errors.Is(err, sessions.ErrExpiredToken) || errors.Is(err, sessions.ErrAccountTakedown) {
		return nil, errGone, nil
	} else if err != nil {
		return nil, nil, err
	}
	g := sessions.OAuthGrant{
		Client:          sessions.Client{ID: c.ClientID, Key: c.Key, AuthKey: c.AuthKey, Scope: c.Granted},
		Method:          c.Method,
		Scope:           c.Scope,
		Code:            c.Hash,
		RefreshLifetime: publicRefresh, Lifetime: publicSession,
	}
	if c.AuthKey != "" {
		g.RefreshLifetime, g.Lifetime = confidentialRefresh, confidentialSession
	}
	if !who.Client.Refreshes() { // it will be given no refresh token
		g.RefreshLifetime, g.Lifetime = accessLifetime, accessLifetime
	}
	issue, err = s.sessions.OpenOAuthTx(tx, a, g)
	if errors.Is(err, sessions.ErrAccountTakedown) {
		return nil, errGone, nil
	}
	return issue, nil, err
}
