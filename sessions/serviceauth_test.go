package sessions_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/sessions"
)

func TestServiceTokenIsMissing(t *testing.T) {
	v := &sessions.ServiceVerifier{Audience: "did:web:localhost"}
	_, err := v.Verify(ctx, "", "com.atproto.server.createAccount")
	var refused *sessions.ServiceAuthError
	if !errors.Is(err, sessions.ErrMissingJWT) || !errors.As(err, &refused) || refused.Name != "MissingJwt" || err.Error() != "missing jwt" {
		t.Errorf("without a token: %v", err)
	}
}
