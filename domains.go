package gatehouse

import (
	"context"
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// domain is a package that keeps something in the store.
type domain struct {
	// tables are its collections.
	tables func() []storage.Definer
	// follow does what follows from a change of an account, in the transaction of that change.
	follow accounts.Hook
	// maintain removes what has expired, and ends what was cut short.
	maintain func(context.Context, *Server) error
}

// domains are all of them. What follows from a change of an account happens in this order, and then
// come the Hooks of the [Config].
var domains = []domain{
	{tables: accounts.Tables, maintain: func(ctx context.Context, s *Server) error { return s.Accounts.Maintain(ctx) }},
	{tables: handle.Tables, maintain: func(ctx context.Context, s *Server) error { return s.Accounts.Handles().Maintain(ctx) }},
	{tables: sessions.Tables, follow: sessions.Follow, maintain: func(ctx context.Context, s *Server) error { return s.Sessions.Maintain(ctx) }},
	{tables: apppasswords.Tables, follow: apppasswords.Follow},
	{tables: invites.Tables, follow: invites.Follow},
	{tables: did.Tables},
	{tables: audit.Tables},
	{tables: secrets.Tables},
	{tables: storage.LeaseTables},
	{tables: ratelimit.Tables, maintain: func(ctx context.Context, s *Server) error { return ratelimit.Purge(ctx, s.store, s.cfg.Now()) }},
}

// Collections are all collections of Gatehouse, for [storage.Check].
func Collections() []storage.Definer {
	var all []storage.Definer
	for _, d := range domains {
		all = append(all, d.tables()...)
	}
	return all
}

// hooks are what takes part in a change of an account, in order.
func hooks(embedders []accounts.Hook) []accounts.Hook {
	var all []accounts.Hook
	for _, d := range domains {
		if d.follow != nil {
			all = append(all, d.follow)
		}
	}
	return append(all, embedders...)
}

// Maintain does one round of background work: it finishes or undoes sign-ups and changes of handles
// and keys that were interrupted, and removes what has expired. The Server does it by itself, once a
// minute, unless NoMaintenance of the [Config] leaves it to the program. It is safe for concurrent
// use, also by several processes on one store.
func (s *Server) Maintain(ctx context.Context) error {
	var failed error
	for _, d := range domains {
		if d.maintain != nil {
			failed = errors.Join(failed, d.maintain(ctx, s))
		}
	}
	return failed
}
