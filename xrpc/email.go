package xrpc

import (
	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/accounts"
)

func (s *Server) requestEmailConfirmation(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Accounts.Emails().RequestConfirmation(c.Context(), c.did())
}

func (s *Server) confirmEmail(c *call, in *atproto.ServerConfirmEmail_Input) (*nothing, error) {
	return nil, s.cfg.Accounts.Emails().Confirm(c.Context(), c.did(), in.Email, in.Token)
}

func (s *Server) requestEmailUpdate(c *call, _ *nothing) (*atproto.ServerRequestEmailUpdate_Output, error) {
	required, err := s.cfg.Accounts.Emails().RequestUpdate(c.Context(), c.did())
	return &atproto.ServerRequestEmailUpdate_Output{TokenRequired: required}, err
}

func (s *Server) updateEmail(c *call, in *atproto.ServerUpdateEmail_Input) (*nothing, error) {
	u := accounts.EmailUpdate{Address: in.Email, Code: value(in.Token), Factor: accounts.KeepFactor}
	switch factor := in.EmailAuthFactor; {
	case factor == nil:
	case *factor:
		u.Factor = accounts.EnableFactor
	default:
		u.Factor = accounts.DisableFactor
	}
	return nil, s.cfg.Accounts.Emails().Update(c.Context(), c.did(), u)
}
