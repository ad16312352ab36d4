package interop

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// TestAnEntryway: an account lives on data.test, which has no pages and no passwords for
// applications to use: indigo's client finds its way from there to the entryway at pds.test, signs
// in, and takes the tokens back to data.test.
func TestAnEntryway(t *testing.T) {
	for _, tt := range indigoClients {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.config(t)
			n := newNetwork(t, cfg)
			data := n.serve("data.test", "data.test/", func(c *gatehouse.Config) {
				c.OAuth.Issuer = serverOrigin
				c.DIDs.Directory = n.srv.Gatehouse.Directory
			})
			alice := n.signUp("alice.pds.test")
			n.move(alice, data)

			app := n.app(cfg)
			session := n.authorize(app, alice, alice.Handle)
			if session.HostURL != dataOrigin || session.AuthServerURL != serverOrigin {
				t.Fatalf("the session is with %s, signed in at %s", session.HostURL, session.AuthServerURL)
			}
			resumed, err := app.ResumeSession(t.Context(), session.AccountDID, session.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			api := resumed.APIClient()
			ask := func() error {
				var about struct{ DID, Handle, Email string }
				err := api.Get(t.Context(), "com.atproto.server.getSession", nil, &about)
				if err == nil && (about.DID != alice.DID || about.Email != alice.Email) {
					t.Errorf("getSession: %+v", about)
				}
				return err
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			if got := n.post(resumed); got != "200 "+alice.DID {
				t.Errorf("the embedder's route: %s", got)
			}
			if _, err := resumed.RefreshTokens(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := ask(); err != nil {
				t.Error("after a refresh: ", err)
			}
			// The entryway itself takes the tokens, too.
			resumed.Data.HostURL = serverOrigin
			if err := resumed.APIClient().Get(t.Context(), "com.atproto.server.getSession", nil, nil); err != nil {
				t.Error("at the entryway: ", err)
			}
			resumed.Data.HostURL = dataOrigin

			// A takedown on data.test works at once there, and a revocation at the entryway.
			if err := data.Gatehouse.Accounts.TakeDown(t.Context(), syntax.DID(alice.DID), ""); err != nil {
				t.Fatal(err)
			}
			if err := ask(); err == nil {
				t.Error("an account that is taken down is of use")
			}
			if err := resumed.RevokeSession(t.Context()); err != nil {
				t.Error("revoking: ", err)
			}
			if _, err := resumed.RefreshTokens(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("a refresh after the revocation: %v", err)
			}
		})
	}
}

// TestAResourceServerHasNoPages: it leads to the entryway, and signs nobody in.
func TestAResourceServerHasNoPages(t *testing.T) {
	n := newNetwork(t, indigoClients[0].config(t))
	n.serve("data.test", "data.test/", func(c *gatehouse.Config) { c.OAuth.Issuer = serverOrigin })
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/oauth/jwks", "/oauth/authorize", "/account/applications"} {
		resp, err := n.client.Get(dataOrigin + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d", path, resp.StatusCode)
		}
	}
	app := n.app(indigoClients[0].config(t))
	if at, err := app.Resolver.ResolveAuthServerURL(t.Context(), dataOrigin); err != nil || at != serverOrigin {
		t.Errorf("the authorization server is %s, %v", at, err)
	}
}

// move gives an account a place on another server, to which its DID then points. It stays on the
// entryway, with its password.
func (n *network) move(a account, to *gatehousetest.Server) {
	n.t.Helper()
	ctx, id := context.Background(), syntax.DID(a.DID)
	do := func(err error) {
		n.t.Helper()
		if err != nil {
			n.t.Fatal(err)
		}
	}
	_, err := to.Gatehouse.SignIn.SignUp(ctx, accounts.CreateParams{
		Handle: a.Handle, Email: a.Email, Password: "another password", DID: id, ProvenDID: id, Admit: true,
	})
	do(err)
	want, err := to.Gatehouse.Accounts.Identity().Recommend(ctx, id)
	do(err)
	entryway := n.srv.Gatehouse.Accounts.Identity()
	do(entryway.RequestPLCSignature(ctx, id))
	op, err := entryway.SignPLCOperation(ctx, id, n.srv.Mail.Code(a.Email), func(op *did.Operation) {
		op.AlsoKnownAs, op.VerificationMethods, op.Services = want.AlsoKnownAs, want.VerificationMethods, want.Services
		op.RotationKeys = slices.Concat(want.RotationKeys, op.RotationKeys)
	})
	do(err)
	do(to.Gatehouse.Accounts.Identity().SubmitPLCOperation(ctx, id, op))
	do(to.Gatehouse.Accounts.Activate(ctx, id))
}
