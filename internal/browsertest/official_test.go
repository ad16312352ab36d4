package browsertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// result is what app.ready and app.signInWithPopup yield.
type result struct{ DID, State, Query, Mode, Error, Denied string }

const appScope = "atproto transition:email identity:handle"

// TestTheOfficialBrowserClient goes the whole way with @atproto/oauth-client-browser: sign in with
// a second step, consent, a call, a call that writes, refresh and revoke.
func TestTheOfficialBrowserClient(t *testing.T) {
	for _, mode := range []string{"", "query", "fragment"} {
		t.Run("response mode "+mode, func(t *testing.T) {
			srv := serve(t)
			alice := withFactor(t, srv, "alice.test")
			origin := serveApp(t, srv.URL, appScope, mode)
			p := open(t, desktop)
			p.expect = expectedOfApps(srv.URL)
			p.visit(origin)
			if got := evaluate[result](p, `app.ready`); got != (result{Mode: modeOr(mode)}) {
				t.Fatalf("before signing in: %+v", got)
			}
			p.loading(func() { evaluate[any](p, fmt.Sprintf(`app.signIn(%q, { state: 'where I was' })`, alice.Handle)) })
			p.consentAs(srv, alice)
			got := evaluate[result](p, `app.ready`)
			if got.DID != alice.DID || got.State != "where I was" || got.Error != "" {
				t.Fatalf("after signing in: %+v", got)
			}
			if strings.ContainsAny(strings.TrimPrefix(p.url(), origin), "?#") {
				t.Errorf("the answer is left in %s", p.url())
			}
			p.useSession(alice)
		})
	}
}

func modeOr(mode string) string {
	if mode == "" {
		return "fragment"
	}
	return mode
}

// consentAs signs in with the second step, and consents to what an application asks for.
func (p *page) consentAs(srv *gatehousetest.Server, a *gatehousetest.Account) {
	p.t.Helper()
	p.signIn(a)
	p.must(codeField)
	p.fill(codeField, srv.Mail.Code(a.Email))
	p.submit(codeButton)
	p.must(acceptButton)
	p.submit(acceptButton)
}

// useSession uses the session of an application, refreshes its tokens, reloads its page and ends
// it.
func (p *page) useSession(a *gatehousetest.Account) {
	p.t.Helper()
	session := evaluate[struct {
		DID, Handle, Email string
		EmailConfirmed     bool
	}](p, `app.getSession()`)
	if session.DID != a.DID || session.Handle != a.Handle || session.Email != a.Email {
		p.t.Errorf("getSession: %+v", session)
	}
	if !evaluate[bool](p, `app.updateHandle('renamed.test')`) {
		p.t.Error("updateHandle failed")
	}
	refreshed := evaluate[struct {
		Before, After int
		Same          bool
	}](p, `app.refresh()`)
	if refreshed.Before != 401 || refreshed.After != 200 || refreshed.Same {
		p.t.Errorf("a refresh: %+v", refreshed)
	}
	p.visit(p.url())
	if got := evaluate[result](p, `app.ready`); got.DID != a.DID {
		p.t.Errorf("after a reload: %+v", got)
	}
	revoked := evaluate[struct {
		After    int
		Restored any
	}](p, `app.revoke()`)
	if revoked.After != 401 || revoked.Restored != false {
		p.t.Errorf("a revocation: %+v", revoked)
	}
	p.visit(p.url())
	if got := evaluate[result](p, `app.ready`); got.DID != "" || got.Error != "" {
		p.t.Errorf("after the revocation: %+v", got)
	}
}

// TestTheOfficialBrowserClientWithAPopup signs in in a second window, which the official client
// opens and closes.
func TestTheOfficialBrowserClientWithAPopup(t *testing.T) {
	srv := serve(t)
	alice := withFactor(t, srv, "alice.test")
	origin := serveApp(t, srv.URL, appScope, "")
	p := open(t, desktop)
	p.expect = expectedOfApps(srv.URL)
	for _, denied := range []bool{true, false} {
		p.visit(origin)
		evaluate[result](p, `app.ready`)
		opened := chromedp.WaitNewTarget(p.ctx, func(i *target.Info) bool { return strings.HasPrefix(i.URL, srv.URL+"/oauth/authorize") })
		evaluate[any](p, fmt.Sprintf(`void (app.popup = app.signInWithPopup(%q))`, alice.Handle))
		popup := p.beside(chromedp.WithTargetID(receive(t, "window", opened)))
		popup.expect = p.expect
		popup.await("sign-in page", func() bool {
			ready, err := tryEvaluate[bool](popup, `document.readyState === 'complete' && document.querySelector('form') !== null`)
			return err == nil && ready
		})
		if denied {
			popup.must(denyButton)
			popup.click(denyButton)
		} else {
			popup.signIn(alice)
			popup.fill(codeField, srv.Mail.Code(alice.Email))
			popup.submit(codeButton)
			popup.must(acceptButton)
			popup.click(acceptButton)
		}
		got := evaluate[result](p, `app.popup`)
		if denied && got.Denied != "access_denied" {
			t.Errorf("a refusal in the popup: %+v", got)
		}
		if !denied && got.DID != alice.DID {
			t.Errorf("a sign-in in the popup: %+v", got)
		}
	}
	p.useSession(alice)
}
