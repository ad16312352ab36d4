package oauth

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Application is a client that has access to an account, or gets it again without the owner being
// asked.
type Application struct {
	ClientID string
	// Name is what the client called itself when the owner last agreed, and may be empty.
	Name string
	// Host is the host of the client's metadata document.
	Host string
	// Scope is what the owner granted: all that any of the sessions may do or, if there are none, that
	// a new one may.
	Scope scope.Set
	// Sessions are those of the client, newest first. There are none if they have ended, and the owner
	// wouldn't be asked for another one.
	Sessions []*sessions.Session
	// AuthorizedAt is when the first session began, and LastUsedAt when one of them was last
	// refreshed. Without sessions, both are when the owner last agreed.
	AuthorizedAt, LastUsedAt time.Time
}

// Applications returns the applications of an account, last used first.
func (s *Service) Applications(ctx context.Context, did syntax.DID) ([]*Application, error) {
	all, err := s.sessions.ListOAuth(ctx, did)
	if err != nil {
		return nil, err
	}
	agreed := map[string]*consent{}
	err = s.store.View(ctx, func(tx storage.Tx) error {
		clear(agreed)
		for c, err := range consents.Scan(tx, storage.Under("account", did.String())) {
			if err != nil {
				return err
			}
			agreed[c.ClientID] = c
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var apps []*Application
	for _, session := range all {
		id := session.Client.ID
		i := slices.IndexFunc(apps, func(a *Application) bool { return a.ClientID == id })
		if i < 0 {
			i = len(apps)
			apps = append(apps, newApplication(id, agreed[id]))
		}
		apps[i].add(session)
		delete(agreed, id)
	}
	for id, c := range agreed {
		if c.Remembered {
			a := newApplication(id, c)
			a.Scope, a.AuthorizedAt, a.LastUsedAt = c.Scope, c.At, c.At
			apps = append(apps, a)
		}
	}
	slices.SortStableFunc(apps, func(a, b *Application) int {
		return cmp.Or(b.LastUsedAt.Compare(a.LastUsedAt), cmp.Compare(a.ClientID, b.ClientID))
	})
	return apps, nil
}

func newApplication(id string, c *consent) *Application {
	a := &Application{ClientID: id}
	if u, err := url.Parse(id); err == nil {
		a.Host = u.Host
	}
	if c != nil {
		a.Name, a.Host = c.Name, c.Host
	}
	return a
}

// add adds a session, which is older than those that were added before.
func (a *Application) add(session *sessions.Session) {
	a.Sessions = append(a.Sessions, session)
	a.AuthorizedAt = session.CreatedAt
	if session.LastUsedAt.After(a.LastUsedAt) {
		a.LastUsedAt = session.LastUsedAt
	}
	granted, err := scope.Parse(session.Client.Scope)
	if err != nil {
		return // what this version can't read allows nothing
	}
	a.Scope = a.Scope.With(granted)
}

// EndApplication ends the access of a client to an account: its sessions, the codes that it has yet
// to exchange, and the consent. If it has none, EndApplication does nothing.
func (s *Service) EndApplication(ctx context.Context, did syntax.DID, clientID string) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		if err := sessions.EndOfClientTx(tx, did, clientID); err != nil {
			return err
		}
		var pending []string
		for c, err := range authCodes.Scan(tx, storage.Exactly("account", did.String())) {
			if err != nil {
				return err
			}
			if c.ClientID == clientID {
				pending = append(pending, c.Hash)
			}
		}
		for _, hash := range pending {
			if err := authCodes.Delete(tx, hash); err != nil {
				return err
			}
		}
		return consents.Delete(tx, consentKey(did, clientID))
	})
}

// EndClient ends the access of a client to all accounts: its sessions, the requests and codes that
// are under way, and the consents. It does so in several transactions: if it returns an error, some
// of it may have ended, and it can be called again. To keep the client from coming back, refuse it:
// see the package client.
func (s *Service) EndClient(ctx context.Context, clientID string) error {
	all := storage.Exactly("client", clientKey(clientID))
	// A request becomes a code, and a code a session. In this order none of them gets away.
	for _, end := range []func() error{
		func() error { return requests.Purge(ctx, s.store, all) },
		func() error { return authCodes.Purge(ctx, s.store, all) },
		func() error { return s.sessions.EndClient(ctx, clientID) },
		func() error { return consents.Purge(ctx, s.store, all) },
	} {
		if err := end(); err != nil {
			return err
		}
	}
	return nil
}
