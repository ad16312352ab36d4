package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"
)

// TestOfficialClient calls the methods for sessions, app passwords, codes, invites and deletion
// with indigo's client.
func TestOfficialClient(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		ctx := context.Background()
		text := func(s string) *string { return &s }
		public := atclient.NewAPIClient(s.URL)
		about, err := atproto.ServerDescribeServer(ctx, public)
		if err != nil || about.AvailableUserDomains[0] != ".test" {
			t.Fatalf("describeServer: %+v, %v", about, err)
		}
		created, err := atproto.ServerCreateAccount(ctx, public, &atproto.ServerCreateAccount_Input{
			Handle: "alice.test", Email: text("alice@example.com"), Password: text("password"),
		})
		if err != nil {
			t.Fatal(err)
		}

		refreshes := 0
		c, err := atclient.LoginWithPasswordHost(ctx, s.URL, "alice.test", "password", "", func(context.Context, atclient.PasswordSessionData) { refreshes++ })
		if err != nil {
			t.Fatal(err)
		}
		if c.AccountDID.String() != created.Did {
			t.Errorf("logged in as %s, want %s", c.AccountDID, created.Did)
		}
		get := func() *atproto.ServerGetSession_Output {
			t.Helper()
			got, err := atproto.ServerGetSession(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := get(); got.Handle != "alice.test" || refreshes != 0 {
			t.Errorf("getSession: %+v after %d refreshes", got, refreshes)
		}
		s.Clock.Advance(3 * time.Hour)
		if got := get(); got.Did != created.Did || refreshes != 1 {
			t.Errorf("getSession: %+v after %d refreshes, want 1", got, refreshes)
		}

		app, err := atproto.ServerCreateAppPassword(ctx, c, &atproto.ServerCreateAppPassword_Input{Name: "app"})
		if err != nil {
			t.Fatal(err)
		}
		list, err := atproto.ServerListAppPasswords(ctx, c)
		if err != nil || len(list.Passwords) != 1 || list.Passwords[0].Name != "app" {
			t.Fatalf("listAppPasswords: %+v, %v", list, err)
		}
		withApp, err := atclient.LoginWithPasswordHost(ctx, s.URL, created.Did, app.Password, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = atproto.ServerListAppPasswords(ctx, withApp)
		var refused *atclient.APIError
		if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Name != "InvalidToken" {
			t.Errorf("listAppPasswords with an app password: %v, want 400 InvalidToken", err)
		}
		_, err = atclient.LoginWithPasswordHost(ctx, s.URL, "alice.test", "wrong", "", nil)
		if !errors.As(err, &refused) || refused.StatusCode != 401 {
			t.Errorf("a login with a wrong password: %v, want status 401", err)
		}
		if err := atproto.ServerRevokeAppPassword(ctx, c, &atproto.ServerRevokeAppPassword_Input{Name: "app"}); err != nil {
			t.Fatal(err)
		}
		_, err = atproto.ServerGetSession(ctx, withApp)
		if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Name != "ExpiredToken" {
			t.Errorf("getSession with the session of a revoked app password: %v, want 400 ExpiredToken", err)
		}

		if err := atproto.ServerRequestPasswordReset(ctx, public, &atproto.ServerRequestPasswordReset_Input{Email: "alice@example.com"}); err != nil {
			t.Fatal(err)
		}
		reset := &atproto.ServerResetPassword_Input{Token: s.Mail.Code("alice@example.com"), Password: "another password"}
		if err := atproto.ServerResetPassword(ctx, public, reset); err != nil {
			t.Fatal(err)
		}
		err = atproto.ServerResetPassword(ctx, public, reset)
		if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Name != "InvalidToken" {
			t.Errorf("resetPassword with a used code: %v, want 400 InvalidToken", err)
		}
		if _, err := atproto.ServerGetSession(ctx, c); err == nil {
			t.Error("a session is still valid after the password was reset")
		}
		if c, err = atclient.LoginWithPasswordHost(ctx, s.URL, "alice.test", "another password", "", nil); err != nil {
			t.Fatal(err)
		}
		other, err := atclient.LoginWithPasswordHost(ctx, s.URL, "alice.test", "another password", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Auth.(*atclient.PasswordAuth).Logout(ctx, other.Client); err != nil {
			t.Fatal(err)
		}
		if _, err := atproto.ServerGetSession(ctx, other); err == nil {
			t.Error("a session is still valid after its logout")
		}
		get()

		boss := &atclient.AdminAuth{Password: "admin-password"}
		office := &atclient.APIClient{Client: s.Client(), Host: s.URL, Auth: boss}
		if one, err := atproto.ServerCreateInviteCode(ctx, office, &atproto.ServerCreateInviteCode_Input{UseCount: 1}); err != nil || one.Code == "" {
			t.Fatalf("createInviteCode: %+v, %v", one, err)
		}
		codes, err := atproto.ServerCreateInviteCodes(ctx, office, &atproto.ServerCreateInviteCodes_Input{CodeCount: 2, UseCount: 1, ForAccounts: []string{created.Did}})
		if err != nil || len(codes.Codes[0].Codes) != 2 {
			t.Fatalf("createInviteCodes: %+v, %v", codes, err)
		}
		mine, err := atproto.ServerGetAccountInviteCodes(ctx, c, true, true)
		if err != nil || len(mine.Codes) != 2 {
			t.Fatalf("getAccountInviteCodes: %+v, %v", mine, err)
		}

		if err := atproto.ServerRequestAccountDelete(ctx, c); err != nil {
			t.Fatal(err)
		}
		err = atproto.ServerDeleteAccount(ctx, public, &atproto.ServerDeleteAccount_Input{
			Did: created.Did, Password: "another password", Token: s.Mail.Code("alice@example.com"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := atproto.ServerGetSession(ctx, c); err == nil {
			t.Error("a session is still valid after its account was deleted")
		}
	})
}
