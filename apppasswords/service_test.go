package apppasswords_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

var ctx = context.Background()

func TestLifeOfAnAppPassword(t *testing.T) {
	s := domaintest.New(t)
	alice, bob := s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
	phone, password, err := s.AppPasswords.Create(ctx, alice, "phone", false)
	if err != nil || phone.Name != "phone" {
		t.Fatalf("Create: %+v, %v", phone, err)
	}
	if shown, ok := apppasswords.Normalize(password); !ok || shown != password {
		t.Errorf("the password is %q", password)
	}
	if _, _, err := s.AppPasswords.Create(ctx, alice, "phone", true); !errors.Is(err, apppasswords.ErrNameTaken) {
		t.Errorf("the same name: %v", err)
	}
	if _, _, err := s.AppPasswords.Create(ctx, bob, "phone", false); err != nil {
		t.Errorf("the same name for another account: %v", err)
	}
	s.Advance(time.Second)
	if _, _, err := s.AppPasswords.Create(ctx, alice, "phone 2", true); err != nil {
		t.Fatal(err)
	}
	list, err := s.AppPasswords.List(ctx, alice)
	if err != nil || len(list) != 2 || list[0].Name != "phone 2" || !list[0].Privileged || list[1].Name != "phone" {
		t.Errorf("List: %+v, %v", list, err)
	}
	login := func(identifier string) (*sessions.Tokens, error) {
		return s.SignIn.SignIn(ctx, signin.Attempt{Identifier: identifier, Password: password})
	}
	k, err := login("alice.test")
	if err != nil || k.Session.Scope != sessions.ScopeAppPass || k.Session.AppPassword != "phone" {
		t.Fatalf("SignIn: %+v, %v", k, err)
	}
	if _, err := login("bob.test"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("alice's app password for bob: %v", err)
	}
	for range 2 {
		if err := s.AppPasswords.Revoke(ctx, alice, "phone"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Sessions.Verify(ctx, sessions.Bearer(k.AccessJWT)); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("the session of a revoked app password: %v", err)
	}
	if _, err := login("alice.test"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("a revoked app password: %v", err)
	}
	if err := s.Accounts.RevokeCredentials(ctx, alice); err != nil {
		t.Error(err)
	}
	if list, _ := s.AppPasswords.List(ctx, alice); len(list) != 0 {
		t.Errorf("after all credentials were revoked: %v", list)
	}
	if list, _ := s.AppPasswords.List(ctx, bob); len(list) != 1 {
		t.Errorf("the app passwords of bob: %v", list)
	}
}

func TestNames(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	for name, good := range map[string]bool{
		"": false, "a": true, "with space": true, "☃": true, "nul\x00": false, "\xff": false,
		strings.Repeat("n", 256): true, strings.Repeat("n", 257): false,
	} {
		_, _, err := s.AppPasswords.Create(ctx, did, name, false)
		if good != (err == nil) || err != nil && !errors.Is(err, apppasswords.ErrInvalidName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
