package sessions_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

var ctx = context.Background()

func login(identifier, password string) signin.Attempt {
	return signin.Attempt{Identifier: identifier, Password: password}
}

func TestLoginAndVerify(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	tokens, err := s.SignIn.SignIn(ctx, login("alice.test", "password"))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := s.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT))
	if err != nil || auth.Account.DID != alice.DID || auth.Session.ID != tokens.Session.ID || !auth.Allows(sessions.ManageAccount) ||
		auth.Session.Method != signin.MethodPassword {
		t.Errorf("Verify: %+v, %v", auth, err)
	}
	if _, err := s.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT), "no-permission"); !errors.Is(err, sessions.ErrInvalidToken) {
		t.Errorf("for a permission that nobody has: %v", err)
	}
	if _, err := s.SignIn.SignIn(ctx, login("alice.test", "wrong")); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := s.SignIn.SignIn(ctx, login("alice.test", strings.Repeat("x", 513))); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a very long password: %v", err)
	}
}

func TestListAndRevoke(t *testing.T) {
	s := domaintest.New(t)
	alice, bob := s.SignUp("alice"), s.SignUp("bob")
	did := alice.Account.DID
	s.Advance(time.Second)
	second, err := s.Sessions.Start(ctx, did, sessions.Grant{Method: "passkey"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Sessions.List(ctx, did)
	if err != nil || len(list) != 2 || list[0].ID != second.Session.ID || list[0].Method != "passkey" {
		t.Errorf("List: %+v, %v", list, err)
	}
	if err := s.Sessions.Revoke(ctx, bob.Account.DID, second.Session.ID); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("bob revokes alice's session: %v", err)
	}
	if err := s.Sessions.Revoke(ctx, did, second.Session.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Sessions.Verify(ctx, sessions.Bearer(second.AccessJWT)); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("a revoked session: %v", err)
	}
	if err := s.Sessions.EndAll(ctx, did); err != nil {
		t.Error(err)
	}
	if _, err := s.Sessions.Refresh(ctx, alice.RefreshJWT); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("after EndAll: %v", err)
	}
	if _, err := s.Sessions.Verify(ctx, sessions.Bearer(bob.AccessJWT)); err != nil {
		t.Errorf("bob: %v", err)
	}
	if _, err := s.Sessions.Start(ctx, "did:plc:nobody", sessions.Grant{}); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestSessionsEndWithWhatTheyDependOn(t *testing.T) {
	for name, end := range map[string]func(*domaintest.Services, *sessions.Tokens) error{
		"the password changes": func(s *domaintest.Services, k *sessions.Tokens) error {
			return s.Accounts.SetPassword(ctx, k.Account.DID, "another password")
		},
		"the credentials are revoked": func(s *domaintest.Services, k *sessions.Tokens) error {
			return s.Accounts.RevokeCredentials(ctx, k.Account.DID)
		},
		"the account is taken down": func(s *domaintest.Services, k *sessions.Tokens) error {
			return s.Accounts.TakeDown(ctx, k.Account.DID, "")
		},
		"the account is deleted": func(s *domaintest.Services, k *sessions.Tokens) error {
			return s.Accounts.DeleteNow(ctx, k.Account.DID)
		},
		"its refresh token is dropped": func(s *domaintest.Services, k *sessions.Tokens) error { return s.Sessions.End(ctx, k.RefreshJWT) },
	} {
		s := domaintest.New(t)
		k := s.SignUp("alice")
		if err := end(s, k); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := s.Sessions.Verify(ctx, sessions.Bearer(k.AccessJWT)); err == nil {
			t.Errorf("when %s the access token lives on", name)
		}
		if _, err := s.Sessions.Refresh(ctx, k.RefreshJWT); err == nil {
			t.Errorf("when %s the refresh token lives on", name)
		}
		if all, _ := s.Sessions.List(ctx, k.Account.DID); len(all) != 0 {
			t.Errorf("when %s sessions stay: %v", name, all)
		}
	}
}

func TestNoSecretIsStored(t *testing.T) {
	s := domaintest.New(t)
	k := s.SignUp("alice")
	_, password, err := s.AppPasswords.Create(ctx, k.Account.DID, "app", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.RequestPasswordReset(ctx, "alice@example.com"); err != nil {
		t.Fatal(err)
	}
	code := s.Code("alice")
	tables, err := s.Store.Tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{`"password"`, password, code, k.RefreshJWT, strings.Split(k.RefreshJWT, ".")[2]}
	_ = s.Store.View(ctx, func(tx storage.Tx) error {
		for _, table := range tables {
			for rec, err := range tx.Scan(table.Name, storage.Range{Entries: true}) {
				if err != nil {
					t.Error(err)
				}
				for _, secret := range secrets {
					if secret == `"password"` && strings.Contains(string(rec.Value), `"method":"password"`) {
						continue
					}
					if strings.Contains(string(rec.Value), secret) {
						t.Errorf("table %s shows %s", table.Name, secret)
					}
				}
			}
		}
		return nil
	})
}

func TestManyRefreshesKeepTheRecordSmall(t *testing.T) {
	s := domaintest.New(t)
	token := s.SignUp("alice").RefreshJWT
	for range 300 {
		k, err := s.Sessions.Refresh(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		token = k.RefreshJWT
	}
	_ = s.Store.View(ctx, func(tx storage.Tx) error {
		for rec := range tx.Scan("sessions", storage.Range{}) {
			if len(rec.Value) > 32<<10 {
				t.Errorf("the session has %d bytes", len(rec.Value))
			}
		}
		return nil
	})
}

func TestKeysRotate(t *testing.T) {
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	old := sessions.Key{ID: "old", Secret: []byte("0123456789abcdef0123456789abcdef")}
	fresh := sessions.Key{ID: "new", Private: private}
	with := func(s *domaintest.Services, keys ...sessions.Key) *sessions.Service {
		t.Helper()
		service, err := sessions.New(ctx, s.Store, s.Accounts, sessions.Config{
			ServiceDID: "did:web:pds.test", Keys: keys, Secret: make([]byte, 32), Now: s.Now,
			ServiceAuth: sessions.ServiceAuthRules{Protected: []string{"com.example.manage"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return service
	}
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	before, both, after := with(s, old), with(s, fresh, old), with(s, fresh)
	k, err := before.Start(ctx, did, sessions.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Verify(ctx, sessions.Bearer(k.AccessJWT)); err != nil {
		t.Errorf("the old key's token while both are in use: %v", err)
	}
	refreshed, err := both.Refresh(ctx, k.RefreshJWT)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Verify(ctx, sessions.Bearer(refreshed.AccessJWT)); err != nil {
		t.Errorf("the new key's token: %v", err)
	}
	if _, err := after.Verify(ctx, sessions.Bearer(k.AccessJWT)); !errors.Is(err, sessions.ErrInvalidToken) {
		t.Errorf("the old key's token after it is gone: %v", err)
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	s := domaintest.New(t)
	for name, cfg := range map[string]sessions.Config{
		"no audience":  {Keys: []sessions.Key{{Secret: make([]byte, 32)}}, Secret: make([]byte, 32)},
		"no key":       {ServiceDID: "did:web:x", Secret: make([]byte, 32)},
		"no secret":    {ServiceDID: "did:web:x", Keys: []sessions.Key{{Secret: make([]byte, 32)}}},
		"a short key":  {ServiceDID: "did:web:x", Keys: []sessions.Key{{Secret: make([]byte, 8)}}, Secret: make([]byte, 32)},
		"an empty key": {ServiceDID: "did:web:x", Keys: []sessions.Key{{}}, Secret: make([]byte, 32)},
		"no rules":     {ServiceDID: "did:web:x", Keys: []sessions.Key{{Secret: make([]byte, 32)}}, Secret: make([]byte, 32)},
		"an ID twice":  {ServiceDID: "did:web:x", Keys: []sessions.Key{{Secret: make([]byte, 32)}, {Secret: make([]byte, 32)}}, Secret: make([]byte, 32)},
	} {
		if _, err := sessions.New(ctx, s.Store, s.Accounts, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPurge(t *testing.T) {
	s := domaintest.New(t)
	k := s.SignUp("alice")
	s.Advance(89 * 24 * time.Hour)
	if _, err := s.Sessions.Refresh(ctx, k.RefreshJWT); err != nil {
		t.Fatal(err)
	}
	s.SignUp("bob")
	s.Advance(89 * 24 * time.Hour)
	if err := s.Sessions.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if all, _ := s.Sessions.List(ctx, k.Account.DID); len(all) != 1 {
		t.Errorf("a session in use was purged: %v", all)
	}
	s.Advance(2 * 24 * time.Hour)
	if err := s.Sessions.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if all, _ := s.Sessions.List(ctx, k.Account.DID); len(all) != 0 {
		t.Errorf("a session that is over was not: %v", all)
	}
}

// leave logs alice, who is taken down, in to leave.
func leave(t *testing.T, s *domaintest.Services) *sessions.Tokens {
	t.Helper()
	c := login("alice.test", "password")
	c.AllowTakendown = true
	tokens, err := s.SignIn.SignIn(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokensForLeavingHaveNoSession(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	if err := s.Accounts.TakeDown(ctx, did, "case 17"); err != nil {
		t.Fatal(err)
	}
	tokens := leave(t, s)
	if list, err := s.Sessions.List(ctx, did); err != nil || len(list) != 0 || tokens.Session != nil {
		t.Errorf("sessions %v, %v; with the tokens %v", list, err, tokens.Session)
	}
	if err := s.Sessions.End(ctx, tokens.RefreshJWT); err != nil {
		t.Errorf("ending what isn't stored: %v", err)
	}
	if _, err := s.Sessions.Refresh(ctx, tokens.RefreshJWT); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("a refresh: %v", err)
	}
	if err := s.Accounts.Restore(ctx, did); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sessions.Refresh(ctx, tokens.RefreshJWT); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("a refresh after the account was restored: %v", err)
	}
	if _, err := s.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT), sessions.SeeSession); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("an access token for leaving after the account was restored: %v", err)
	}
}

func TestTokensForLeavingEndWithWhatTheyDependOn(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	takeDown := func() {
		t.Helper()
		s.Advance(time.Second)
		if err := s.Accounts.TakeDown(ctx, did, ""); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(k *sessions.Tokens) error {
		_, err := s.Sessions.Verify(ctx, sessions.Bearer(k.AccessJWT), sessions.SeeSession)
		return err
	}
	takeDown()
	for name, end := range map[string]func() error{
		"another password": func() error { return s.Accounts.SetPassword(ctx, did, "password") },
		"another takedown": func() error {
			err := s.Accounts.Restore(ctx, did)
			takeDown()
			return err
		},
	} {
		k := leave(t, s)
		if err := verify(k); err != nil {
			t.Errorf("before %s: %v", name, err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := verify(k); !errors.Is(err, sessions.ErrExpiredToken) {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// TestTokensForLeavingOutliveAnotherReference has moderators give the reason for a takedown anew.
func TestTokensForLeavingOutliveAnotherReference(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	if err := s.Accounts.TakeDown(ctx, did, "case 17"); err != nil {
		t.Fatal(err)
	}
	k := leave(t, s)
	yes := true
	for ref, again := range map[string]func() error{
		"case 18": func() error { return s.Accounts.TakeDown(ctx, did, "case 18") },
		"case 19": func() error {
			return s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{Takedown: &yes, Ref: "case 19"})
		},
	} {
		s.Advance(time.Second)
		if err := again(); err != nil {
			t.Fatal(err)
		}
		auth, err := s.Sessions.Verify(ctx, sessions.Bearer(k.AccessJWT), sessions.SeeSession)
		if err != nil || auth.Account.Takedown.Ref != ref {
			t.Errorf("with %s: %+v, %v", ref, auth, err)
		}
	}
}

// TestRememberedTokens verifies tokens again whose signatures were verified before: everything else
// about them is checked anew.
func TestRememberedTokens(t *testing.T) {
	f := domaintest.New(t)
	tokens := f.SignUp("alice")
	for range 2 {
		if _, err := f.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Sessions.Verify(ctx, sessions.Bearer(tokens.RefreshJWT)); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("a refresh token as an access token: %v", err)
		}
		if _, err := f.Sessions.Refresh(ctx, tokens.AccessJWT); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("an access token as a refresh token: %v", err)
		}
		forged := tokens.AccessJWT[:len(tokens.AccessJWT)-4] + "AAAA"
		if _, err := f.Sessions.Verify(ctx, sessions.Bearer(forged)); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("another signature: %v", err)
		}
		if _, err := f.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT), "no-permission"); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("for a permission that nobody has: %v", err)
		}
	}
	f.Advance(3 * time.Hour)
	if _, err := f.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT)); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("after it has expired: %v", err)
	}
	next, err := f.Sessions.Refresh(ctx, tokens.RefreshJWT)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Sessions.Verify(ctx, sessions.Bearer(next.AccessJWT)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sessions.End(ctx, next.RefreshJWT); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Sessions.Verify(ctx, sessions.Bearer(next.AccessJWT)); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("after its session has ended: %v", err)
	}
}
