package e2e

import (
	"context"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/signin"
)

// staff is a signin.Way that accepts the same password for every account, like a staff directory.
type staff struct{}

func (staff) Name() string { return "staff" }

func (staff) Prove(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
	if a.Account() == nil || a.Password != "of the directory" {
		return nil, accounts.ErrBadCredentials
	}
	return &signin.Proof{DID: a.Account().DID}, nil
}

// TestAServerWithoutAccountPasswords checks that methods that need account passwords are refused
// with a clear message, and that the embedder's way of signing in is used instead.
func TestAServerWithoutAccountPasswords(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.SignIn = gatehouse.SignIn{Ways: []signin.Way{staff{}}, NoAccountPasswords: true}
	}))
	const none = "This server doesn't use account passwords"
	s.do(nobody, "server.createAccount", object{"handle": "bob.test", "email": "bob@example.com", "password": "password"}).refused(400, "InvalidRequest", none)
	alice := s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "alice@example.com"})
	alice.ok()
	me, did := bearer(alice.text("accessJwt")), alice.text("did")

	s.login("alice.test", "password").refused(401, "AuthenticationRequired", "Invalid identifier or password")
	s.login("alice.test", "").refused(401, "AuthenticationRequired", "Invalid identifier or password")
	s.login("nobody.test", "of the directory").refused(401, "AuthenticationRequired", "Invalid identifier or password")
	s.login("alice.test", "of the directory").ok()

	for _, email := range []string{"alice@example.com", "nobody@example.com"} {
		s.do(nobody, "server.requestPasswordReset", object{"email": email}).refused(400, "InvalidRequest", none)
	}
	s.do(nobody, "server.resetPassword", object{"token": "AAAAA-AAAAA", "password": "another password"}).refused(400, "InvalidRequest", none)
	s.do(admin, "admin.updateAccountPassword", object{"did": did, "password": "another password"}).refused(400, "InvalidRequest", none)

	s.do(me, "server.requestAccountDelete", nil).ok()
	deletion := object{"did": did, "password": "password", "token": s.Mail.Code("alice@example.com")}
	s.do(nobody, "server.deleteAccount", deletion).refused(401, "AuthenticationRequired", "Invalid did or password")
	deletion["password"] = "of the directory"
	s.do(nobody, "server.deleteAccount", deletion).ok()
	if s.exists(did) {
		t.Error("the account still exists after deleteAccount")
	}
}
