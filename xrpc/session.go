package xrpc

import (
	"time"

	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

func (s *Server) createSession(c *call, in *atproto.ServerCreateSession_Input) (*withDocument[atproto.ServerCreateSession_Output], error) {
	t, err := s.cfg.SignIn.SignIn(c.Context(), signin.Attempt{
		Identifier:     in.Identifier,
		Password:       in.Password,
		Code:           value(in.AuthFactorToken),
		AllowTakendown: value(in.AllowTakendown),
	})
	if err != nil {
		return nil, err
	}
	c.subject = t.Account.DID // for the log
	info := sessionInfo(t.Account, t.Permissions.Allow(sessions.ReadEmail))
	return documented(s, c, t.Account, atproto.ServerCreateSession_Output{
		AccessJwt: t.AccessJWT, RefreshJwt: t.RefreshJWT,
		Did: info.Did, Handle: info.Handle,
		Email: info.Email, EmailConfirmed: info.EmailConfirmed, EmailAuthFactor: info.EmailAuthFactor,
		Active: info.Active, Status: info.Status,
	}), nil
}

func (s *Server) getSession(c *call, _ *nothing) (*withDocument[atproto.ServerGetSession_Output], error) {
	a := c.session.Account
	return documented(s, c, a, sessionInfo(a, c.session.Allows(sessions.ReadEmail))), nil
}

func (s *Server) refreshSession(c *call, _ *nothing) (*withDocument[atproto.ServerRefreshSession_Output], error) {
	t, err := c.refresh.Refresh(c.Context())
	if err != nil {
		return nil, err
	}
	info := sessionInfo(t.Account, t.Permissions.Allow(sessions.ReadEmail))
	return documented(s, c, t.Account, atproto.ServerRefreshSession_Output{
		AccessJwt: t.AccessJWT, RefreshJwt: t.RefreshJWT,
		Did: info.Did, Handle: info.Handle,
		Email: info.Email, EmailConfirmed: info.EmailConfirmed, EmailAuthFactor: info.EmailAuthFactor,
		Active: info.Active, Status: info.Status,
	}), nil
}

func (s *Server) deleteSession(c *call, _ *nothing) (*nothing, error) {
	return nil, c.refresh.End(c.Context())
}

// sessionInfo returns what a session shows of its account, with the e-mail address or without it.
func sessionInfo(a *accounts.Account, email bool) atproto.ServerGetSession_Output {
	out := atproto.ServerGetSession_Output{
		Did: a.DID.String(), Handle: a.Handle.String(), Active: boolean(a.Active()), Status: pointer(string(a.Status())),
	}
	if email {
		if a.Email != "" {
			out.Email = &a.Email
		}
		out.EmailConfirmed, out.EmailAuthFactor = boolean(a.EmailConfirmedAt != nil), boolean(a.EmailAuthFactor)
	}
	return out
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
