package e2e

import (
	"context"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// TestActivationChecksTheDIDDocument changes a DID without the server's knowledge: an account can
// be activated only while its DID document has the account's signing key and this server's
// endpoint.
func TestActivationChecksTheDIDDocument(t *testing.T) {
	t.Parallel()
	rotationKey := privateKey(t)
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		resolves := func(want int) {
			t.Helper()
			if a := s.do(nobody, "identity.resolveHandle", object{"handle": alice.Handle}); a.status != want {
				t.Errorf("resolveHandle: %d %s, want %d", a.status, a.body, want)
			}
			if status, body := s.get(alice.Handle, "/.well-known/atproto-did"); (status == 200) != (want == 200) {
				t.Errorf("atproto-did: %d %s, want the same as resolveHandle: %d", status, body, want)
			}
		}
		resolves(200)
		plc := &did.Registrar{Directory: s.Gatehouse.Directory, Signer: rotationKey}
		change := func(f func(*did.Operation)) {
			t.Helper()
			if err := plc.Change(context.Background(), syntax.DID(alice.DID), f); err != nil {
				t.Fatal(err)
			}
		}
		s.do(me, "server.deactivateAccount", object{}).ok()
		resolves(200)
		var key string
		change(func(op *did.Operation) {
			key = op.VerificationMethods[did.AtprotoKey]
			op.VerificationMethods[did.AtprotoKey] = op.RotationKeys[0]
		})
		s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest", "DID document verification method does not match expected signing key")
		change(func(op *did.Operation) {
			op.VerificationMethods[did.AtprotoKey] = key
			op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: "https://elsewhere.example.com"}
		})
		s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest", "DID document atproto_pds service endpoint does not match PDS public url")
		if got := s.do(me, "server.checkAccountStatus", nil).ok(); got["activated"] != false || got["validDid"] != false {
			t.Errorf("checkAccountStatus: %v, want neither activated nor validDid", got)
		}
		// If one part of an updateSubjectStatus call fails, none of it takes effect.
		decide := func(takedown, deactivated bool) *answer {
			t.Helper()
			return s.do(admin, "admin.updateSubjectStatus", object{
				"subject":  object{"$type": "com.atproto.admin.defs#repoRef", "did": alice.DID},
				"takedown": object{"applied": takedown}, "deactivated": object{"applied": deactivated},
			})
		}
		taken := func() bool {
			t.Helper()
			return s.do(admin, "admin.getSubjectStatus", object{"did": alice.DID}).ok()["takedown"].(object)["applied"] == true
		}
		decide(true, true).ok()
		decide(false, false).refused(400, "InvalidRequest", "DID document atproto_pds service endpoint does not match PDS public url")
		if !taken() {
			t.Error("updateSubjectStatus failed but lifted the takedown")
		}
		change(func(op *did.Operation) {
			op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: s.URL}
		})
		decide(false, false).ok()
		if taken() {
			t.Error("updateSubjectStatus succeeded but did not lift the takedown")
		}
		alice.AccessJWT = s.login("alice.test", alice.Password).text("accessJwt")
		me = bearer(alice.AccessJWT)
		s.do(me, "server.deactivateAccount", object{}).ok()
		s.do(me, "server.activateAccount", nil).ok()
		if got := s.do(me, "server.getSession", nil).ok(); got["active"] != true {
			t.Errorf("getSession: %v, want an active account", got)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.RotationKey = rotationKey }))
}
