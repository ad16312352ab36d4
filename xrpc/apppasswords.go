package xrpc

import "github.com/bluesky-social/indigo/api/atproto"

func (s *Server) createAppPassword(c *call, in *atproto.ServerCreateAppPassword_Input) (*atproto.ServerCreateAppPassword_AppPassword, error) {
	p, password, err := s.cfg.AppPasswords.Create(c.Context(), c.did(), in.Name, value(in.Privileged))
	if err != nil {
		return nil, err
	}
	return &atproto.ServerCreateAppPassword_AppPassword{
		Name: p.Name, Password: password, CreatedAt: datetime(p.CreatedAt), Privileged: &p.Privileged,
	}, nil
}

func (s *Server) listAppPasswords(c *call, _ *nothing) (*atproto.ServerListAppPasswords_Output, error) {
	all, err := s.cfg.AppPasswords.List(c.Context(), c.did())
	if err != nil {
		return nil, err
	}
	out := &atproto.ServerListAppPasswords_Output{Passwords: []*atproto.ServerListAppPasswords_AppPassword{}}
	for _, p := range all {
		out.Passwords = append(out.Passwords, &atproto.ServerListAppPasswords_AppPassword{
			Name: p.Name, CreatedAt: datetime(p.CreatedAt), Privileged: &p.Privileged,
		})
	}
	return out, nil
}

func (s *Server) revokeAppPassword(c *call, in *atproto.ServerRevokeAppPassword_Input) (*nothing, error) {
	return nil, s.cfg.AppPasswords.Revoke(c.Context(), c.did(), in.Name)
}
