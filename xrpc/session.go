package xrpc

import (
	"time"

	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
)

func (s *Server) createSession(c *call, in *atproto.ServerCreateSession_Input) (*atproto.ServerCreateSession_Output, error) {
	t, err := s.cfg.Sessions.Login(c.Context(), sessions.Credentials{
		Identifier:      in.Identifier,
		Password:        in.Password,
		AuthFactorToken: value(in.AuthFactorToken),
		AllowTakendown:  value(in.AllowTakendown),
	})
	if err != nil {
		return nil, err
	}
	c.subject = t.Account.DID // for the log
	info := s.sessionInfo(c, t.Account, scopeOf(t))
	return &atproto.ServerCreateSession_Output{
		AccessJwt: t.AccessJWT, RefreshJwt: t.RefreshJWT,
		Did: info.Did, DidDoc: info.DidDoc, Handle: info.Handle,
		Email: info.Email, EmailConfirmed: info.EmailConfirmed, EmailAuthFactor: info.EmailAuthFactor,
		Active: info.Active, Status: info.Status,
	}, nil
}

func (s *Server) getSession(c *call, _ *nothing) (*atproto.ServerGetSession_Output, error) {
	return s.sessionInfo(c, c.session.Account, c.session.Scope), nil
}

func (s *Server) refreshSession(c *call, _ *nothing) (*atproto.ServerRefreshSession_Output, error) {
	t, err := s.cfg.Sessions.Refresh(c.Context(), c.refresh)
	if err != nil {
		return nil, err
	}
	info := s.sessionInfo(c, t.Account, scopeOf(t))
	return &atproto.ServerRefreshSession_Output{
		AccessJwt: t.AccessJWT, RefreshJwt: t.RefreshJWT,
		Did: info.Did, DidDoc: info.DidDoc, Handle: info.Handle,
		Email: info.Email, EmailConfirmed: info.EmailConfirmed, EmailAuthFactor: info.EmailAuthFactor,
		Active: info.Active, Status: info.Status,
	}, nil
}

func (s *Server) deleteSession(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Sessions.End(c.Context(), c.refresh)
}

// scopeOf returns the scope of new tokens.
func scopeOf(t *sessions.Tokens) sessions.Scope {
	if t.Session == nil {
		return sessions.ScopeTakendown
	}
	return t.Session.Scope
}

// sessionInfo returns what a session of a scope shows of its account.
func (s *Server) sessionInfo(c *call, a *accounts.Account, scope sessions.Scope) *atproto.ServerGetSession_Output {
	active := a.Active()
	out := &atproto.ServerGetSession_Output{
		Did: a.DID.String(), Handle: a.Handle.String(), DidDoc: s.didDoc(c, a),
		Active: &active, Status: pointer(string(a.Status())),
	}
	if s.showsEmail(scope) {
		confirmed, factor := a.EmailConfirmedAt != nil, a.EmailAuthFactor
		out.Email, out.EmailConfirmed, out.EmailAuthFactor = pointer(a.Email), &confirmed, &factor
	}
	return out
}

// showsEmail reports whether sessions of a scope see the e-mail address of the account.
func (s *Server) showsEmail(scope sessions.Scope) bool {
	switch scope {
	case sessions.ScopeAppPass, sessions.ScopeAppPassPrivileged:
		return s.cfg.EmailForAppPasswords
	}
	return true
}

type serviceAuthParams struct {
	Aud string  `json:"aud"`
	Exp *int64  `json:"exp,omitempty"`
	Lxm *string `json:"lxm,omitempty"`
}

func (s *Server) getServiceAuth(c *call, in *serviceAuthParams) (*atproto.ServerGetServiceAuth_Output, error) {
	p := sessions.ServiceTokenParams{Audience: in.Aud, Method: value(in.Lxm)}
	if in.Exp != nil && *in.Exp != 0 {
		p.Expires = time.Unix(*in.Exp, 0)
	}
	token, err := s.cfg.Sessions.ServiceToken(c.Context(), c.session, p)
	return &atproto.ServerGetServiceAuth_Output{Token: token}, err
}
