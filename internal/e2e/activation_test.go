package e2e

import (
	"context"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// TestActivationLooksAtTheDID changes a DID behind the server's back.
func TestActivationLooksAtTheDID(t *testing.T) {
	t.Parallel()
	rotationKey := privateKey(t)
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		resolves := func(want int) {
			t.Helper()
			if a := s.do(nobody, "identity.resolveHandle", object{"handle": alice.Handle}); a.status != want {
				t.Errorf("resolveHandle: %d %s; want %d", a.status, a.body, want)
			}
			if status, body := s.get(alice.Handle, "/.well-known/atproto-did"); (status == 200) != (want == 200) {
				t.Errorf("atproto-did: %d %s", status, body)
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
			t.Errorf("checkAccountStatus: %v", got)
		}
		// Of what an admin decides at once, nothing happens if a part of it can't.
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
			t.Error("a decision was refused, and half of it was carried out")
		}
		change(func(op *did.Operation) {
			op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: s.URL}
		})
		decide(false, false).ok()
		if taken() {
			t.Error("the takedown was not lifted")
		}
		alice.AccessJWT = s.login("alice.test", alice.Password).text("accessJwt")
		me = bearer(alice.AccessJWT)
		s.do(me, "server.deactivateAccount", object{}).ok()
		s.do(me, "server.activateAccount", nil).ok()
		if got := s.do(me, "server.getSession", nil).ok(); got["active"] != true {
			t.Errorf("getSession: %v", got)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.RotationKey = rotationKey }))
}
