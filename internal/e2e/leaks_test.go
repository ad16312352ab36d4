package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// audited reports whether the audit log has a successful action of the admin on a subject.
func (s *api) audited(t *testing.T, subject, action string) bool {
	t.Helper()
	page, err := s.Gatehouse.Audit.List(t.Context(), subject, "", 500)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(page.Entries, func(e *audit.Entry) bool {
		return e.Action == "com.atproto."+action && e.Admin == "admin" && e.Outcome == "ok"
	})
}

// TestAuditLogRecordsEveryActionOnAnAccount checks that every admin action on an account is in the
// audit log under the account's DID, also if the admin named the account by its handle, or named
// many accounts at once.
func TestAuditLogRecordsEveryActionOnAnAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		for method, input := range map[string]object{
			"admin.updateAccountEmail":      {"account": "ALICE.test", "email": "new@example.com"},
			"temp.revokeAccountCredentials": {"account": "alice.test"},
			"admin.updateAccountPassword":   {"did": alice.DID, "password": "password"},
			"admin.disableAccountInvites":   {"account": alice.DID},
			"admin.sendEmail":               {"recipientDid": alice.DID, "senderDid": noSuchDID, "content": "x"},
			"server.createInviteCode":       {"useCount": 1, "forAccount": alice.DID},
			"admin.updateSubjectStatus":     {"subject": repoRef(alice.DID), "takedown": object{"applied": true}},
		} {
			s.do(admin, method, input).ok()
			if !s.audited(t, alice.DID, method) {
				t.Errorf("the audit log of the account has no %s with %v", method, input)
			}
		}

		// An action on many subjects has an entry for each.
		dids := []string{alice.DID, s.signUp("bob.test").DID}
		for i := range 40 { // more subjects than one entry can hold
			dids = append(dids, fmt.Sprintf("did:web:account-%d.example.com", i))
		}
		made := s.do(admin, "server.createInviteCodes", object{"codeCount": 1, "useCount": 1, "forAccounts": dids}).ok()["codes"].([]any)
		var codes []string
		for _, m := range made {
			codes = append(codes, m.(object)["codes"].([]any)[0].(string))
		}
		s.do(admin, "admin.disableInviteCodes", object{"codes": codes, "accounts": dids}).ok()
		for _, did := range dids {
			for _, method := range []string{"server.createInviteCodes", "admin.disableInviteCodes"} {
				if !s.audited(t, did, method) {
					t.Errorf("the audit log of %s has no %s", did, method)
				}
			}
		}
		for _, code := range codes {
			if !s.audited(t, code, "admin.disableInviteCodes") {
				t.Errorf("the audit log of the code %s has no disableInviteCodes", code)
			}
		}
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		if !s.audited(t, alice.DID, "admin.deleteAccount") {
			t.Error("the audit log of the account has no deleteAccount")
		}
	})
}

// TestHostedDIDDocumentsAreServedConsistently checks that resolveDid and did.json serve the
// document of a hosted did:web as long as its account exists, whatever its status, and that
// resolveHandle and atproto-did resolve the handle unless the account is taken down or deleted.
func TestHostedDIDDocumentsAreServedConsistently(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		agree := func(when string, document, handle bool) {
			t.Helper()
			resolved := s.do(nobody, "identity.resolveDid", object{"did": alice.DID})
			status, body := s.get("alice.test", "/.well-known/did.json")
			if (resolved.status == 200) != document || (status == 200) != document {
				t.Errorf("%s: resolveDid %d %s, did.json %d %s; want the document in both: %v", when, resolved.status, resolved.body, status, body, document)
			}
			if document && status == 200 {
				var served object
				if err := json.Unmarshal([]byte(body), &served); err != nil || fmt.Sprint(served) != fmt.Sprint(resolved.object["didDoc"]) {
					t.Errorf("%s: resolveDid %s, did.json %s; want the same document", when, resolved.body, body)
				}
			}
			found := s.do(nobody, "identity.resolveHandle", object{"handle": "alice.test"}).status == 200
			well, _ := s.get("alice.test", "/.well-known/atproto-did")
			if found != handle || (well == 200) != handle {
				t.Errorf("%s: resolveHandle found the handle: %v, atproto-did: %d; want the handle resolved by both: %v", when, found, well, handle)
			}
		}
		agree("active", true, true)
		s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
		agree("deactivated", true, true)
		s.takeDown(alice.DID, "case 1")
		agree("deactivated and taken down", true, false)
		s.lift(alice.DID)
		s.again(alice)
		s.do(bearer(alice.AccessJWT), "server.activateAccount", nil).ok()
		s.takeDown(alice.DID, "case 2")
		agree("taken down", true, false)
		s.lift(alice.DID)
		agree("active again", true, true)
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		agree("deleted", false, false)
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestUntrustedProxiesAreWarnedAbout checks that the server warns once about a proxy that isn't in
// TrustedProxies. Behind such a proxy all visitors share one address, so that one of them who fails
// too often locks out all others.
func TestUntrustedProxiesAreWarnedAbout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer, forwarded string
		trusted         []netip.Prefix
		warnings        int
	}{
		"a private peer":                  {"10.0.0.7:1234", theThiefs, nil, 1},
		"a private peer by IPv6":          {"[fd00::7]:1234", theThiefs, nil, 1},
		"loopback":                        {"127.0.0.1:1234", theThiefs, nil, 1},
		"another peer than the trusted":   {"10.0.0.7:1234", theThiefs, network("10.0.0.8/32"), 1},
		"a trusted peer":                  {"10.0.0.7:1234", theThiefs, network("10.0.0.0/8"), 0},
		"a peer that forwards for nobody": {"10.0.0.7:1234", "", nil, 0},
		"a visitor with a forged header":  {"203.0.113.9:1234", theThiefs, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log logbook
			s := newAPI(t, logged(&log), config(func(cfg *gatehouse.Config) { cfg.Limits.TrustedProxies = c.trusted }),
				withHandler(func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						r.RemoteAddr = c.peer
						h.ServeHTTP(w, r)
					})
				}))
			for range 5 {
				nsid, req := s.request(nobody, "server.describeServer", nil)
				if c.forwarded != "" {
					req.Header.Set("X-Forwarded-For", c.forwarded)
				}
				s.send(nsid, req).ok()
			}
			var found []string
			for _, line := range log.warnings() {
				if strings.Contains(line, "TrustedProxies") || strings.Contains(line, "X-Forwarded-For") {
					found = append(found, line)
				}
			}
			if len(found) != c.warnings {
				t.Errorf("%d warnings, want %d: %q", len(found), c.warnings, log.warnings())
			}
		})
	}
}

// TestLookalikeHandles checks that handles with a punycode label are refused, since they may be
// shown in letters that look like somebody else's handle.
func TestLookalikeHandles(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.signUp("alice.test")
	for _, handle := range []string{"xn--80ak6aa92e.test", "XN--80AK6AA92E.test", "xn--a-0ga.test"} {
		s.do(nobody, "server.createAccount", object{"handle": handle, "email": "mallory@example.com", "password": "password"}).
			refused(400, "InvalidHandle")
		s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": handle}).refused(400, "InvalidHandle")
		available := s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle})
		if result, _ := available.object["result"].(object); available.status == 200 && result["$type"] != "com.atproto.temp.checkHandleAvailability#resultUnavailable" {
			t.Errorf("checkHandleAvailability of %s: %s", handle, available.body)
		}
	}
	// Admins may assign them, like other names that aren't open to everybody.
	s.do(admin, "admin.updateAccountHandle", object{"did": alice.DID, "handle": "xn--80ak6aa92e.test"}).ok()
}

// TestEveryWrongLoginCostsTheSame logs in to a server with a hasher that records the cost of each
// hash. A wrong login has to cost as much as the most expensive hash in use, whether or not the
// account exists and whatever the account's own hash costs, also after the cost of new hashes was
// raised or lowered.
func TestEveryWrongLoginCostsTheSame(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			ctx, hasher := t.Context(), &domaintest.PricedHasher{Cost: 5}
			clock := gatehousetest.NewClock()
			url := serveWith(t, b.open(t), hasher, clock.Now)
			post := func(method string, in object) int {
				t.Helper()
				body, err := json.Marshal(in)
				if err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/xrpc/com.atproto.server."+method, bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			signUp := func(name string) {
				t.Helper()
				in := object{"handle": name + ".test", "email": name + "@example.com", "password": "password"}
				if status := post("createAccount", in); status != 200 {
					t.Fatalf("createAccount: %d", status)
				}
			}
			cost := func(want int64) {
				t.Helper()
				clock.Advance(2 * time.Minute) // the highest cost is cached for one minute
				for _, who := range []string{"cheap.test", "cheap@example.com", "dear.test", "nobody.test", "nobody@example.com"} {
					hasher.Asked = -1
					status := post("createSession", object{"identifier": who, "password": "wrong"})
					if status != 401 || hasher.Asked != want {
						t.Errorf("a login as %s with a wrong password: %d at a cost of %d, want 401 at a cost of %d", who, status, hasher.Asked, want)
					}
				}
			}
			signUp("cheap")
			cost(5)
			hasher.Cost = 50
			signUp("dear")
			cost(50)
			hasher.Cost = 7
			cost(50)
		})
	}
}

// TestOAuthSecretsStaySecret checks that nothing of what applications and browsers prove themselves
// with is in the store or in the log, whether it was good or not.
func TestOAuthSecretsStaySecret(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			var log logbook
			s := newAPI(t, withStore(b.open(t)), config(func(c *gatehouse.Config) {
				c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}))
			alice, spy := s.someone(), &secrets{}
			look := func() {
				t.Helper()
				spy.in(t, "the log", log.String())
				spy.in(t, "the store", s.everything())
			}
			for _, a := range []*oauthApp{s.public(appScope), s.confidential(appScope)} {
				a.spy = spy
				p := a.push()
				look()
				b := a.browser()
				page := b.open(a.page(p))
				page = b.submit(page, "sign-in", url.Values{"identifier": {alice.Handle}, "password": {"a wrong password"}})
				page = b.submit(page, "sign-in", url.Values{"identifier": {alice.Handle}, "password": {alice.Password}, "remember": {"1"}})
				code := b.agree(page).Get("code")
				look()
				k := a.exchange(code, p).tokens()
				a.session(k.access).ok()
				a.xrpc(a.issuer, k.access, http.MethodPost, "identity.updateHandle", "", jsonOf(t, object{"handle": "x.test"})...).
					refused(403, "ScopeMissingError")
				next := a.refresh(k.refresh).tokens()
				look()
				// What is refused is in no log either.
				a.session(k.access).refused(401, "invalid_token")
				a.session(next.refresh).refused(401, "invalid_token", "Malformed token")
				s.do(bearer(next.access), "server.getSession", nil).refused(400, "InvalidToken")
				s.do(bearer(next.refresh), "server.refreshSession", nil).refused(400, "InvalidToken")
				a.refresh(next.refresh+"x").refused(400, "invalid_grant")
				b.open(a.page(p)).notFound(t)
				s.Clock.Advance(3 * time.Minute)
				a.refresh(k.refresh).refused(400, "invalid_grant") // which ends the session
				a.refresh(next.refresh).refused(400, "invalid_grant")
				p = a.push()
				fresh := b.agree(b.open(a.page(p)))
				a.exchange(fresh.Get("code"), pushed{p.uri, strings.Repeat("wrong", 10)}).refused(400, "invalid_grant")
				a.exchange(fresh.Get("code"), p).refused(400, "invalid_grant")
				a.post("/oauth/revoke", url.Values{"token": {next.access}}).ok()
				look()
			}
			s.maintain()
			look()
			for _, what := range []string{"proof", "client_assertion", "request_uri", "cookie", "code", "code_verifier", "access_token", "refresh_token", "password", "csrf"} {
				if spy.count(what) < 2 {
					t.Errorf("the test knows no %s", what)
				}
			}
			if !strings.Contains(log.String(), "refresh refused") {
				t.Error("the log says nothing of what was refused")
			}
		})
	}
}

// everything returns all that is in the store.
func (s *api) everything() string {
	s.t.Helper()
	var all strings.Builder
	err := s.Store.View(s.t.Context(), func(tx storage.Tx) error {
		all.Reset()
		for _, c := range gatehouse.Collections() {
			for r, err := range tx.Scan(c.Table().Name, storage.Range{Entries: true}) {
				if err != nil {
					return err
				}
				fmt.Fprintln(&all, r.Key, string(r.Value), r.Entries)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all.String()
}

// serveWith starts a server with a password hasher and a clock, and returns its URL.
func serveWith(t *testing.T, store storage.Store, hasher accounts.PasswordHasher, now func() time.Time) string {
	t.Helper()
	ctx := t.Context()
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	secret := make([]byte, 32)
	book, err := codes.New(codes.Config{Secret: secret, Now: now})
	must(err)
	a, err := accounts.New(ctx, store, accounts.Config{
		Handles: handle.Config{Domains: []string{".test"}}, DIDs: &did.Registrar{Web: true}, Keys: sealed, Passwords: hasher, Mailer: mail.NewMemory(),
		Codes: book, Now: now,
	})
	must(err)
	p, err := apppasswords.New(ctx, store, a, apppasswords.Config{Secret: secret, Now: now})
	must(err)
	open, err := sessions.New(ctx, store, a, sessions.Config{
		ServiceDID: "did:web:localhost", Keys: []sessions.Key{{Secret: secret}}, Secret: secret, Now: now,
		ServiceAuth: xrpc.ServiceAuthRules(),
	})
	must(err)
	door, err := signin.New(store, a, open, signin.Config{Ways: []signin.Way{signin.AppPassword(store, p), signin.Password(a)}})
	must(err)
	inviteCodes, err := invites.New(ctx, store, invites.Config{Hostname: "localhost", Now: now})
	must(err)
	log, err := audit.New(ctx, store, now)
	must(err)
	resolver, err := did.NewResolver(did.ResolverConfig{Now: now})
	must(err)
	handler, err := xrpc.New(xrpc.Config{
		Accounts: a, Sessions: open, SignIn: door, Invites: inviteCodes, AppPasswords: p,
		Audit: log, Resolver: resolver, Now: now,
	})
	must(err)
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		must(a.Close(context.Background()))
	})
	return server.URL
}
