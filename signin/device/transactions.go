package device

import (
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// readTx returns the record that a cookie names, and what the cookie is worth.
func (s *Service) readTx(tx storage.Tx, c cookie) (*record, standing, error) {
	r, err := table.Get(tx, c.id)
	now := s.now()
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, worthless, nil
	case err != nil:
		return nil, worthless, err
	case !now.Before(r.ExpiresAt):
		return nil, worthless, nil
	}
	return r, r.standing(s.hash(c), now), nil
}

// openTx returns the record of the device that a cookie opens, or nil, in a transaction that
// writes. A cookie that was copied ends its device.
func (s *Service) openTx(tx storage.Tx, c cookie) (r *record, stolen bool, err error) {
	r, standing, err := s.readTx(tx, c)
	switch {
	case err != nil || standing == worthless:
		return nil, false, err
	case standing == copied:
		return nil, true, s.endTx(tx, r)
	case standing == current:
		r.confirm(s.now())
	}
	return r, false, nil
}

// endTx ends a device and its sign-ins.
func (s *Service) endTx(tx storage.Tx, r *record) error {
	for _, e := range r.SignIns {
		if err := s.revokeTx(tx, e); err != nil {
			return err
		}
	}
	return table.Delete(tx, r.ID)
}

// revokeTx ends the session of a sign-in, unless it has ended.
func (s *Service) revokeTx(tx storage.Tx, e entry) error {
	if err := s.sessions.RevokeTx(tx, e.DID, e.Session); err != nil && !errors.Is(err, sessions.ErrNotFound) {
		return err
	}
	return nil
}

// aliveTx returns the sign-ins of a device that haven't ended, the oldest first, and removes the
// others from the record.
func (s *Service) aliveTx(tx storage.Tx, r *record) ([]SignIn, error) {
	refs := make([]storage.Ref, len(r.SignIns))
	for i, e := range r.SignIns {
		refs[i] = accounts.Ref(e.DID)
	}
	if err := storage.Prefetch(tx, refs...); err != nil {
		return nil, err
	}
	var all []SignIn
	var alive []entry
	for _, e := range r.SignIns {
		si, err := s.signInTx(tx, r.ID, e)
		switch {
		case errors.Is(err, ErrNotSignedIn):
		case err != nil:
			return nil, err
		default:
			all, alive = append(all, *si), append(alive, e)
		}
	}
	r.SignIns = alive
	return all, nil
}

// signInTx reads the sign-in of an entry. Error: [ErrNotSignedIn] if it has ended.
func (s *Service) signInTx(tx storage.Tx, device string, e entry) (*SignIn, error) {
	session, account, err := s.sessions.BrowserTx(tx, e.Session)
	switch {
	case errors.Is(err, sessions.ErrExpiredToken), errors.Is(err, sessions.ErrNotFound),
		errors.Is(err, sessions.ErrAccountNotFound), errors.Is(err, sessions.ErrAccountTakedown):
		return nil, ErrNotSignedIn
	case err != nil:
		return nil, err
	case session.Device != device, session.DID != e.DID:
		return nil, ErrNotSignedIn
	}
	return &SignIn{Account: account, Session: session, At: session.CreatedAt, Remembered: e.Remembered}, nil
}
