package xrpc

import (
	"encoding/json"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

func (s *Server) createAccount(c *call, in *atproto.ServerCreateAccount_Input) (*withDocument[atproto.ServerCreateAccount_Output], error) {
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
	out := atproto.ServerCreateAccount_Output{
		AccessJwt:  t.AccessJWT,
		RefreshJwt: t.RefreshJWT,
		Handle:     t.Account.Handle.String(),
		Did:        t.Account.DID.String(),
	}
	return documented(s, c, t.Account, out), nil
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

// withDocument is an output with a property "didDoc" for the DID document of an account, which is
// JSON already and isn't encoded once more. It is nil if the document isn't known.
type withDocument[Out any] struct {
	out Out // an object that isn't empty
	doc json.RawMessage
}

// documented adds the DID document of an account to an output.
func documented[Out any](s *Server, c *call, a *accounts.Account, out Out) *withDocument[Out] {
	return &withDocument[Out]{out, s.cfg.Accounts.Identity().Document(c.Context(), a)}
}

// encode implements [encoder].
func (o *withDocument[Out]) encode() ([]byte, error) {
	out, err := json.Marshal(&o.out)
	if err != nil || o.doc == nil {
		return out, err
	}
	const property = `,"didDoc":`
	body := make([]byte, 0, len(out)+len(property)+len(o.doc))
	body = append(body, out[:len(out)-1]...)
	body = append(body, property...)
	body = append(body, o.doc...)
	return append(body, '}'), nil
}
