package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

const (
	// rememberedLifetime is how long a sign-in lasts if the browser is to be remembered.
	rememberedLifetime = 7 * 24 * time.Hour
	// briefLifetime is how long any other sign-in lasts.
	briefLifetime = 15 * time.Minute
	// maxSignIns is the most accounts that are signed in on a browser.
	maxSignIns = 20
)

// ErrNotSignedIn is returned when an account isn't signed in on a browser, or no longer.
var ErrNotSignedIn = errors.New("device: not signed in")

// errBadCredentials is what package signin answers to a wrong password.
var errBadCredentials = refusal.New(accounts.ErrBadCredentials, "Invalid identifier or password")

// SignIn signs the owner of an account in on a browser, and returns the value that its cookie gets
// from now on. The sign-in lasts 7 days if the browser is to be remembered, and otherwise 15
// minutes. An earlier one of the same account on the browser ends, and of more than 20 accounts the
// one that signed in first is signed out. If the cookie opens no device, or there is none, it
// makes a new one.
//
// Only owners are let in: an app password, or what else somebody has who acts for the owner, is
// refused like a wrong password, and charged like one. Neither does [signin.Attempt.AllowTakendown]
// let anybody in.
//
// Errors: those of [signin.Service.Prove] and [signin.Pass.Use].
func (s *Service) SignIn(ctx context.Context, cookie string, a signin.Attempt, remember bool) (d *Device, si *SignIn, renewed string, err error) {
	a.AllowTakendown = false
	pass, err := s.door.Prove(ctx, a)
	if err != nil {
		return nil, nil, "", err
	}
	if pass.Grant().Scope != sessions.ScopeAccess {
		return nil, nil, "", errBadCredentials
	}
	shown, known := s.parse(cookie)
	fresh, err := s.newCookie()
	if err != nil {
		return nil, nil, "", fmt.Errorf("device: %w", err)
	}
	var stolen bool
	err = pass.Use(ctx, func(tx storage.Tx, a *accounts.Account) (err error) {
		var r *record
		if stolen = false; known {
			if r, stolen, err = s.openTx(tx, shown); err != nil {
				return err
			}
		}
		next := fresh
		if r == nil {
			r = s.newRecord(next)
		} else {
			next.id = r.ID
			r.rotate(s.hash(next), s.now())
			r.void()
		}
		renewed = s.format(next)
		d, err = s.addTx(tx, r, a, pass.Grant(), remember)
		return err
	})
	if err != nil {
		return nil, nil, "", err
	}
	if stolen {
		s.logCopied(ctx, shown)
	}
	return d, &d.SignIns[0], renewed, nil
}

// addTx opens the session of a sign-in and writes it into a record, as the latest one.
func (s *Service) addTx(tx storage.Tx, r *record, a *accounts.Account, g sessions.Grant, remember bool) (*Device, error) {
	all, err := s.aliveTx(tx, r)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(r.SignIns, func(e entry) bool { return e.DID == a.DID })
	if i < 0 && len(r.SignIns) >= maxSignIns {
		i = 0
	}
	if i >= 0 {
		if err := s.revokeTx(tx, r.SignIns[i]); err != nil {
			return nil, err
		}
		all, r.SignIns = slices.Delete(all, i, i+1), slices.Delete(r.SignIns, i, i+1)
	}
	lifetime := briefLifetime
	if remember {
		lifetime = rememberedLifetime
	}
	g.Device, g.Scope = r.ID, "" // there are no tokens, so that it stands for nothing
	session, err := s.sessions.OpenBrowserTx(tx, a, g, lifetime)
	if err != nil {
		return nil, err
	}
	r.SignIns = append(r.SignIns, entry{DID: a.DID, Session: session.ID, Remembered: remember, EndsAt: session.ExpiresAt})
	r.extend(s.now())
	if err := table.Put(tx, r); err != nil {
		return nil, err
	}
	return r.device(append(all, SignIn{Account: a, Session: session, At: session.CreatedAt, Remembered: remember})), nil
}

// SignOut signs an account out on a browser. If the cookie opens no device, or the account isn't
// signed in on it, nothing happens.
func (s *Service) SignOut(ctx context.Context, cookie string, did syntax.DID) error {
	return s.change(ctx, cookie, func(tx storage.Tx, r *record) error {
		i := slices.IndexFunc(r.SignIns, func(e entry) bool { return e.DID == did })
		if i < 0 {
			return nil
		}
		if err := s.revokeTx(tx, r.SignIns[i]); err != nil {
			return err
		}
		r.SignIns = slices.Delete(r.SignIns, i, i+1)
		r.extend(s.now())
		return table.Put(tx, r)
	})
}

// End signs all accounts out on a browser, and forgets it: its cookie opens nothing any longer. If
// the cookie opens no device, nothing happens.
func (s *Service) End(ctx context.Context, cookie string) error {
	return s.change(ctx, cookie, s.endTx)
}

// change calls fn for the device that a cookie opens, if it opens one.
func (s *Service) change(ctx context.Context, cookie string, fn func(storage.Tx, *record) error) error {
	c, ok := s.parse(cookie)
	if !ok {
		return nil
	}
	var stolen bool
	err := s.store.Update(ctx, func(tx storage.Tx) (err error) {
		var r *record
		if r, stolen, err = s.openTx(tx, c); err != nil || r == nil {
			return err
		}
		return fn(tx, r)
	})
	if err == nil && stolen {
		s.logCopied(ctx, c)
	}
	return err
}

// SignedInTx returns the sign-in of an account on a device, which is named by its ID, as it is
// inside a transaction. What a browser changes should be changed in a transaction that has called
// it, since a request can last longer than the sign-in. Error: [ErrNotSignedIn], also if the
// account has been taken down or deleted.
func (s *Service) SignedInTx(tx storage.Tx, device string, did syntax.DID) (*SignIn, error) {
	r, err := table.Get(tx, device)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, ErrNotSignedIn
	case err != nil:
		return nil, err
	}
	for _, e := range r.SignIns {
		if e.DID == did {
			return s.signInTx(tx, r.ID, e)
		}
	}
	return nil, ErrNotSignedIn
}
