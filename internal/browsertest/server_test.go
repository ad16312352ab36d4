package browsertest

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// serve starts a server. Its clock runs, since the browser and the official client look at theirs.
func serve(t *testing.T) *gatehousetest.Server {
	t.Helper()
	browser(t) // which skips the test if there is none
	return gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Now = time.Now
		c.ServiceName = "Harbour"
		c.OAuth.Documents = published
	}))
}

// withFactor creates an account that is asked for a mailed code when it signs in.
func withFactor(t *testing.T, srv *gatehousetest.Server, handle string) *gatehousetest.Account {
	t.Helper()
	a := srv.CreateAccount(handle)
	emails, did := srv.Gatehouse.Accounts.Emails(), syntax.DID(a.DID)
	if err := emails.RequestConfirmation(t.Context(), did); err != nil {
		t.Fatal(err)
	}
	if err := emails.Confirm(t.Context(), did, a.Email, srv.Mail.Code(a.Email)); err != nil {
		t.Fatal(err)
	}
	if err := emails.Update(t.Context(), did, accounts.EmailUpdate{Address: a.Email, Factor: accounts.EnableFactor}); err != nil {
		t.Fatal(err)
	}
	return a
}

// The parts of the pages that people use, as CSS selectors.
const (
	identifierField = "#identifier"
	passwordField   = "#password"
	rememberBox     = "#remember"
	codeField       = "#code"
	scopeBox        = "input[type=checkbox][name=scope]"
	signInButton    = "button[name=action][value=sign-in]"
	codeButton      = "button[name=action][value=code]"
	acceptButton    = "button[name=action][value=accept]"
	denyButton      = "button[name=action][value=deny]"
	endButton       = "button[name=action][value=end]"
	signOutButton   = "button[name=action][value=sign-out]"
	alert           = "[role=alert]"
	anotherAccount  = "[name=another], a[href*='another=1']"
)

// accountChoice is the part of the account chooser that stands for an account.
func accountChoice(a *gatehousetest.Account) string {
	return fmt.Sprintf("button[name=account][value=%q], a[href*='account=%s'], a[href*='account=%s']", a.DID, a.DID, url.QueryEscape(a.DID))
}

// signIn fills in the form of the sign-in page and sends it.
func (p *page) signIn(a *gatehousetest.Account) {
	p.t.Helper()
	p.must(identifierField, passwordField, signInButton)
	p.fill(identifierField, a.Handle)
	p.fill(passwordField, a.Password)
	p.submit(signInButton)
}
