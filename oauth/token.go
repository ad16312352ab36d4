package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The grant types (source: RFC 6749).
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
)

// TokenResponse is the answer to a request for tokens (sources: RFC 6749, section 5.1, and
// https://atproto.com/specs/oauth).
type TokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	// ExpiresIn is how long the access token is good for, in seconds.
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	// Scope is what the access token allows.
	Scope string `json:"scope"`
	// Subject is the DID of the account.
	Subject string `json:"sub"`
}

// Token exchanges a code or a refresh token for tokens. The error is an [*Error], or one of the
// store (source: RFC 6749, sections 4.1.3 and 6).
func (s *Service) Token(ctx context.Context, c Call, p url.Values) (*TokenResponse, error) {
	grant := p.Get("grant_type")
	who, err := s.identify(ctx, c, p)
	if err != nil {
		return nil, err
	}
	switch grant {
	case "":
		return nil, refuse(codeInvalidRequest, "grant_type is required")
	case grantCode:
		return s.exchange(ctx, who, p)
	case grantRefresh:
		return s.refresh(ctx, who, p)
	}
	return nil, refuse(codeUnsupportedGrant, "the grant_type must be %s or %s", grantCode, grantRefresh)
}

var errBadRefresh = refuse(codeInvalidGrant, "the refresh token is unknown, was used before, or has expired")

// refresh exchanges a refresh token for tokens.
func (s *Service) refresh(ctx context.Context, who *caller, p url.Values) (*TokenResponse, error) {
	raw := p.Get("refresh_token")
	if raw == "" {
		return nil, refuse(codeInvalidRequest, "refresh_token is required")
	}
	var before *sessions.Session
	var reused bool
	token := s.sessions.ParseOAuth(raw)
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		if before, err = s.sessions.FindOAuthTx(tx, token); err != nil {
			return err
		}
		reused, err = s.sessions.ReusedTx(tx, token)
		return err
	})
	if errors.Is(err, sessions.ErrNotFound) {
		return nil, errBadRefresh
	}
	if err != nil {
		return nil, err
	}
	var scopes scopes
	if !reused { // otherwise the session ends, whoever the client is
		if err := s.mayRefresh(ctx, who, before); err != nil {
			return nil, err
		}
		if scopes, err = s.scopesOf(ctx, before, p.Get("scope")); err != nil {
			return nil, err
		}
	}
	var issue *sessions.Issue
	err = storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		if refusal, err := s.firstUse(tx, who); refusal != nil || err != nil {
			return refusal, err
		}
		issue, refusal, err = s.sessions.RefreshOAuthTx(tx, raw, who.key(), scopes.narrow, scopes.expanded)
		return refusal, err
	})
	switch {
	case errors.Is(err, sessions.ErrExpiredToken), errors.Is(err, sessions.ErrInvalidToken), errors.Is(err, sessions.ErrNotFound),
		errors.Is(err, sessions.ErrAccountNotFound), errors.Is(err, sessions.ErrAccountTakedown):
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "did", before.DID, "session", before.ID, "client", before.Client.ID, "reason", err.Error())
		return nil, &Error{Code: codeInvalidGrant, Description: errBadRefresh.Description, cause: err}
	case err != nil:
		return nil, err
	}
	return s.respond(issue)
}

// mayRefresh checks that a session belongs to the client that wants to refresh it. A session ends
// if the key by which its client has proved itself isn't in the client's metadata any more.
func (s *Service) mayRefresh(ctx context.Context, who *caller, session *sessions.Session) error {
	c := session.Client
	switch {
	case c.ID != who.Client.ID:
		return errBadRefresh
	case c.Key != who.key():
		return refuse(codeInvalidGrant, "the proof has another key than that of the session")
	case !who.Client.Refreshes():
		return refuse(codeUnauthorizedClient, "the grant_types of the client's metadata don't include refresh_token")
	case c.AuthKey == who.Auth.Key:
		return nil
	}
	if c.AuthKey != "" {
		has, err := s.cfg.Clients.HasKey(ctx, who.Client, c.AuthKey)
		if err != nil {
			return translate(err)
		}
		if !has {
			s.cfg.Logger.InfoContext(ctx, "the key of a client was removed, so its session ends", "client", c.ID, "did", session.DID)
			if err := s.sessions.Revoke(ctx, session.DID, session.ID); err != nil && !errors.Is(err, sessions.ErrNotFound) {
				return err
			}
			return refuse(codeInvalidGrant, "the key of the session is not one of the client's any more")
		}
	}
	return refuse(codeInvalidGrant, "the client doesn't authenticate as it did when the session began")
}

// scopes are those of a refreshed session.
type scopes struct {
	// narrow is what the access token allows, if the client asks for less than it has.
	narrow string
	// expanded is what the session allows now, if it has permission sets. They may have changed.
	expanded string
}

func (s *Service) scopesOf(ctx context.Context, session *sessions.Session, asked string) (scopes, error) {
	var now scopes
	granted, err := scope.Parse(session.Client.Scope)
	if err != nil {
		return now, err
	}
	current := string(session.Scope)
	if expanded, err := s.cfg.Sets.Expand(ctx, granted); err == nil && expanded.String() != current {
		now.expanded = expanded.String()
		current = now.expanded
	} else if err != nil { // what the session has, it keeps
		s.cfg.Logger.WarnContext(ctx, "permission sets not resolved at a refresh", "scope", session.Client.Scope, "error", err)
	}
	if asked == "" {
		return now, nil
	}
	wanted, err := scope.Parse(asked)
	if err == nil {
		wanted, err = s.cfg.Sets.Expand(ctx, wanted)
	}
	if err != nil {
		return now, translate(err)
	}
	// Expanded, a scope may be longer than one that a client may ask for.
	if !wanted.CoveredBy(strings.Fields(current)) {
		return now, refuse(codeInvalidScope, "the scope is wider than what was granted")
	}
	now.narrow = wanted.String()
	return now, nil
}

// respond signs the tokens of a session.
func (s *Service) respond(issue *sessions.Issue) (*TokenResponse, error) {
	t, err := s.sessions.SignOAuth(issue)
	if err != nil {
		return nil, err
	}
	return &TokenResponse{
		AccessToken: t.AccessToken, TokenType: sessions.SchemeDPoP, ExpiresIn: int(t.ExpiresIn / time.Second),
		RefreshToken: t.RefreshToken, Scope: t.Scope, Subject: t.Account.DID.String(),
	}, nil
}
