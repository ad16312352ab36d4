package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/url"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Revoke ends the session of a token, which may be any that the session was given. A token that
// isn't the client's, or of a session with another key than that of the proof, is ignored, as RFC
// 7009 has it. A proof isn't required. The error is an [*Error], or one of the store.
func (s *Service) Revoke(ctx context.Context, c Call, p url.Values) error {
	if e := single(p); e != nil {
		return e
	}
	var proof *dpop.Proof
	if len(c.Proofs) > 0 {
		var err error
		proof, err = dpop.Verify(c.Proofs, dpop.Check{Method: c.Method, URL: c.URL, Now: s.cfg.Now(), Nonces: s.cfg.Nonces})
		if err != nil {
			return translate(err)
		}
	}
	auth, err := s.authenticate(ctx, p)
	if err != nil {
		return err
	}
	if p.Get("token") == "" {
		return refuse(codeInvalidRequest, "token is required")
	}
	who, token := &caller{auth, proof}, s.sessions.ParseOAuth(p.Get("token"))
	return storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		if refusal, err := s.firstUse(tx, who); refusal != nil || err != nil {
			return refusal, err
		}
		session, err := s.sessions.FindOAuthTx(tx, token)
		switch {
		case errors.Is(err, sessions.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		case session.Client.ID != auth.Client.ID, proof != nil && session.Client.Key != proof.Key:
			return nil, nil
		}
		return nil, s.sessions.RevokeTx(tx, session.DID, session.ID)
	})
}

// Introspection is what a service is told about a token (source: RFC 7662, section 2.2). Of a token
// that isn't good it is only told that.
type Introspection struct {
	Active    bool              `json:"active"`
	Scope     string            `json:"scope,omitempty"`
	ClientID  string            `json:"client_id,omitempty"`
	TokenType string            `json:"token_type,omitempty"`
	Expires   int64             `json:"exp,omitempty"`
	IssuedAt  int64             `json:"iat,omitempty"`
	Subject   string            `json:"sub,omitempty"`
	Audience  []string          `json:"aud,omitempty"`
	Issuer    string            `json:"iss,omitempty"`
	ID        string            `json:"jti,omitempty"`
	Confirm   map[string]string `json:"cnf,omitempty"`
}

// Introspect tells one of the operator's own services whether an access token is good at this time,
// and what it allows. The service has a name and a password. It still has to verify the proof that
// comes with the token. The error is an [*Error], or one of the store.
func (s *Service) Introspect(ctx context.Context, service, password string, p url.Values) (*Introspection, error) {
	want, known := s.cfg.Introspectors[service]
	got, expected := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(want))
	if subtle.ConstantTimeCompare(got[:], expected[:]) != 1 || !known {
		return nil, refuse(codeInvalidClient, "the name or the password is wrong")
	}
	if e := single(p); e != nil {
		return nil, e
	}
	if p.Get("token") == "" {
		return nil, refuse(codeInvalidRequest, "token is required")
	}
	var info *sessions.OAuthTokenInfo
	token := s.sessions.ParseOAuth(p.Get("token"))
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		info, err = s.sessions.InspectOAuthTx(tx, token)
		return err
	})
	switch {
	case errors.Is(err, sessions.ErrNotFound) || err == nil && info.Refresh: // which is the client's alone
		return &Introspection{}, nil
	case err != nil:
		return nil, err
	}
	return &Introspection{
		Active: true, Scope: info.Scope, ClientID: info.Session.Client.ID, TokenType: sessions.SchemeDPoP,
		Expires: info.ExpiresAt.Unix(), IssuedAt: info.IssuedAt.Unix(), Subject: info.Session.DID.String(), Audience: info.Audiences,
		Issuer: s.cfg.Issuer, ID: info.ID, Confirm: map[string]string{"jkt": info.Session.Client.Key},
	}, nil
}
