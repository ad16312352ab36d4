package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// faulty is a directory that fails in the way that its mode says.
type faulty struct {
	did.Directory
	mode atomic.Value // string
}

// The modes of a faulty directory.
const (
	works       = ""
	refuses     = "refuses"
	unreachable = "unreachable"
	losesAnswer = "loses its answer"
	silent      = "loses its answer, and can't be read"
	dying       = "accepts one operation, and then is unreachable"
)

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{Directory: newDirectory(t)}
	f.mode.Store(works)
	return f
}

func (f *faulty) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	switch f.mode.Load() {
	case refuses:
		return fmt.Errorf("%w: in this test", did.ErrRefused)
	case unreachable:
		return fmt.Errorf("%w: in this test", did.ErrUnavailable)
	case losesAnswer, silent:
		if err := f.Directory.Submit(ctx, id, op); err != nil {
			return err
		}
		return fmt.Errorf("%w: in this test", did.ErrUnavailable)
	}
	err := f.Directory.Submit(ctx, id, op)
	if f.mode.CompareAndSwap(dying, unreachable) && err == nil {
		return fmt.Errorf("%w: in this test", did.ErrUnavailable)
	}
	return err
}

func (f *faulty) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	switch f.mode.Load() {
	case unreachable, silent:
		return nil, fmt.Errorf("%w: in this test", did.ErrUnavailable)
	}
	return f.Directory.Log(ctx, id)
}

// TestSignUpWithAFaultyDirectory checks that a sign-up that the directory interrupts in any way
// uses up no invite code, keeps no handle taken, and loses no DID.
func TestSignUpWithAFaultyDirectory(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			directory := newFaulty(t)
			s := newAPI(t, withStore(b.open(t)), config(func(c *gatehouse.Config) { c.DIDs.Directory = directory; c.SignUp.Mode = gatehouse.SignUpInvites }))
			ctx := context.Background()
			code := s.newCode(1)
			signUp := func() *answer {
				return s.do(nobody, "server.createAccount", object{
					"handle": "alice.test", "email": "alice@example.com", "password": "password", "inviteCode": code,
				})
			}
			maintain := func() {
				t.Helper()
				if err := s.Gatehouse.Maintain(ctx); err != nil && !errors.Is(err, did.ErrUnavailable) {
					t.Fatal(err)
				}
			}

			// The directory refuses the operation: the sign-up is undone immediately.
			directory.mode.Store(refuses)
			signUp().refused(502, "UpstreamFailure", "The DID directory refused the operation")

			// The directory can't be reached: the sign-up stays pending and invisible until the operation
			// can no longer arrive.
			directory.mode.Store(unreachable)
			signUp().refused(502, "UpstreamFailure", "The DID directory could not be reached")
			s.login("alice.test", "password").refused(401, "AuthenticationRequired")
			maintain()
			directory.mode.Store(works)
			signUp().refused(400, "InvalidInviteCode")
			maintain()
			signUp().refused(400, "InvalidInviteCode")
			s.Clock.Advance(6 * time.Minute)
			maintain()

			// The answer is lost, and the server finds the operation in the directory's log.
			directory.mode.Store(losesAnswer)
			alice := signUp()
			alice.ok()
			s.login("alice.test", "password").ok()

			// The answer is lost and the log can't be read: the background work finds the DID later.
			directory.mode.Store(silent)
			code = s.newCode(1)
			s.do(nobody, "server.createAccount", object{
				"handle": "bob.test", "email": "bob@example.com", "password": "password", "inviteCode": code,
			}).refused(502, "UpstreamFailure")
			s.login("bob.test", "password").refused(401, "AuthenticationRequired")
			directory.mode.Store(works)
			s.Clock.Advance(2 * time.Minute)
			maintain()
			bob := s.login("bob.test", "password")
			if _, err := directory.Log(ctx, syntax.DID(bob.text("did"))); err != nil {
				t.Errorf("bob's DID: %v", err)
			}
			if got := s.do(bearer(bob.text("accessJwt")), "server.getSession", nil).text("handle"); got != "bob.test" {
				t.Errorf("getSession: the handle is %s, want bob.test", got)
			}
			s.do(nobody, "server.createAccount", object{
				"handle": "carol.test", "email": "carol@example.com", "password": "password", "inviteCode": code,
			}).refused(400, "InvalidInviteCode")
		})
	}
}

// TestSignUpInterruptedByACrash leaves sign-ups in the state that a crash before or after
// submitting the operation would leave, and starts another server on the same store.
func TestSignUpInterruptedByACrash(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			directory, store := newFaulty(t), b.open(t)
			with := config(func(c *gatehouse.Config) { c.DIDs.Directory = directory })
			s := newAPI(t, withStore(store), with)
			directory.mode.Store(silent)
			s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"}).refused(502, "UpstreamFailure")
			directory.mode.Store(unreachable)
			s.do(nobody, "server.createAccount", object{"handle": "bob.test", "email": "bob@example.com", "password": "password"}).refused(502, "UpstreamFailure")
			s.Close()
			directory.mode.Store(works)

			s = newAPI(t, withStore(store), with)
			s.Clock.Advance(6 * time.Minute)
			if err := s.Gatehouse.Maintain(context.Background()); err != nil {
				t.Fatal(err)
			}
			s.login("alice.test", "password").ok()
			s.login("bob.test", "password").refused(401, "AuthenticationRequired")
			s.signUp("bob.test")
		})
	}
}

// TestWebDIDs signs up on a server that creates did:web DIDs.
func TestWebDIDs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		if alice.DID != "did:web:alice.test" {
			t.Errorf("the DID is %s", alice.DID)
		}
		doc, _ := s.login("alice.test", alice.Password).ok()["didDoc"].(object)
		services, _ := doc["service"].([]any)
		if doc["id"] != alice.DID || len(services) != 1 || services[0].(object)["serviceEndpoint"] != s.URL {
			t.Errorf("the DID document doesn't name %s and %s: %v", alice.DID, s.URL, doc)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestAHandleWhoseWebDIDIsTaken checks that the first handle of an account with a did:web stays
// taken after a change of handle, since the DID is still named after it.
func TestAHandleWhoseWebDIDIsTaken(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		available := func() bool {
			t.Helper()
			free, _ := s.offered("alice.test")
			return free
		}
		s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": "alicia.test"}).ok()
		if available() {
			t.Error("checkHandleAvailability says that the handle is available")
		}
		signUp := object{"handle": "alice.test", "email": "other@example.com", "password": "password"}
		s.do(nobody, "server.createAccount", signUp).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		if !available() {
			t.Error("the handle isn't available after its account was deleted")
		}
		s.do(nobody, "server.createAccount", signUp).ok()
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestRecoveryKeyComesFirst checks the order of rotation keys: the user's recovery key, the
// operator's, and the server's rotation key.
func TestRecoveryKeyComesFirst(t *testing.T) {
	t.Parallel()
	const users = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"
	const operators = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test", object{"recoveryKey": users})
		op, err := (&did.Registrar{Directory: s.Gatehouse.Directory}).Data(context.Background(), syntax.DID(alice.DID))
		if err != nil {
			t.Fatal(err)
		}
		if len(op.RotationKeys) != 3 || op.RotationKeys[0] != users || op.RotationKeys[1] != operators {
			t.Errorf("the rotation keys are %v, want the user's, the operator's and the server's", op.RotationKeys)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.RecoveryKey = operators }))
}
