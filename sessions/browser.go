package sessions

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// OpenBrowserTx opens the session of somebody who has signed in to the server's own pages, inside a
// transaction. The grant names the browser as its Device. The session has no tokens: the browser is
// known by other means, which package signin/device has, and the session is what ends with the
// password, the account and everything else that ends sessions. It lasts for a time and can't be
// refreshed. Error: [ErrAccountTakedown].
func (s *Service) OpenBrowserTx(tx storage.Tx, a *accounts.Account, g Grant, lifetime time.Duration) (*Session, error) {
	if a.Takedown != nil {
		return nil, errTakedown
	}
	if g.Device == "" || g.Client != nil || g.AppPassword != "" || g.Scope != "" || lifetime <= 0 {
		return nil, errors.New("sessions: the session of a browser needs a device and a lifetime, and has neither client, app password nor scope")
	}
	id, err := uuid.NewV7FromReader(s.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	now := s.now()
	ends := now.Add(lifetime)
	r := &record{Session: Session{ID: id.String(), DID: a.DID, Grant: g, CreatedAt: now, LastUsedAt: now, ExpiresAt: ends, EndsAt: ends}}
	if err := makeRoom(tx, r); err != nil {
		return nil, err
	}
	if err := table.Insert(tx, r); err != nil {
		return nil, err
	}
	return &r.Session, nil
}

// BrowserTx returns the session of a browser, which is named by its ID, and its account, inside a
// transaction. Errors: [ErrExpiredToken] if the session has ended or isn't one of a browser,
// [ErrAccountTakedown], [ErrAccountNotFound].
func (s *Service) BrowserTx(tx storage.Tx, id string) (*Session, *accounts.Account, error) {
	r, err := s.known.Get(tx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil, errRevoked
	case err != nil:
		return nil, nil, err
	case r.kind() != kindBrowser:
		return nil, nil, errRevoked
	}
	a, r, err := s.load(tx, r.DID, id)
	if err != nil {
		return nil, nil, err
	}
	return &r.Session, a, nil
}
