package did_test

import (
	"context"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// nothing is a change that changes nothing.
func nothing(*did.Operation) {}

// TestADIDWithoutTheServersKey has the owner of a DID remove the server's key, and add it again.
func TestADIDWithoutTheServersKey(t *testing.T) {
	l, ids, m := newDID(t)
	mine := next(t, m.Operation, ids.owner, func(o *did.Operation) {
		o.RotationKeys = []string{ids.ownerID}
		o.SetHandle("mine.test")
	})
	if err := l.Submit(ctx, m.DID, mine); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, did.ErrNotController) || errors.Is(err, did.ErrRefused) || errors.Is(err, did.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("another handle", ids.Change(ctx, m.DID, handle("bob.test")))
	refused("a tombstone", ids.Tombstone(ctx, m.DID))
	refused("adding the key ourselves", ids.Change(ctx, m.DID, func(o *did.Operation) { o.RotationKeys = append(o.RotationKeys, ids.RotationKey()) }))
	op, err := ids.Sign(ctx, m.DID, handle("bob.test"))
	refused("a signature", err)
	if op != nil {
		t.Errorf("signed: %+v", op)
	}
	if err := ids.Change(ctx, m.DID, handle("mine.test")); err != nil {
		t.Errorf("the handle that it has: %v", err)
	}
	if log, err := l.Log(ctx, m.DID); err != nil || len(log) != 2 {
		t.Errorf("%d operations, %v", len(log), err)
	}

	// The key may have any rank.
	if err := l.Submit(ctx, m.DID, next(t, mine, ids.owner, func(o *did.Operation) { o.RotationKeys = append(o.RotationKeys, ids.RotationKey()) })); err != nil {
		t.Fatal(err)
	}
	if err := ids.Change(ctx, m.DID, handle("bob.test")); err != nil {
		t.Errorf("with the key: %v", err)
	}
	// The server may remove its own key.
	if op, err := ids.Sign(ctx, m.DID, func(o *did.Operation) { o.RotationKeys = []string{ids.ownerID} }); err != nil || ids.Submit(ctx, m.DID, op) != nil {
		t.Errorf("removing the server's key: %v", err)
	}
	refused("after that", ids.Change(ctx, m.DID, handle("carol.test")))
}

// overtaking is a directory in which the owner of a DID submits an operation right before the
// server.
type overtaking struct {
	did.Directory
	first func()
}

func (o *overtaking) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	if first := o.first; first != nil {
		o.first = nil
		first()
	}
	return o.Directory.Submit(ctx, id, op)
}

func TestTheKeyIsRemovedMeanwhile(t *testing.T) {
	l, _ := newLocal(t)
	dir := &overtaking{Directory: l}
	ids := newIdentities(t, dir)
	m := ids.mint()
	ids.submit(m)
	dir.first = func() {
		if err := l.Submit(ctx, m.DID, next(t, m.Operation, ids.owner, func(o *did.Operation) { o.RotationKeys = []string{ids.ownerID} })); err != nil {
			t.Error(err)
		}
	}
	if err := ids.Change(ctx, m.DID, handle("bob.test")); !errors.Is(err, did.ErrNotController) {
		t.Errorf("after the owner was faster: %v", err)
	}
}

// noKey is a signer without a key, as when a key management service is unavailable.
type noKey struct{ did.Signer }

var errNoKey = errors.New("in this test")

func (noKey) PublicKey() (atcrypto.PublicKey, error) { return nil, errNoKey }

func TestAnUnavailableSignerIsNotAMissingKey(t *testing.T) {
	_, ids, m := newDID(t)
	ids.Signer = noKey{ids.Signer}
	if err := ids.Change(ctx, m.DID, handle("bob.test")); !errors.Is(err, errNoKey) || errors.Is(err, did.ErrNotController) {
		t.Errorf("without the key: %v", err)
	}
}

// TestAnOperationThatChangesNothing checks that such an operation is neither signed nor submitted.
// An operation that was submitted before may be submitted again.
func TestAnOperationThatChangesNothing(t *testing.T) {
	l, ids, m := newDID(t)
	const want = "it must change the DID"
	if op, err := ids.Sign(ctx, m.DID, nothing); !errors.Is(err, did.ErrRefused) || reasonOf(t, err) != want || op != nil {
		t.Errorf("signed: %+v, %v", op, err)
	}
	if err := ids.Submit(ctx, m.DID, next(t, m.Operation, ids.owner, nothing)); !errors.Is(err, did.ErrRefused) || reasonOf(t, err) != want {
		t.Errorf("submitted: %v", err)
	}
	op, err := ids.Sign(ctx, m.DID, handle("bob.test"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ids.Submit(ctx, m.DID, op); err != nil {
			t.Error(err)
		}
	}
	if err := ids.Submit(ctx, m.DID, m.Operation); err != nil {
		t.Errorf("the first operation again: %v", err)
	}
	if log, err := l.Log(ctx, m.DID); err != nil || len(log) != 2 {
		t.Errorf("%d operations, %v", len(log), err)
	}
}
