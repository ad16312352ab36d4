package e2e

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// TestSignedTokensWithUnexpectedClaims checks that tokens with a valid signature but claims that
// the server wouldn't issue are refused.
func TestSignedTokensWithUnexpectedClaims(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of thirty-two characters")
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		var issued jwt.MapClaims
		old, _, err := jwt.NewParser().ParseUnverified(alice.AccessJWT, &issued)
		if err != nil {
			t.Fatal(err)
		}
		get := func(claim string, value any) *answer {
			t.Helper()
			token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{})
			token.Header = old.Header
			claims := token.Claims.(jwt.MapClaims)
			for name, v := range issued {
				claims[name] = v
			}
			claims[claim] = value
			signed, err := token.SignedString(secret)
			if err != nil {
				t.Fatal(err)
			}
			return s.do(bearer(signed), "server.getSession", nil)
		}
		get("sub", alice.DID).ok() // a control: a token with unchanged claims is accepted
		get("lxm", "com.atproto.server.getSession").refused(400, "InvalidToken", "Malformed token")
		get("cnf", object{"jkt": "x"}).refused(400, "InvalidToken", "Malformed token")
		get("sub", "nonsense").refused(400, "InvalidToken", "Malformed token")
		get("aud", "did:web:elsewhere.test").refused(400, "InvalidToken", "Token could not be verified")
		get("scope", "com.atproto.refresh").refused(400, "InvalidToken", "Bad token scope")
	}, config(func(c *gatehouse.Config) { c.Keys.Tokens = []sessions.Key{{Secret: secret}} }))
}

// TestServiceTokenOfAnUnknownIssuer signs up with a service token whose issuer isn't in the
// directory.
func TestServiceTokenOfAnUnknownIssuer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		const issuer, method = "did:plc:iowu64gp7dw45k7uky3m3yos", "com.atproto.server.createAccount"
		token := domaintest.SignToken(t, privateKey(t), object{
			"iss": issuer, "aud": "did:web:localhost", "lxm": method, "jti": "one", "exp": s.Clock.Now().Add(time.Minute).Unix(),
		})
		s.do(bearer(token), "server.createAccount", object{
			"did": issuer, "handle": "mover.test", "email": "mover@example.com", "password": "long enough",
		}).refused(401, "AuthenticationRequired", "could not resolve iss did")
	})
}
