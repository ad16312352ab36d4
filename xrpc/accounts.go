package xrpc

import (
	"encoding/json"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

func (s *Server) createAccount(c *call, in *atproto.ServerCreateAccount_Input) (*atproto.ServerCreateAccount_Output, error) {
	switch {
	case in.PlcOp != nil:
		return nil, invalid(`Unsupported input: "plcOp"`)
	case in.Password == nil && s.cfg.Accounts.PasswordRequired():
		return nil, invalid(`Input must have the property "password"`)
	}
	params := accounts.CreateParams{
		Handle:      in.Handle,
		Email:       value(in.Email),
		Password:    value(in.Password),
		NoPassword:  in.Password == nil,
		Ticket:      value(in.InviteCode),
		RecoveryKey: value(in.RecoveryKey),
		DID:         syntax.DID(value(in.Did)),

		VerificationCode:  value(in.VerificationCode),
		VerificationPhone: value(in.VerificationPhone),
	}
	if proof := c.service; proof != nil {
		params.ProvenDID, params.ProofKey = proof.Issuer, proof.Key
		params.Guard = func(tx storage.Tx) error { return s.cfg.Sessions.UseServiceTokenTx(tx, proof) }
	}
	t, err := s.cfg.SignIn.SignUp(c.Context(), params)
	if err != nil {
		return nil, err
	}
	c.subject = t.Account.DID // for the log
	return &atproto.ServerCreateAccount_Output{
		AccessJwt:  t.AccessJWT,
		RefreshJwt: t.RefreshJWT,
		Handle:     t.Account.Handle.String(),
		Did:        t.Account.DID.String(),
		DidDoc:     s.didDoc(c, t.Account),
	}, nil
}

func (s *Server) requestAccountDelete(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Accounts.RequestDelete(c.Context(), c.did())
}

func (s *Server) deleteAccount(c *call, in *atproto.ServerDeleteAccount_Input) (*nothing, error) {
	return nil, s.cfg.SignIn.DeleteAccount(c.Context(), syntax.DID(in.Did), in.Password, in.Token)
}

func (s *Server) requestPasswordReset(c *call, in *atproto.ServerRequestPasswordReset_Input) (*nothing, error) {
	return nil, s.cfg.Accounts.RequestPasswordReset(c.Context(), in.Email)
}

func (s *Server) resetPassword(c *call, in *atproto.ServerResetPassword_Input) (*nothing, error) {
	return nil, s.cfg.Accounts.ResetPassword(c.Context(), accounts.ResetParams{Code: in.Token, Password: in.Password})
}

// didDoc returns the DID document of an account for an output, or nil if it isn't known.
func (s *Server) didDoc(c *call, a *accounts.Account) *any {
	doc := s.cfg.Accounts.Identity().Document(c.Context(), a)
	if doc == nil {
		return nil
	}
	var v any = json.RawMessage(doc)
	return &v
}
