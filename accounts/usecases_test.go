package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

func withInvites(c *gatehouse.Config) { c.SignUp.Mode = gatehouse.SignUpInvites }

// useCases are the use cases of TestEveryStepMayFail.
var useCases = []useCase{
	{
		name: "sign-up", configure: withInvites, prepare: (*world).invite, act: signUp,
		done: func(w *world) error { return w.signedUp(nil) }, undone: (*world).notSignedUp,
		spent: []error{invites.ErrUnavailable},
	}, {
		name: "sign-up that a hook refuses when its DID is published", configure: withInvites, prepare: (*world).invite, act: signUp,
		done: func(w *world) error { return w.signedUp(nil) }, undone: (*world).notSignedUp,
		veto: accounts.Created,
	}, {
		name: "sign-up with a did:web", configure: func(c *gatehouse.Config) { c.SignUp.Mode, c.DIDs.Method = gatehouse.SignUpInvites, gatehouse.DIDWeb },
		prepare: (*world).invite, act: signUp,
		done: func(w *world) error { return w.signedUp(nil) }, undone: (*world).notSignedUp,
		spent: []error{invites.ErrUnavailable},
	}, {
		name: "sign-up of an account that moves here", configure: withInvites,
		prepare: func(w *world) { w.invite(); w.moving() }, act: moveHere,
		done: func(w *world) error {
			return w.signedUp(func(a *accounts.Account) error {
				return same("its DID, key and status", fmt.Sprint(a.DID, a.SigningKey, a.Status()), fmt.Sprint(w.id, w.key, accounts.StatusDeactivated))
			})
		},
		undone: func(w *world) error {
			if len(rows[any](w, w.store, "reserved_keys")) != 1 {
				return errors.New("the key is no longer reserved")
			}
			return w.notSignedUp()
		},
		spent: []error{invites.ErrUnavailable},
	}, {
		name: "activation",
		prepare: func(w *world) {
			w.moving()
			w.ok(moveHere(ctx, w))
			w.turnHere()
		},
		act: func(ctx context.Context, w *world) error { return w.srv.Accounts.Activate(ctx, w.id) },
		done: func(w *world) error {
			return same("the status", w.account("alice.test").Status(), accounts.StatusActive)
		},
		undone: func(w *world) error {
			return same("the status", w.account("alice.test").Status(), accounts.StatusDeactivated)
		},
	}, {
		name: "handle change", prepare: (*world).alice, act: changeHandle,
		done: (*world).hasNewHandle, undone: (*world).hasOldHandle,
	}, {
		name: "return to a handle that is held",
		prepare: func(w *world) {
			w.alice()
			w.ok(w.srv.Accounts.Identity().UpdateHandle(ctx, w.id, "alicia.test", false))
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.Identity().UpdateHandle(ctx, w.id, "alice.test", false)
		},
		done:   func(w *world) error { return w.hasHandle("alice.test", "alicia.test") },
		undone: (*world).hasNewHandle,
	}, {
		name: "handle change by an admin", prepare: (*world).alice,
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.Identity().UpdateHandle(ctx, w.id, "alicia.test", true)
		},
		done: func(w *world) error { return w.hasHandle("alicia.test") }, undone: (*world).hasOldHandle,
	}, {
		name: "handle change that a hook refuses when the DID names the handle", prepare: (*world).alice, act: changeHandle,
		done: (*world).hasNewHandle, undone: (*world).hasOldHandle,
		veto: accounts.HandleChanged,
	}, {
		name: "key rotation", prepare: (*world).alice, act: rotateKey,
		done: (*world).hasOtherKey, undone: func(w *world) error { return w.hasKey(w.old) },
	}, {
		name: "key rotation that a hook refuses when the DID names the key", prepare: (*world).alice, act: rotateKey,
		done: (*world).hasOtherKey, undone: func(w *world) error { return w.hasKey(w.old) },
		veto: accounts.KeyChanged,
	}, {
		name: "use of a reserved key",
		prepare: func(w *world) {
			w.alice()
			var err error
			w.key, err = w.srv.Accounts.Identity().ReserveSigningKey(ctx, "")
			w.ok(err)
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.Identity().SetSigningKey(ctx, w.id, w.key)
		},
		done: func(w *world) error { return w.hasKey(w.key) },
		undone: func(w *world) error {
			if len(rows[any](w, w.store, "reserved_keys")) != 1 {
				return errors.New("the key is no longer reserved")
			}
			return w.hasKey(w.old)
		},
	}, {
		name: "signature of an operation",
		prepare: func(w *world) {
			w.alice()
			w.ok(w.srv.Accounts.Identity().RequestPLCSignature(ctx, w.id))
			w.code = w.mailed("alice@example.com")
		},
		// The result is in the answer. If the answer is lost after the code was used, the client
		// has to ask for another code.
		act:    func(ctx context.Context, w *world) error { return w.sign(ctx) },
		done:   func(w *world) error { return w.codeIs(used) },
		undone: func(w *world) error { return w.codeIs(good) },
		spent:  []error{codes.ErrInvalid},
	}, {
		name: "submission of an operation",
		prepare: func(w *world) {
			w.alice()
			w.ok(w.srv.Accounts.Identity().RequestPLCSignature(ctx, w.id))
			w.code = w.mailed("alice@example.com")
			w.ok(w.sign(ctx))
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.Identity().SubmitPLCOperation(ctx, w.id, w.op)
		},
		done:   func(w *world) error { return same("the other names", len(w.published(w.id).AlsoKnownAs), 2) },
		undone: func(w *world) error { return same("the other names", len(w.published(w.id).AlsoKnownAs), 1) },
	}, {
		name: "deletion",
		prepare: func(w *world) {
			w.alice()
			w.ok(w.srv.Accounts.RequestDelete(ctx, w.id))
			w.code = w.mailed("alice@example.com")
			w.strays = append(w.strays, w.id)
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.SignIn.DeleteAccount(ctx, w.id, "password", w.code)
		},
		done: func(w *world) error {
			return errors.Join(w.free("alice.test", "alice@example.com"), w.hasSessions(0))
		},
		undone: func(w *world) error { return errors.Join(w.lives(), w.codeIs(good), w.hasSessions(1)) },
		spent:  []error{accounts.ErrBadCredentials},
	}, {
		name: "password reset",
		prepare: func(w *world) {
			w.alice()
			w.ok(w.srv.Accounts.RequestPasswordReset(ctx, "alice@example.com"))
			w.code = w.mailed("alice@example.com")
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: w.code, Password: "another password"})
		},
		done: func(w *world) error {
			return errors.Join(w.hasPassword("another password"), w.codeIs(used), w.hasSessions(0))
		},
		undone: func(w *world) error { return errors.Join(w.hasPassword("password"), w.codeIs(good), w.hasSessions(1)) },
		spent:  []error{codes.ErrInvalid},
	}, {
		name: "e-mail change",
		prepare: func(w *world) {
			w.alice()
			w.confirm()
			required, err := w.srv.Accounts.Emails().RequestUpdate(ctx, w.id)
			w.ok(errors.Join(err, same("a code is required", required, true)))
			w.code = w.mailed("alice@example.com")
		},
		act: func(ctx context.Context, w *world) error {
			return w.srv.Accounts.Emails().Update(ctx, w.id, accounts.EmailUpdate{Address: "alice@example.org", Code: w.code})
		},
		done:   func(w *world) error { return errors.Join(w.hasEmail("alice@example.org", false), w.codeIs(used)) },
		undone: func(w *world) error { return errors.Join(w.hasEmail("alice@example.com", true), w.codeIs(good)) },
	}, {
		name: "request for a code",
		prepare: func(w *world) {
			w.ok(w.signUp(ctx, params("bob")))
			w.alice()
			w.confirm()
		},
		act: func(ctx context.Context, w *world) error {
			_, err := w.srv.Accounts.Emails().RequestUpdate(ctx, w.id)
			return err
		},
		done:  (*world).mayChangeEmail,
		voids: true,
		undone: func(w *world) error {
			if w.mayChangeEmail() == nil {
				return errors.New("the code is good")
			}
			return nil
		},
	}, {
		name: "creation of an invite code", configure: withInvites, prepare: func(*world) {},
		act: func(ctx context.Context, w *world) error {
			made, err := w.srv.Invites.Create(ctx, 1, 1)
			if err == nil {
				w.code = made[0].Codes[0]
			}
			return err
		},
		done: func(w *world) error {
			made := rows[any](w, w.store, "invite_codes")
			if w.code != "" && made[w.code] == nil || len(made) == 0 {
				return errors.New("there is no code")
			}
			return nil
		},
		undone: func(w *world) error { return same("the codes", len(rows[any](w, w.store, "invite_codes")), 0) },
	}, {
		name: "earning of invite codes", configure: func(c *gatehouse.Config) { c.SignUp.Mode, c.SignUp.InviteInterval = gatehouse.SignUpInvites, time.Hour },
		prepare: func(w *world) {
			w.invite()
			w.ok(signUp(ctx, w))
			w.clock.Advance(3 * time.Hour)
		},
		act: func(ctx context.Context, w *world) error {
			got, err := w.srv.Invites.ForAccount(ctx, w.account("alice.test").DID, true, true)
			if err == nil && len(got) != 3 {
				return fmt.Errorf("%d codes", len(got))
			}
			return err
		},
		done:   func(w *world) error { return same("the codes", len(rows[any](w, w.store, "invite_codes")), 1+3) },
		undone: func(w *world) error { return same("the codes", len(rows[any](w, w.store, "invite_codes")), 1) },
	}, {
		name: "refresh",
		prepare: func(w *world) {
			w.alice()
			w.clock.Advance(time.Minute)
		},
		act: func(ctx context.Context, w *world) error {
			got, err := w.srv.Sessions.Refresh(ctx, w.refresh)
			if err == nil {
				w.access = got.AccessJWT
			}
			return err
		},
		done:   func(w *world) error { return errors.Join(w.wasRefreshed(true), w.hasSessions(1)) },
		undone: func(w *world) error { return errors.Join(w.wasRefreshed(false), w.hasSessions(1)) },
	}, {
		name: "login with a sign-in code",
		prepare: func(w *world) {
			w.alice()
			w.confirm()
			w.ok(w.srv.Accounts.Emails().Update(ctx, w.id, accounts.EmailUpdate{Address: "alice@example.com", Factor: accounts.EnableFactor}))
			if err := login(ctx, w); !errors.Is(err, signin.ErrFactorRequired) {
				w.ok(fmt.Errorf("without a code: %w", err))
			}
			w.code = w.mailed("alice@example.com")
		},
		act:    login,
		done:   func(w *world) error { return errors.Join(w.codeIs(used), w.hasSessions(2)) },
		undone: func(w *world) error { return errors.Join(w.codeIs(good), w.hasSessions(1)) },
		spent:  []error{codes.ErrInvalid},
	}, {
		name: "creation of an app password", prepare: (*world).alice,
		act: func(ctx context.Context, w *world) error {
			_, _, err := w.srv.AppPasswords.Create(ctx, w.id, "phone", false)
			return err
		},
		done:   func(w *world) error { return same("the app passwords", len(rows[any](w, w.store, "app_passwords")), 1) },
		undone: func(w *world) error { return same("the app passwords", len(rows[any](w, w.store, "app_passwords")), 0) },
		spent:  []error{apppasswords.ErrNameTaken},
	},
}

// same returns an error if something isn't what it should be.
func same[T comparable](what string, is, should T) error {
	if is != should {
		return fmt.Errorf("%s: %v, not %v", what, is, should)
	}
	return nil
}

func (w *world) invite() {
	made, err := w.srv.Invites.Create(ctx, 1, 1)
	w.ok(err)
	w.code = made[0].Codes[0]
}

func signUp(ctx context.Context, w *world) error {
	p := params("alice")
	p.Ticket = w.code
	return w.signUp(ctx, p)
}

func (w *world) signUp(ctx context.Context, p accounts.CreateParams) error {
	t, err := w.srv.SignIn.SignUp(ctx, p)
	if err == nil {
		w.access, w.refresh = t.AccessJWT, t.RefreshJWT
	}
	return err
}

// signedUp returns what is wrong with the account alice.
func (w *world) signedUp(also func(*accounts.Account) error) error {
	a := w.account("alice.test")
	if a == nil || w.account("alice@example.com") == nil {
		return errors.New("there is no account")
	}
	if w.access != "" {
		if _, err := w.srv.Sessions.Verify(ctx, sessions.Bearer(w.access)); err != nil {
			return fmt.Errorf("its token: %w", err)
		}
	}
	if also != nil {
		if err := also(a); err != nil {
			return err
		}
	}
	return errors.Join(w.hasPassword("password"), w.invited(a.DID), w.inviteUsed(1))
}

func (w *world) notSignedUp() error {
	return errors.Join(w.free("alice.test", "alice@example.com"), w.inviteUsed(0), w.hasSessions(0))
}

// invited returns an error if the account hasn't used the invite code.
func (w *world) invited(id syntax.DID) error {
	for _, use := range rows[struct{ Code, UsedBy string }](w, w.store, "invite_uses") {
		if use.UsedBy == id.String() && use.Code == w.code {
			return nil
		}
	}
	return fmt.Errorf("%s hasn't used the code %s", id, w.code)
}

func (w *world) inviteUsed(times int) error {
	return same("the uses of the code", rows[struct{ Used int }](w, w.store, "invite_codes")[w.code].Used, times)
}

// free returns an error if an account, visible or not, has a handle or an address.
func (w *world) free(handle, email string) error {
	for id, a := range rows[accounts.Account](w, w.store, "accounts") {
		if a.Handle.String() == handle || a.Email == email {
			return fmt.Errorf("%s has the handle %s and the address %s", id, a.Handle, a.Email)
		}
	}
	a, err := w.srv.Accounts.Handles().Available(ctx, handle)
	return errors.Join(err, same("the handle is available", a.Available, true))
}

// owner returns the registrar of the owner of DIDs that come from another server.
func (w *world) owner() *did.Registrar {
	key, err := did.ParseRotationKey("0101010101010101010101010101010101010101010101010101010101010101")
	w.ok(err)
	return &did.Registrar{Directory: w.plc, Signer: key, PublicURL: "https://elsewhere.example.com"}
}

// moving creates a DID that still names another server, and reserves a key for it.
func (w *world) moving() {
	const elsewhere = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
	id, op, err := w.owner().Mint(ctx, did.MintParams{Handle: "alice.example.com", SigningKey: elsewhere})
	w.ok(err)
	w.ok(w.plc.Submit(ctx, id, op))
	w.id = id
	w.strays = append(w.strays, w.id)
	w.key, err = w.srv.Accounts.Identity().ReserveSigningKey(ctx, w.id)
	w.ok(err)
}

func moveHere(ctx context.Context, w *world) error {
	p := params("alice")
	p.Ticket, p.DID, p.ProvenDID = w.code, w.id, w.id
	return w.signUp(ctx, p)
}

// turnHere changes the DID of an account that moves here so that it names this server.
func (w *world) turnHere() {
	should, err := w.srv.Accounts.Identity().Recommend(ctx, w.id)
	w.ok(err)
	w.ok(w.owner().Change(ctx, w.id, func(op *did.Operation) {
		op.RotationKeys = append(op.RotationKeys, should.RotationKeys...)
		op.AlsoKnownAs, op.VerificationMethods, op.Services = should.AlsoKnownAs, should.VerificationMethods, should.Services
	}))
}

// alice creates an account with a session.
func (w *world) alice() {
	w.ok(w.signUp(ctx, params("alice")))
	a := w.account("alice.test")
	w.id, w.old = a.DID, a.SigningKey
}

// lives returns an error if alice's account isn't as it was created.
func (w *world) lives() error {
	if _, err := w.srv.Sessions.Verify(ctx, sessions.Bearer(w.access)); err != nil {
		return err
	}
	return errors.Join(w.hasPassword("password"), w.hasEmail("alice@example.com", false), w.hasOldHandle(), w.hasKey(w.old))
}

func changeHandle(ctx context.Context, w *world) error {
	return w.srv.Accounts.Identity().UpdateHandle(ctx, w.id, "alicia.test", false)
}

func (w *world) hasOldHandle() error { return w.hasHandle("alice.test") }

func (w *world) hasNewHandle() error { return w.hasHandle("alicia.test", "alice.test") }

// hasHandle checks that the account has one of its two handles, that exactly the given handles are
// held for it, and that its other handle is free unless it is held.
func (w *world) hasHandle(handle syntax.Handle, held ...string) error {
	if err := same("the handle", w.account(w.id.String()).Handle, handle); err != nil {
		return err
	}
	all := rows[struct{ DID string }](w, w.store, "held_handles")
	if err := same("the handles that are held", fmt.Sprint(slices.Sorted(maps.Keys(all))), fmt.Sprint(held)); err != nil {
		return err
	}
	for _, h := range held {
		if err := same("the one for whom "+h+" is held", all[h].DID, w.id.String()); err != nil {
			return err
		}
	}
	other := map[syntax.Handle]string{"alice.test": "alicia.test", "alicia.test": "alice.test"}[handle]
	if slices.Contains(held, other) {
		return nil
	}
	return w.free(other, "")
}

// rotateKey rotates the key, and returns an error if the result is the old one.
func rotateKey(ctx context.Context, w *world) error {
	key, err := w.srv.Accounts.Identity().RotateSigningKey(ctx, w.id)
	if err == nil && key == w.old {
		return errors.New("the key is the old one")
	}
	return err
}

func (w *world) hasKey(key string) error {
	return same("the key", w.account(w.id.String()).SigningKey, key)
}

func (w *world) hasOtherKey() error {
	if w.hasKey(w.old) == nil {
		return errors.New("the key is the old one")
	}
	return nil
}

func (w *world) sign(ctx context.Context) (err error) {
	w.op, err = w.srv.Accounts.Identity().SignPLCOperation(ctx, w.id, w.code, func(op *did.Operation) {
		op.AlsoKnownAs = append(op.AlsoKnownAs, "https://alice.example.com")
	})
	return err
}

const (
	good = 1
	used = 0
)

// codeIs returns an error if the code that was mailed last isn't in the given state.
func (w *world) codeIs(state int) error {
	return same("the codes that are good", len(rows[any](w, w.store, "email_codes")), state)
}

func (w *world) confirm() {
	w.ok(w.srv.Accounts.Emails().RequestConfirmation(ctx, w.id))
	w.ok(w.srv.Accounts.Emails().Confirm(ctx, w.id, "alice@example.com", w.mailed("alice@example.com")))
}

// mayChangeEmail returns an error if the code that was mailed last isn't valid. It tries the code
// with an address that is taken, so that the code isn't used up.
func (w *world) mayChangeEmail() error {
	m, ok := w.mail.Last("alice@example.com")
	if !ok {
		return errors.New("no code was mailed")
	}
	err := w.srv.Accounts.Emails().Update(ctx, w.id, accounts.EmailUpdate{Address: "bob@example.com", Code: m.Code})
	if errors.Is(err, accounts.ErrEmailTaken) {
		return nil
	}
	return err
}

func (w *world) hasEmail(address string, confirmed bool) error {
	a := w.account(w.id.String())
	if a == nil {
		return errors.New("there is no account")
	}
	return errors.Join(same("the address", a.Email, address), same("it is confirmed", a.EmailConfirmedAt != nil, confirmed))
}

func (w *world) hasPassword(password string) error {
	_, err := authenticate(w.srv.Accounts, "alice.test", password)
	return err
}

func (w *world) hasSessions(n int) error {
	return same("the sessions", len(rows[any](w, w.store, "sessions")), n)
}

// wasRefreshed returns an error if the one session has, or hasn't, been refreshed, or if its access
// token isn't valid.
func (w *world) wasRefreshed(was bool) error {
	if _, err := w.srv.Sessions.Verify(ctx, sessions.Bearer(w.access)); err != nil {
		return err
	}
	for _, s := range rows[sessions.Session](w, w.store, "sessions") {
		if err := same("the session was refreshed", s.LastUsedAt.After(s.CreatedAt), was); err != nil {
			return err
		}
	}
	return nil
}

func login(ctx context.Context, w *world) error {
	_, err := w.srv.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: "password", Code: w.code})
	return err
}

// recoveryOf returns a use case that recovers another one, whose process died before or after its
// n-th submission.
func recoveryOf(what string, u useCase, died trouble, n int) useCase {
	when := map[trouble]string{dies: "before", diesAfter: "after"}[died]
	return useCase{
		name: fmt.Sprintf("recovery of a %s that died %s submission %d", what, when, n), configure: u.configure,
		prepare: func(w *world) {
			u.prepare(w)
			w.vetoing = u.veto
			interruption := &script{submission: map[int]trouble{n: died}}
			if err := u.act(interruption.in(ctx), w); err == nil || !interruption.dead {
				w.ok(fmt.Errorf("it was not interrupted: %v", err))
			}
			w.vetoing = ""
			w.restart(6 * time.Minute)
		},
		act: func(ctx context.Context, w *world) error {
			if err := w.srv.Accounts.RecoverChanges(ctx); err != nil { // whatever it is, the next call may succeed
				return fmt.Errorf("%w: %v", did.ErrUnavailable, err)
			}
			return nil
		},
		done: u.done, undone: func(*world) error { return errors.New("it was recovered") },
		background: true,
	}
}

// recoveries returns the recoveries of each kind of change, interrupted before and after each of
// its submissions. The second submission reverts what a hook has refused: it brings a handle or a
// key back, or tombstones a DID.
func recoveries() (all []useCase) {
	for _, u := range []struct {
		what         string
		configure    func(*gatehouse.Config)
		prepare      func(*world)
		act          func(context.Context, *world) error
		done, undone func(*world) error
		veto         accounts.Kind
	}{
		{"sign-up", withInvites, (*world).invite, signUp, func(w *world) error { return w.signedUp(nil) }, (*world).notSignedUp, accounts.Created},
		{"handle change", nil, (*world).alice, changeHandle, (*world).hasNewHandle, (*world).hasOldHandle, accounts.HandleChanged},
		{"key rotation", nil, (*world).alice, rotateKey, (*world).hasOtherKey, (*world).lives, accounts.KeyChanged},
	} {
		c := useCase{configure: u.configure, prepare: u.prepare, act: u.act, done: u.undone}
		all = append(all, recoveryOf(u.what, c, dies, 1))
		c.veto = u.veto
		all = append(all, recoveryOf(u.what, c, dies, 2), recoveryOf(u.what, c, diesAfter, 2))
		c.veto, c.done = "", u.done
		all = append(all, recoveryOf(u.what, c, diesAfter, 1))
	}
	return all
}
