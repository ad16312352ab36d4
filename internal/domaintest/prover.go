package domaintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// NewP256 returns a new key of ES256.
func NewP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// WithOAuth makes the sessions those of an authorization server with a key of its own, for [New].
func WithOAuth(t testing.TB) func(*Config) {
	keys := []sessions.OAuthKey{{ID: "one", Private: NewP256(t)}}
	return func(c *Config) {
		c.Sessions.OAuth = sessions.OAuthConfig{Issuer: "http://pds.test", Keys: keys}
	}
}

// Prover is an OAuth client's key, which makes DPoP proofs.
type Prover struct {
	// Key is the thumbprint of the key.
	Key string

	key *oauthtest.Key
}

// NewProver returns a new key.
func NewProver(t testing.TB) *Prover {
	t.Helper()
	key := oauthtest.NewKey()
	return &Prover{key.Thumbprint(), key}
}

// Proof returns a proof for a request. The token and the nonce are left out if they are empty.
// Changes replace claims; nil removes one.
func (p *Prover) Proof(method, url, token, nonce string, now time.Time, changes ...map[string]any) string {
	claims := map[string]any{}
	for _, change := range changes {
		for name, v := range change {
			claims[name] = v
		}
	}
	return p.key.Sign(oauthtest.Proof{Method: method, URL: url, AccessToken: token, Nonce: nonce, Now: now, Claims: claims})
}

// Request returns a request with a token and a proof for it.
func (p *Prover) Request(s *sessions.Service, method, url, token string, now time.Time) sessions.Request {
	return sessions.Request{
		Scheme: sessions.SchemeDPoP, Token: token, Method: method, URL: url,
		Proofs: []string{p.Proof(method, url, token, s.Nonce(), now)},
	}
}
