package e2e

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// spelling is a way to write a server's names in its Config, and the normal forms that follow.
type spelling struct {
	hostname, publicURL, domain string

	did, endpoint, suffix string
	// hosts are the Host headers with which the server's own DID document is served.
	hosts []string
}

var spellings = map[string]spelling{
	"capitals": {
		"PDS.Test", "", "Users.TEST",
		"did:web:pds.test", "http://pds.test", ".users.test", []string{"pds.test", "PDS.TEST", "pds.test:80"},
	},
	"capitals in a public URL": {
		"pds.test", "HTTPS://Pds.TEST/", ".test",
		"did:web:pds.test", "https://pds.test", ".test", []string{"pds.test", "Pds.Test:443"},
	},
	"default ports": {
		"pds.test:80", "https://pds.test:443", ".test",
		"did:web:pds.test", "https://pds.test", ".test", []string{"pds.test", "pds.test:443"},
	},
	"a local default port": {
		"LocalHost:80", "", ".test",
		"did:web:localhost", "http://localhost", ".test", []string{"localhost", "localhost:80", "LOCALHOST."},
	},
	"a port that isn't the default": {
		"LocalHost:2583", "", ".test",
		"did:web:localhost%3A2583", "http://localhost:2583", ".test", []string{"localhost:2583", "LocalHost:2583"},
	},
	"trailing dots": {
		"pds.test.", "https://pds.test./", ".users.test.",
		"did:web:pds.test", "https://pds.test", ".users.test", []string{"pds.test", "pds.test."},
	},
	"an internationalized name": {
		"pds.München.test", "https://PDS.münchen.test", "münchen.test",
		"did:web:pds.xn--mnchen-3ya.test", "https://pds.xn--mnchen-3ya.test", ".xn--mnchen-3ya.test", []string{"pds.xn--mnchen-3ya.test", "pds.XN--MNCHEN-3YA.test"},
	},
}

// endpointOf returns the service endpoint in a DID document with one service.
func endpointOf(t *testing.T, doc any) string {
	t.Helper()
	d, _ := doc.(object)
	services, _ := d["service"].([]any)
	if len(services) != 1 {
		t.Fatalf("the DID document has %d services, want 1: %v", len(services), doc)
	}
	endpoint, _ := services[0].(object)["serviceEndpoint"].(string)
	return endpoint
}

// TestConfiguredNamesAreNormalized checks that everything the server answers and publishes has its
// names in normal form, however they are spelled in the configuration.
func TestConfiguredNamesAreNormalized(t *testing.T) {
	t.Parallel()
	for name, c := range spellings {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				described := s.do(nobody, "server.describeServer", nil).ok()
				if domains := described["availableUserDomains"].([]any); described["did"] != c.did || len(domains) != 1 || domains[0] != c.suffix {
					t.Errorf("describeServer: %v; want %s, %s", described, c.did, c.suffix)
				}
				for _, host := range c.hosts {
					status, body := s.get(host, "/.well-known/did.json")
					var doc object
					if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || doc["id"] != c.did || endpointOf(t, doc) != c.endpoint {
						t.Errorf("did.json at %s: %d %s", host, status, body)
					}
				}
				code := s.newCode(1)
				if prefix := strings.NewReplacer(".", "-", "%3A", "-").Replace(strings.TrimPrefix(c.did, "did:web:")) + "-"; !strings.HasPrefix(code, prefix) {
					t.Errorf("the invite code is %s, want the prefix %s", code, prefix)
				}

				alice := s.signUp("alice" + c.suffix)
				me := bearer(alice.AccessJWT)
				op, err := (&did.Registrar{Directory: s.Gatehouse.Directory}).Data(context.Background(), syntax.DID(alice.DID))
				if err != nil || op.Services[did.AtprotoPDS].Endpoint != c.endpoint {
					t.Errorf("the directory has %+v, %v; want the endpoint %s", op, err, c.endpoint)
				}
				if got := s.login(alice.Handle, alice.Password).ok(); endpointOf(t, got["didDoc"]) != c.endpoint {
					t.Errorf("createSession: %v", got)
				}
				if !strings.Contains(string(claimsOf(t, alice.AccessJWT)), `"aud":"`+c.did+`"`) {
					t.Errorf("the audience of the access token isn't %s: %s", c.did, claimsOf(t, alice.AccessJWT))
				}
				services := s.do(me, "identity.getRecommendedDidCredentials", nil).ok()["services"].(object)
				if services["atproto_pds"].(object)["endpoint"] != c.endpoint {
					t.Errorf("getRecommendedDidCredentials: %v", services)
				}
				s.do(me, "server.deactivateAccount", object{}).ok()
				if got := s.do(me, "server.checkAccountStatus", nil).ok(); got["validDid"] != true {
					t.Errorf("checkAccountStatus: %v", got)
				}
				s.do(me, "server.activateAccount", nil).ok()

				// The server's own name can't be a handle, however it is spelled.
				if own := strings.TrimPrefix(c.did, "did:web:"); strings.HasSuffix(own, c.suffix) {
					s.do(me, "identity.updateHandle", object{"handle": own}).refused(400, "HandleNotAvailable")
				}
				if status, body := s.get("ALICE"+c.suffix, "/.well-known/atproto-did"); status != 200 || body != alice.DID {
					t.Errorf("atproto-did: %d %s", status, body)
				}
			}, config(func(cfg *gatehouse.Config) {
				cfg.Hostname, cfg.PublicURL, cfg.HandleDomains = c.hostname, c.publicURL, []string{c.domain}
			}))
		})
	}
}

// TestHostedWebDIDDocumentsUseTheNormalizedEndpoint checks that the documents of hosted did:web
// DIDs contain the server's endpoint in normal form.
func TestHostedWebDIDDocumentsUseTheNormalizedEndpoint(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		for _, host := range []string{"alice.test", "Alice.TEST", "alice.test:443"} {
			status, body := s.get(host, "/.well-known/did.json")
			var doc object
			if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || doc["id"] != "did:web:alice.test" || endpointOf(t, doc) != "https://pds.test" {
				t.Errorf("did.json at %s: %d %s", host, status, body)
			}
		}
		if alice.DID != "did:web:alice.test" {
			t.Errorf("the DID is %s", alice.DID)
		}
		if got := s.login(alice.DID, alice.Password).ok(); endpointOf(t, got["didDoc"]) != "https://pds.test" {
			t.Errorf("createSession: %v", got)
		}
	}, config(func(c *gatehouse.Config) {
		c.DIDs.Method, c.Hostname, c.PublicURL, c.HandleDomains = gatehouse.DIDWeb, "PDS.test", "https://PDS.Test:443/", []string{"TEST."}
	}))
}

// Endpoints in DID documents: spellings of https://pds.test, and others that resemble it.
var (
	sameEndpoints = []string{
		"https://pds.test:443/", "https://PDS.Test", "HTTPS://pds.test", "https://pds.test.", "https://pds.test:443", "https://ｐｄｓ.test/",
		"https://pds.test/", "https://pds.test",
	}
	otherEndpoints = []string{
		"", "pds.test", "//pds.test", "http://pds.test", "http://pds.test:443", "https://pds.test:80", "https://pds.test:8443", "wss://pds.test",
		"https://user@pds.test", "https://pds.test@elsewhere.example.com", "https://pds.test:443@elsewhere.example.com", `https://pds.test\@elsewhere.example.com`,
		"https://pds.test/xrpc", "https://pds.test//", "https://pds.test/?x", "https://pds.test?", "https://pds.test/#x", "https://pds.test#",
		"https://x.pds.test", "https://test", "https://pds.test.example.com", "https://pds-test", "https://pds.test..", "https://pd\u0455.test", " https://pds.test",
	}
)

func atPDSTest(c *gatehouse.Config) {
	c.Hostname, c.PublicURL, c.DIDs.RotationKey = "pds.test", "https://pds.test", serversRotationKey
}

// TestEndpointsAreComparedInNormalForm checks that the server recognizes every spelling of its
// endpoint in a DID document, and no lookalike.
func TestEndpointsAreComparedInNormalForm(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		id := syntax.DID(alice.DID)
		plc := &did.Registrar{Directory: s.Gatehouse.Directory, Signer: serversRotationKey}
		naming := func(endpoint string) func(*did.Operation) {
			return func(op *did.Operation) {
				op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: endpoint}
			}
		}
		me := ""
		login := func() object {
			t.Helper()
			got := s.login(alice.Handle, alice.Password).ok()
			me = bearer(got["accessJwt"].(string))
			return got
		}
		submit := func(endpoint string) *answer {
			t.Helper()
			op, err := plc.Sign(context.Background(), id, naming(endpoint))
			if err != nil {
				t.Fatalf("%q: %v", endpoint, err)
			}
			return s.do(me, "identity.submitPlcOperation", object{"operation": op})
		}
		valid := func() bool { t.Helper(); return s.do(me, "server.checkAccountStatus", nil).ok()["validDid"] == true }

		login()
		for _, endpoint := range sameEndpoints {
			submit(endpoint).ok()
			if got := login(); got["didDoc"] == nil || endpointOf(t, got["didDoc"]) != endpoint {
				t.Errorf("%s: createSession: %v", endpoint, got)
			}
			s.do(me, "server.deactivateAccount", object{}).ok()
			if !valid() {
				t.Errorf("%s: checkAccountStatus says that the DID is not valid", endpoint)
			}
			s.do(me, "server.activateAccount", nil).ok()
		}
		for _, endpoint := range otherEndpoints {
			submit(endpoint).refused(400, "InvalidRequest", "Incorrect endpoint on atproto_pds service")
			if op, err := (&did.Registrar{Directory: s.Gatehouse.Directory}).Data(context.Background(), id); err != nil || op.Services[did.AtprotoPDS].Endpoint == endpoint {
				t.Errorf("%q was submitted: %v", endpoint, err)
			}
		}
		s.do(me, "server.deactivateAccount", object{}).ok()
		for _, endpoint := range otherEndpoints {
			s.setDID(t, alice.DID, naming(endpoint)) // as the owner may, without the server
			if got := login(); got["didDoc"] != nil {
				t.Errorf("%q: createSession: %v", endpoint, got)
			}
			if valid() {
				t.Errorf("%q: checkAccountStatus says that the DID is valid", endpoint)
			}
			s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest", "DID document atproto_pds service endpoint does not match PDS public url")
		}
	}, config(atPDSTest))
}

// TestMixedCaseEndpointInADIDDocumentStaysValid checks that a DID document with the endpoint in
// mixed case, as an older version wrote it, still names this server.
func TestMixedCaseEndpointInADIDDocumentStaysValid(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			store := b.open(t)
			names := config(func(c *gatehouse.Config) {
				c.Hostname, c.PublicURL, c.DIDs.RotationKey = "LocalHost", "http://LocalHost:2583", serversRotationKey
			})
			before := newAPI(t, withStore(store), names)
			alice := before.signUp("alice.test")
			before.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
			before.setDID(t, alice.DID, func(op *did.Operation) {
				op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: "http://LocalHost:2583"}
			})
			before.Close()

			s := newAPI(t, withStore(store), names)
			me := bearer(alice.AccessJWT)
			if got := s.do(me, "server.getSession", nil).ok(); got["didDoc"] == nil {
				t.Errorf("getSession: %v", got)
			}
			s.do(me, "server.activateAccount", nil).ok()
			s.do(me, "identity.updateHandle", object{"handle": "alicia.test"}).ok()
			op, err := (&did.Registrar{Directory: s.Gatehouse.Directory}).Data(context.Background(), syntax.DID(alice.DID))
			if err != nil || !slices.Equal(op.AlsoKnownAs, []string{"at://alicia.test"}) {
				t.Errorf("the DID document is %+v, %v", op, err)
			}
		})
	}
}

// TestMigrationAcceptsOtherSpellingsOfTheEndpoint moves an account to a server whose endpoint the
// client spelled differently in the DID document.
func TestMigrationAcceptsOtherSpellingsOfTheEndpoint(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			plc := newDirectory(t)
			shared := config(func(c *gatehouse.Config) { c.DIDs.Directory = plc })
			from := newAPI(t, withStore(b.open(t)), shared, config(func(c *gatehouse.Config) { c.Hostname, c.HandleDomains = "old.test", []string{".old.test"} }))
			to := newAPI(t, withStore(b.open(t)), shared, config(func(c *gatehouse.Config) {
				c.Hostname, c.PublicURL, c.HandleDomains = "PDS.New.test.", "https://PDS.New.test", []string{"New.Test"}
			}))
			alice := from.signUp("alice.old.test")
			me := bearer(move(from, to, alice.DID, alice.AccessJWT, object{"handle": "alice.new.test", "email": "alice@example.com"}, func(credentials object) {
				pds := credentials["services"].(object)["atproto_pds"].(object)
				if pds["endpoint"] != "https://pds.new.test" {
					t.Errorf("getRecommendedDidCredentials: %v", credentials)
				}
				pds["endpoint"] = "https://PDS.new.test:443/"
			}))
			if got := to.do(me, "server.getSession", nil).ok(); got["active"] != true || endpointOf(t, got["didDoc"]) != "https://PDS.new.test:443/" {
				t.Errorf("getSession: %v", got)
			}
			from.Clock.Advance(6 * time.Minute) // until the cached document has expired
			if got := from.login(alice.DID, alice.Password).ok(); got["didDoc"] != nil {
				t.Errorf("the old server takes the new server's endpoint for its own: %v", got)
			}
		})
	}
}

// TestForeignDIDsMaySpellTheEndpointDifferently checks the endpoint in did:web documents that their
// owners host, since these are written by hand.
func TestForeignDIDsMaySpellTheEndpointDifferently(t *testing.T) {
	t.Parallel()
	var published atomic.Pointer[did.Data]
	resolve := func(context.Context, syntax.DID) (json.RawMessage, error) {
		return json.Marshal(published.Load().Document())
	}
	onEach(t, func(t *testing.T, s *api) {
		owner := privateKey(t)
		const id = "did:web:alice.example.com"
		publish := func(key, endpoint string) { published.Store(did.AtprotoData(id, "alice.example.com", key, endpoint)) }
		publish(didKey(t, owner), "https://elsewhere.example.com")
		proof := s.serviceToken(owner, id, "server.createAccount", object{"aud": "did:web:pds.test"})
		a := s.come(proof, id)
		me := bearer(a.text("accessJwt"))
		methods := s.do(me, "identity.getRecommendedDidCredentials", nil).ok()["verificationMethods"].(object)
		key := methods["atproto"].(string)
		for _, endpoint := range otherEndpoints {
			publish(key, endpoint)
			s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest", "DID document atproto_pds service endpoint does not match PDS public url")
		}
		for _, endpoint := range sameEndpoints {
			publish(key, endpoint)
			s.do(me, "server.activateAccount", nil).ok()
			s.do(me, "server.deactivateAccount", object{}).ok()
		}
	}, config(atPDSTest), config(func(c *gatehouse.Config) { c.DIDs.Resolver = resolve }))
}

// TestPublicURLWithALocalHostnameIsLogged checks that the server logs a warning at start if the
// public URL is public and the hostname local.
func TestPublicURLWithALocalHostnameIsLogged(t *testing.T) {
	t.Parallel()
	for publicURL, want := range map[string]bool{"https://PDS.example.com": true, "http://LocalHost:2583": false} {
		var log strings.Builder
		s := newAPI(t, config(func(c *gatehouse.Config) {
			c.PublicURL, c.Logger = publicURL, slog.New(slog.NewTextHandler(&log, nil))
		}))
		s.do(nobody, "server.describeServer", nil).ok()
		s.Close()
		if got := strings.Contains(log.String(), "PublicURL is public and Hostname is local"); got != want {
			t.Errorf("%s: warned: %v, want %v: %s", publicURL, got, want, log.String())
		}
	}
}
