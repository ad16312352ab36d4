package e2e

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// countedDirectory counts the requests that a directory receives.
type countedDirectory struct {
	did.Directory
	reads, writes atomic.Int32
}

func (d *countedDirectory) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	d.writes.Add(1)
	return d.Directory.Submit(ctx, id, op)
}

func (d *countedDirectory) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	d.reads.Add(1)
	return d.Directory.Log(ctx, id)
}

// TestDirectoryRequests counts how many requests each step of an account's life sends to the
// directory, and how many the next request sends that returns the account's DID document.
func TestDirectoryRequests(t *testing.T) {
	t.Parallel()
	directory := &countedDirectory{Directory: newDirectory(t)}
	s := newAPI(t, config(func(c *gatehouse.Config) { c.DIDs.Directory = directory }))
	requests := func(step string, reads, writes int32, do func()) {
		t.Helper()
		directory.reads.Store(0)
		directory.writes.Store(0)
		do()
		if r, w := directory.reads.Load(), directory.writes.Load(); r != reads || w != writes {
			t.Errorf("%s: %d reads and %d writes, want %d and %d", step, r, w, reads, writes)
		}
	}
	var me string
	// shows checks that getSession returns a DID document with the current handle.
	shows := func(handle string) {
		t.Helper()
		session := s.do(me, "server.getSession", nil).ok()
		doc, _ := session["didDoc"].(object)
		names, _ := doc["alsoKnownAs"].([]any)
		if len(names) == 0 || names[0] != "at://"+handle {
			t.Errorf("alsoKnownAs of the DID document is %v, want at://%s first", names, handle)
		}
	}

	requests("sign-up", 0, 1, func() {
		out := s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"}).ok()
		if out["didDoc"] == nil {
			t.Error("createAccount returned no DID document")
		}
		me = bearer(out["accessJwt"].(string))
	})
	id := syntax.DID(s.do(me, "server.getSession", nil).text("did"))
	requests("getSession after the sign-up", 0, 0, func() { shows("alice.test") })
	requests("change of handle", 1, 1, func() { s.do(me, "identity.updateHandle", object{"handle": "alicia.test"}).ok() })
	requests("getSession after the change of handle", 0, 0, func() { shows("alicia.test") })
	requests("change of the signing key", 1, 1, func() {
		if _, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	})
	requests("getSession after the change of the signing key", 0, 0, func() { shows("alicia.test") })
	var code string
	var operation any
	requests("request for a PLC operation", 1, 0, func() {
		s.do(me, "identity.requestPlcOperationSignature", nil).ok()
		code = s.Mail.Code("alice@example.com")
	})
	requests("signature of a PLC operation", 1, 0, func() {
		operation = s.do(me, "identity.signPlcOperation", object{
			"token": code, "alsoKnownAs": []string{"at://alicia.test", "at://alias.example.com"},
		}).ok()["operation"]
	})
	requests("submission of a PLC operation", 0, 1, func() {
		s.do(me, "identity.submitPlcOperation", object{"operation": operation}).ok()
	})
	requests("getSession after the submission", 0, 0, func() { shows("alicia.test") })
	s.do(me, "server.deactivateAccount", object{}).ok()
	requests("activation", 1, 0, func() { s.do(me, "server.activateAccount", nil).ok() })
	// Activation drops the cached document, since the owner may have changed the DID elsewhere.
	requests("getSession after the activation", 1, 0, func() { shows("alicia.test") })
}
