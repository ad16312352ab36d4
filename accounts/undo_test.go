package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// watched is a directory with callbacks.
type watched struct {
	did.Directory
	submitted func(context.Context) error // called after an operation was accepted
	asked     func() error                // called before a log is read
}

func watch(t *testing.T) *watched {
	t.Helper()
	local, err := did.NewLocal(ctx, memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &watched{Directory: local}
}

func (w *watched) in(c *domaintest.Config) { c.Directory = w }

func (w *watched) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	err := w.Directory.Submit(ctx, id, op)
	if err == nil && w.submitted != nil {
		err = w.submitted(ctx)
	}
	return err
}

func (w *watched) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	if w.asked != nil {
		if err := w.asked(); err != nil {
			return nil, err
		}
	}
	return w.Directory.Log(ctx, id)
}

func (w *watched) data(t *testing.T, id syntax.DID) *did.Data {
	t.Helper()
	data, err := (&did.Registrar{Directory: w.Directory}).Data(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hookOnce makes the next change of a kind fail.
func hookOnce(s *domaintest.Services, kind accounts.Kind, err error) {
	s.AddHook(func(_ context.Context, tx storage.Tx, c accounts.Change) error {
		if c.Kind != kind {
			return nil
		}
		failure := err
		err = nil
		return failure
	})
}

var errVeto = errors.New("vetoed")

func TestARefusedHandleChangeIsReverted(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account
	hookOnce(s, accounts.HandleChanged, errVeto)
	if err := s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false); !errors.Is(err, errVeto) {
		t.Fatalf("a vetoed change: %v", err)
	}
	if got := dir.data(t, alice.DID).Handle(); got != "alice.test" {
		t.Errorf("after a veto the DID says %s", got)
	}

	// Nobody else takes the handle while the DID is being changed.
	dir.submitted = func(context.Context) error {
		dir.submitted = nil
		if _, err := s.Accounts.Create(ctx, params("alicia")); !errors.Is(err, handle.ErrNotAvailable) {
			t.Errorf("a sign-up in between: %v", err)
		}
		return nil
	}
	if err := s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false); err != nil {
		t.Fatal(err)
	}
	if got := dir.data(t, alice.DID).Handle(); got != "alicia.test" {
		t.Errorf("after the change the DID says %s", got)
	}

	// If the client hangs up when the DID has changed, the change is finished all the same.
	hasty, hangUp := context.WithCancel(ctx)
	dir.submitted = func(context.Context) error { hangUp(); return nil }
	if err := s.Accounts.Identity().UpdateHandle(hasty, alice.DID, "ally.test", false); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Accounts.Get(ctx, alice.DID); err != nil || a.Handle != "ally.test" || dir.data(t, alice.DID).Handle() != "ally.test" {
		t.Errorf("the handle is %v, %v", a, err)
	}
}

func TestAnInterruptedHandleChangeIsCompletedByTheNext(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account
	hookOnce(s, accounts.HandleChanged, storage.ErrUnavailable)
	for range 2 {
		_ = s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false)
		if got := dir.data(t, alice.DID).Handle(); got != "alicia.test" {
			t.Errorf("the DID says %s", got)
		}
	}
	if a, err := s.Accounts.Get(ctx, alice.DID); err != nil || a.Handle != "alicia.test" {
		t.Errorf("the account: %+v, %v", a, err)
	}
	if log, err := dir.Directory.Log(ctx, alice.DID); err != nil || len(log) != 2 {
		t.Errorf("%d operations, %v", len(log), err)
	}
}

func TestARotatedKeyIsNeverLost(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account
	key := func() string { return dir.data(t, alice.DID).VerificationMethods[did.AtprotoKey] }

	hookOnce(s, accounts.KeyChanged, errVeto)
	if _, err := s.Accounts.Identity().RotateSigningKey(ctx, alice.DID); !errors.Is(err, errVeto) || key() != alice.SigningKey {
		t.Errorf("a vetoed rotation: %v, and the DID says %s", err, key())
	}

	// A rotation is interrupted when the DID has the new key and the account doesn't.
	hookOnce(s, accounts.KeyChanged, storage.ErrUnavailable)
	if _, err := s.Accounts.Identity().RotateSigningKey(ctx, alice.DID); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("a rotation without a store: %v", err)
	}
	published := key()
	if published == alice.SigningKey {
		t.Fatal("the DID has the old key")
	}
	rotated, err := s.Accounts.Identity().RotateSigningKey(ctx, alice.DID)
	if err != nil || rotated != published {
		t.Fatalf("the key %s was lost: now %s, %v", published, rotated, err)
	}
	signer, err := s.Accounts.Identity().Signer(ctx, alice.DID)
	if err != nil {
		t.Fatal(err)
	}
	if public, err := signer.PublicKey(); err != nil || public.DIDKey() != key() {
		t.Errorf("the account signs with %v, %v; the DID says %s", public, err, key())
	}
	if again, err := s.Accounts.Identity().RotateSigningKey(ctx, alice.DID); err != nil || again == rotated {
		t.Errorf("the next rotation: %s, %v", again, err)
	}
}

// TestAKeyChangeExcludesOthersOfItsAccountAndItsKey: while the DID has the new key and the account
// doesn't, the account gets no other key, and no other account gets that key.
func TestAKeyChangeExcludesOthersOfItsAccountAndItsKey(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice, bob := s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
	reserve := func() string {
		t.Helper()
		key, err := s.Accounts.Identity().ReserveSigningKey(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	one, other := reserve(), reserve()
	dir.submitted = func(context.Context) error {
		dir.submitted = nil
		for _, begin := range []func() error{
			func() error { return s.Accounts.Identity().SetSigningKey(ctx, alice, other) },
			func() error { _, err := s.Accounts.Identity().RotateSigningKey(ctx, alice); return err },
			func() error { return s.Accounts.Identity().SetSigningKey(ctx, bob, one) },
		} {
			if err := begin(); !errors.Is(err, accounts.ErrInvalidRequest) {
				t.Errorf("in between: %v", err)
			}
		}
		return s.Accounts.Identity().SetSigningKey(ctx, alice, one) // the same may
	}
	if err := s.Accounts.Identity().SetSigningKey(ctx, alice, one); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Identity().SetSigningKey(ctx, bob, other); err != nil {
		t.Fatal(err)
	}
	for id, key := range map[syntax.DID]string{alice: one, bob: other} {
		a, err := s.Accounts.Get(ctx, id)
		if published := dir.data(t, id).VerificationMethods[did.AtprotoKey]; err != nil || a.SigningKey != key || published != key {
			t.Errorf("the account has the key %s, %v, and its DID %s; want %s", a.SigningKey, err, published, key)
		}
	}
}

func TestASignUpThatRecoveryFinishedKeepsItsDID(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	dir.submitted = func(context.Context) error {
		dir.submitted = nil
		// In another process, whose clock is two minutes ahead.
		other := s.Another(func(c *domaintest.Config) {
			c.Now = func() time.Time { return s.Now().Add(2 * time.Minute) }
		})
		return other.Accounts.Maintain(ctx)
	}
	_, err := s.Accounts.Create(ctx, params("alice"), func(storage.Tx, *accounts.Account) error { return errVeto })
	if !errors.Is(err, errVeto) {
		t.Fatalf("Create: %v", err)
	}
	a, err := s.Accounts.Find(ctx, "alice.test")
	if err != nil {
		t.Fatal(err)
	}
	if op, err := (&did.Registrar{Directory: dir.Directory}).Data(ctx, a.DID); err != nil {
		t.Errorf("the DID of an account that exists: %v, %v", op, err)
	}
}

func TestRecoveryUndoesWhatAHookRefuses(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in, func(c *domaintest.Config) { c.Invites.Required = true })
	made, err := s.Invites.Create(ctx, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := params("alice")
	p.Ticket = made[0].Codes[0]
	lost := fmt.Errorf("%w: in this test", did.ErrUnavailable)
	dir.submitted = func(context.Context) error { return lost }
	dir.asked = func() error { return lost }
	if _, err := s.Accounts.Create(ctx, p); !errors.Is(err, did.ErrUnavailable) {
		t.Fatalf("Create: %v", err)
	}
	dir.submitted, dir.asked = nil, nil
	hookOnce(s, accounts.Created, errVeto)
	s.Advance(2 * time.Minute)
	if err := s.Accounts.Maintain(ctx); !errors.Is(err, errVeto) {
		t.Errorf("Maintain: %v", err)
	}
	if err := s.Accounts.Maintain(ctx); err != nil {
		t.Errorf("Maintain again: %v", err)
	}
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Errorf("the handle, the address and the invite of a sign-up that was refused: %v", err)
	}
}

func TestRecoveryEndsWithItsContextInAnOutage(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	lost := fmt.Errorf("%w: in this test", did.ErrUnavailable)
	dir.submitted = func(context.Context) error { return lost }
	dir.asked = func() error { return lost }
	for i := range 3 {
		if _, err := s.Accounts.Create(ctx, params(fmt.Sprintf("user%d", i))); !errors.Is(err, did.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	s.Advance(2 * time.Minute)
	impatient, stop := context.WithCancel(ctx)
	asked := 0
	dir.asked = func() error { asked++; stop(); return lost } // the context ends
	if err := s.Accounts.Maintain(impatient); err == nil || asked != 1 {
		t.Errorf("Maintain: %v, asked %d times", err, asked)
	}
	dir.asked = nil
	if err := s.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	p, err := s.Accounts.List(ctx, "", 10)
	if err != nil || !slices.ContainsFunc(p.Accounts, func(a *accounts.Account) bool { return a.Handle == "user2.test" }) || len(p.Accounts) != 3 {
		t.Errorf("after recovery: %d accounts, %v", len(p.Accounts), err)
	}
}

func TestAnAccountWithAMissingDIDIsNotActivated(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	const id = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	p := params("alice")
	p.DID, p.ProvenDID = id, id
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Activate(ctx, id); !errors.Is(err, accounts.ErrInvalidRequest) || errors.Is(err, accounts.ErrDirectory) {
		t.Errorf("a DID that the directory doesn't have: %v", err)
	}
	if err := s.Accounts.Identity().RequestPLCSignature(ctx, id); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("a code for an operation before the activation: %v", err)
	}
	if _, err := s.Accounts.Identity().SignPLCOperation(ctx, id, "AAAAA-AAAAA", func(*did.Operation) {}); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("an operation for it: %v", err)
	}
	dir.asked = func() error { return did.ErrUnavailable }
	if err := s.Accounts.Activate(ctx, id); !errors.Is(err, accounts.ErrDirectory) {
		t.Errorf("no directory: %v", err)
	}
}

// TestACodeIsValidUntilAnOperationIsSigned, even if the directory fails or the operation is
// invalid.
func TestACodeIsValidUntilAnOperationIsSigned(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account.DID
	if err := s.Accounts.Identity().RequestPLCSignature(ctx, alice); err != nil {
		t.Fatal(err)
	}
	code := s.Code("alice")
	sign := func(change func(*did.Operation)) error {
		op, err := s.Accounts.Identity().SignPLCOperation(ctx, alice, code, change)
		if (op == nil) != (err != nil) {
			t.Errorf("%v, %v", op, err)
		}
		return err
	}
	same, other := func(*did.Operation) {}, func(op *did.Operation) { op.SetHandle("alicia.test") }
	dir.asked = func() error { return did.ErrUnavailable }
	if err := sign(other); !errors.Is(err, accounts.ErrDirectory) {
		t.Errorf("without a directory: %v", err)
	}
	dir.asked = nil
	if err := sign(func(op *did.Operation) { op.RotationKeys = nil }); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("an invalid operation: %v", err)
	}
	if err := sign(same); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("an operation that changes nothing: %v", err)
	}
	if err := sign(other); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := sign(other); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a code that was used: %v", err)
	}
}

// TestAForeignWebDIDMustNameTheHandle: an account with a did:web that isn't hosted here only gets
// another handle if its document names it.
func TestAForeignWebDIDMustNameTheHandle(t *testing.T) {
	const id = syntax.DID("did:web:alice.example.org")
	named, failure := "alice.test", error(nil)
	s := domaintest.New(t, func(c *domaintest.Config) {
		c.ForeignDIDs = func(context.Context, syntax.DID) (json.RawMessage, error) {
			return json.RawMessage(`{"id":"did:web:alice.example.org","alsoKnownAs":["https://x.test","at://` + named + `"]}`), failure
		}
	})
	p := params("alice")
	p.DID, p.ProvenDID = id, id
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	change := func() error { return s.Accounts.Identity().UpdateHandle(ctx, id, "alicia.test", false) }
	if err := change(); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("a handle that the document doesn't name: %v", err)
	}
	named, failure = "alicia.test", did.ErrUnavailable
	if err := change(); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("a document that can't be resolved: %v", err)
	}
	if a, err := s.Accounts.Get(ctx, id); err != nil || a.Handle != "alice.test" {
		t.Errorf("after refusals: %+v, %v", a, err)
	}
	failure = nil
	if err := change(); err != nil {
		t.Error(err)
	}
	if a, err := s.Accounts.Get(ctx, id); err != nil || a.Handle != "alicia.test" {
		t.Errorf("afterwards: %+v, %v", a, err)
	}
}

// TestAFailedSignUpKeepsTheHold: a held handle that an admin gives to a new account stays held if
// the sign-up fails.
func TestAFailedSignUpKeepsTheHold(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	if err := s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false); err != nil {
		t.Fatal(err)
	}
	byAdmin := params("bob")
	byAdmin.Handle, byAdmin.AllowReserved = "alice.test", true
	byOther := byAdmin
	byOther.AllowReserved = false
	hookOnce(s, accounts.Created, errVeto)
	if _, err := s.Accounts.Create(ctx, byAdmin); !errors.Is(err, errVeto) {
		t.Fatalf("a vetoed sign-up: %v", err)
	}
	if _, err := s.Accounts.Create(ctx, byOther); !errors.Is(err, handle.ErrNotAvailable) {
		t.Errorf("a sign-up of somebody else: %v", err)
	}
	if _, err := s.Accounts.Create(ctx, byAdmin); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alice.test", false); !errors.Is(err, handle.ErrNotAvailable) {
		t.Errorf("a handle that an admin has given to another account: %v", err)
	}
}
