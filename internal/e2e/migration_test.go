package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// directory adapts a DID directory to indigo's identity.Directory. It resolves no handles.
type directory struct{ did.Directory }

func (d directory) LookupDID(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	data, err := (&did.Registrar{Directory: d.Directory}).Data(ctx, id)
	if err != nil {
		return nil, err
	}
	var doc identity.DIDDocument
	if err := json.Unmarshal(data.Document(), &doc); err != nil {
		return nil, err
	}
	ident := identity.ParseIdentity(&doc)
	return &ident, nil
}

func (d directory) LookupHandle(context.Context, syntax.Handle) (*identity.Identity, error) {
	return nil, identity.ErrHandleNotFound
}

func (d directory) Lookup(ctx context.Context, id syntax.AtIdentifier) (*identity.Identity, error) {
	return d.LookupDID(ctx, syntax.DID(id.String()))
}

func (d directory) Purge(context.Context, syntax.AtIdentifier) error { return nil }

// TestServiceAuth checks the tokens of getServiceAuth with indigo's validator, and which requests
// for tokens are refused.
func TestServiceAuth(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		ask := func(who string, params object) *answer { t.Helper(); return s.do(who, "server.getServiceAuth", params) }
		const service, method = "did:web:service.example.com", "app.bsky.feed.getTimeline"
		token := ask(me, object{"aud": service, "lxm": method}).text("token")
		// indigo verifies the signature with the key in the account's DID document.
		v := auth.ServiceAuthValidator{Audience: service, Dir: directory{s.Gatehouse.Directory}}
		nsid := syntax.NSID(method)
		if id, err := v.Validate(context.Background(), token, &nsid); err != nil || id.String() != alice.DID {
			t.Errorf("indigo's validator returns %s, %v; want %s", id, err, alice.DID)
		}
		var claims struct {
			Iss, Aud, Lxm, Jti string
			Iat, Exp           int64
		}
		if err := json.Unmarshal(claimsOf(t, token), &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Iss != alice.DID || claims.Aud != service || claims.Lxm != method || claims.Exp-claims.Iat != 60 || claims.Jti == "" {
			t.Errorf("unexpected claims: %+v", claims)
		}
		now := s.Clock.Now().Unix()
		ask(me, object{"aud": service, "exp": now - 1}).refused(400, "BadExpiration", "expiration is in past")
		ask(me, object{"aud": service, "lxm": method, "exp": now + 3601}).refused(400, "BadExpiration", "cannot request a token with an expiration more than an hour in the future")
		ask(me, object{"aud": service, "exp": now + 61}).refused(400, "BadExpiration", "cannot request a method-less token with an expiration more than a minute in the future")
		ask(me, object{"aud": service, "lxm": method, "exp": now + 3600}).ok()
		ask(me, object{"aud": service}).ok()
		ask(me, object{"aud": service + "%23bsky_appview"}).ok()
		ask(me, object{"aud": "did:web:localhost%253A2583"}).ok()
		for _, bad := range []string{"nonsense", "did:key:zQ3", "did:plc:abc", service + ":path", service + "%253A8080", service + "%23", service + "%23a%23b"} {
			ask(me, object{"aud": bad}).refused(400, "InvalidRequest", "aud must be a valid atproto DID or did#serviceId reference")
		}
		// Another service may compare method names case-insensitively.
		for _, m := range []string{"com.atproto.server.updateEmail", "com.atproto.server.updateemail"} {
			ask(me, object{"aud": service, "lxm": m}).refused(400, "InvalidRequest",
				"cannot request a service auth token for the following protected method: "+m)
		}
		app := func(privileged bool) string {
			t.Helper()
			made := s.do(me, "server.createAppPassword", object{"name": map[bool]string{true: "p", false: "n"}[privileged], "privileged": privileged})
			return bearer(s.login("alice.test", made.text("password")).text("accessJwt"))
		}
		chat := object{"aud": service, "lxm": "chat.bsky.convo.listConvos"}
		plain := app(false)
		for _, m := range []string{"chat.bsky.convo.listConvos", "Chat.Bsky.convo.listConvos", "com.atproto.server.createAccount", "com.atproto.server.createaccount"} {
			ask(plain, object{"aud": service, "lxm": m}).refused(400, "InvalidRequest", "insufficient access to request a service auth token for the following method: "+m)
		}
		ask(app(true), chat).ok()
		ask(me, chat).ok()
		s.do(admin, "admin.updateSubjectStatus", object{
			"subject": object{"$type": "com.atproto.admin.defs#repoRef", "did": alice.DID}, "takedown": object{"applied": true},
		}).ok()
		leaving := bearer(s.do(nobody, "server.createSession", object{"identifier": alice.DID, "password": alice.Password, "allowTakendown": true}).text("accessJwt"))
		ask(leaving, object{"aud": service, "lxm": method}).refused(400, "InvalidToken", "Bad token scope")
		ask(leaving, object{"aud": service, "lxm": "com.atproto.server.createAccount"}).ok()
	})
}

// TestMigration moves an account and its DID from one server to another over HTTP.
func TestMigration(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			plc := newDirectory(t)
			shared := func(domain string) gatehousetest.Option {
				return config(func(c *gatehouse.Config) {
					c.DIDs.Directory = plc
					c.Hostname = strings.TrimPrefix(domain, ".")
					c.HandleDomains = []string{domain}
				})
			}
			from := newAPI(t, withStore(b.open(t)), shared(".old.test"))
			to := newAPI(t, withStore(b.open(t)), shared(".new.test"))
			alice := from.signUp("alice.old.test")
			old := bearer(alice.AccessJWT)

			// The new server reserves a key and creates the account with a service token of the old one.
			key := to.do(nobody, "server.reserveSigningKey", object{"did": alice.DID}).text("signingKey")
			if again := to.do(nobody, "server.reserveSigningKey", object{"did": alice.DID}).text("signingKey"); again != key {
				t.Errorf("two keys were reserved for one DID: %s and %s", key, again)
			}
			token := func(aud, lxm string) string {
				t.Helper()
				return bearer(from.do(old, "server.getServiceAuth", object{"aud": aud, "lxm": lxm}).text("token"))
			}
			const createAccount = "com.atproto.server.createAccount"
			sign := object{"did": alice.DID, "handle": "alice.new.test", "email": "alice@example.com", "password": "password"}
			attempt := func(who string) *answer { t.Helper(); return to.do(who, "server.createAccount", sign) }
			attempt(nobody).refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+alice.DID)
			attempt(token("did:web:elsewhere.example.com", createAccount)).refused(401, "BadJwtAudience", "jwt audience does not match service did")
			attempt(token("did:web:new.test", "app.bsky.feed.getTimeline")).refused(401, "BadJwtLexiconMethod")
			attempt("Bearer nonsense").refused(401, "BadJwt")
			attempt(bearer(from.do(old, "server.getServiceAuth", object{"aud": "did:web:new.test"}).text("token"))).
				refused(401, "BadJwtLexiconMethod", `missing jwt lexicon method ("lxm"). must match: com.atproto.server.createAccount`)
			attempt(admin).refused(401, "AuthenticationRequired")
			mallory := from.signUp("mallory.old.test")
			attempt(bearer(from.do(bearer(mallory.AccessJWT), "server.getServiceAuth", object{"aud": "did:web:new.test", "lxm": createAccount}).text("token"))).
				refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+alice.DID)
			late := token("did:web:new.test", createAccount)
			to.Clock.Advance(2 * time.Minute)
			attempt(late).refused(401, "JwtExpired")
			from.Clock.Advance(2 * time.Minute)
			created := attempt(token("did:web:new.test", createAccount))
			if created.text("did") != alice.DID {
				t.Fatalf("createAccount: %s", created.body)
			}
			me := bearer(created.text("accessJwt"))
			// The DID document still names the old server. Clients would follow it there, so it is not
			// shown.
			if got := to.do(me, "server.getSession", nil).ok(); got["active"] != false || got["status"] != "deactivated" || got["didDoc"] != nil {
				t.Errorf("getSession: %v", got)
			}
			if got := to.login("alice.new.test", "password").ok(); got["didDoc"] != nil || created.ok()["didDoc"] != nil {
				t.Errorf("createSession: %v; createAccount: %v", got, created.ok())
			}
			if got := to.do(me, "server.checkAccountStatus", nil).ok(); got["activated"] != false || got["validDid"] != false {
				t.Errorf("checkAccountStatus: %v", got)
			}
			to.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest", "Server rotation key not included in PLC DID data")

			// The old server signs the operation that moves the DID to the new one.
			credentials := to.do(me, "identity.getRecommendedDidCredentials", nil).ok()
			if methods := credentials["verificationMethods"].(object); methods["atproto"] != key {
				t.Errorf("the recommended keys are %v, want the reserved key %s", methods, key)
			}
			from.do(old, "identity.requestPlcOperationSignature", nil).ok()
			code := from.Mail.Code("alice@example.com")
			in := object{}
			for k, v := range credentials {
				in[k] = v
			}
			from.do(old, "identity.signPlcOperation", in).refused(400, "InvalidRequest", "email confirmation token required to sign PLC operations")
			in["token"] = "AAAAA-AAAAA"
			from.do(old, "identity.signPlcOperation", in).refused(400, "InvalidToken", "Token is invalid")
			in["token"] = code
			op := from.do(old, "identity.signPlcOperation", in).ok()["operation"].(object)
			wrong := func(name string, change func(object), message string) {
				t.Helper()
				b, _ := json.Marshal(op)
				var bad object
				_ = json.Unmarshal(b, &bad)
				change(bad)
				a := to.do(me, "identity.submitPlcOperation", object{"operation": bad})
				if a.object["message"] != message {
					t.Errorf("%s: %s, want %q", name, a.body, message)
				}
			}
			wrong("no operation", func(o object) { o["type"] = "x" }, "Invalid operation: type must be plc_operation or plc_tombstone")
			wrong("another rotation key", func(o object) { o["rotationKeys"] = []string{key} }, "Rotation keys do not include server's rotation key")
			pds := func(o object) object { return o["services"].(object)["atproto_pds"].(object) }
			wrong("another type", func(o object) { pds(o)["type"] = "x" }, "Incorrect type on atproto_pds service")
			wrong("another endpoint", func(o object) { pds(o)["endpoint"] = "https://x" }, "Incorrect endpoint on atproto_pds service")
			wrong("another key", func(o object) { o["verificationMethods"] = object{"atproto": "did:key:x"} }, "Incorrect signing key")
			wrong("another handle", func(o object) { o["alsoKnownAs"] = []string{"at://x.test"} }, "Incorrect handle in alsoKnownAs")
			wrong("a forged signature", func(o object) { o["sig"] = strings.Repeat("A", 86) }, "Invalid operation: sig must be a signature by one of the rotation keys")
			to.do(me, "identity.submitPlcOperation", object{"operation": op}).ok()
			to.do(me, "server.activateAccount", nil).ok()
			if got := to.do(me, "server.checkAccountStatus", nil).ok(); got["activated"] != true || got["validDid"] != true {
				t.Errorf("checkAccountStatus: %v", got)
			}
			if got := to.do(me, "server.getSession", nil).ok(); got["active"] != true || got["handle"] != "alice.new.test" || got["didDoc"] == nil {
				t.Errorf("getSession: %v", got)
			}
			from.do(bearer(from.login(alice.DID, alice.Password).text("accessJwt")), "server.deactivateAccount", object{}).ok()
			if got := from.do(bearer(from.login(alice.DID, alice.Password).text("accessJwt")), "server.checkAccountStatus", nil).ok(); got["validDid"] != false {
				t.Errorf("checkAccountStatus at the old server: %v; want validDid false", got)
			}
			// The new server now signs service tokens for the account.
			if _, err := (&auth.ServiceAuthValidator{Audience: "did:web:x.example.com", Dir: directory{plc}, TimestampLeeway: time.Hour}).Validate(context.Background(),
				to.do(me, "server.getServiceAuth", object{"aud": "did:web:x.example.com"}).text("token"), nil); err != nil {
				t.Error(err)
			}
		})
	}
}
