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

// faulty is a directory that fails as it is told.
type faulty struct {
	did.Directory
	mode atomic.Value // string
}

const (
	works       = ""
	refuses     = "refuses"
	unreachable = "unreachable"
	losesAnswer = "loses its answer"
	silent      = "loses its answer, and can't be asked"
	dying       = "takes one operation and is gone"
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

// TestSignUpWithAFaultyDirectory cuts sign-ups short in every way: no invite is
// burnt, no handle stays taken, and no DID is lost.
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

			// Refused: undone at once.
			directory.mode.Store(refuses)
			signUp().refused(502, "UpstreamFailure", "The DID directory refused the operation")

			// Not reached: pending, invisible, until it is sure that nothing is on its way.
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

			// The answer is lost, and asking for it helps.
			directory.mode.Store(losesAnswer)
			alice := signUp()
			alice.ok()
			s.login("alice.test", "password").ok()

			// The answer is lost, and the recovery pass finds the DID.
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
				t.Errorf("getSession: %s", got)
			}
			s.do(nobody, "server.createAccount", object{
				"handle": "carol.test", "email": "carol@example.com", "password": "password", "inviteCode": code,
			}).refused(400, "InvalidInviteCode")
		})
	}
}

// TestSignUpCutShortByACrash leaves a sign-up as a crash would, before and after its operation
// was submitted, and starts a server on what is left.
func TestSignUpCutShortByACrash(t *testing.T) {
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
			t.Errorf("the DID document is %v", doc)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// TestAHandleWhoseDIDIsTaken has an account with a did:web take another handle: its first one is
// still in its DID.
func TestAHandleWhoseDIDIsTaken(t *testing.T) {
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
			t.Error("the handle is said to be available")
		}
		signUp := object{"handle": "alice.test", "email": "other@example.com", "password": "password"}
		s.do(nobody, "server.createAccount", signUp).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		if !available() {
			t.Error("the handle isn't available though its account is gone")
		}
		s.do(nobody, "server.createAccount", signUp).ok()
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

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
			t.Errorf("the rotation keys are %v", op.RotationKeys)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.RecoveryKey = operators }))
}
