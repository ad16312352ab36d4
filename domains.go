package gatehouse

import (
	"context"
	"sync"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
)

// domain is a package that keeps data in the store.
type domain struct {
	name string
	// tables returns its collections.
	tables func() []storage.Definer
	// follow does what follows from a change of an account, in the transaction of the change.
	follow accounts.Hook
	// maintain returns its part of a round of background work.
	maintain func(*Server) round
}

// round is one round of background work.
type round func(context.Context) error

// domains lists all domains. What follows from a change of an account happens in this order, before
// the Hooks of the [Config]; background work is done in this order too.
var domains = []domain{
	{"accounts", accounts.Tables, nil, func(s *Server) round { return s.Accounts.Maintain }},
	{"handles", handle.Tables, nil, func(s *Server) round { return s.Accounts.Handles().Maintain }},
	{"sessions", sessions.Tables, sessions.Follow, func(s *Server) round { return s.Sessions.Maintain }},
	{"browsers", device.Tables, nil, func(s *Server) round { return s.Devices.Maintain }},
	{"OAuth", oauth.Tables, oauth.Follow, func(s *Server) round { return s.maintainOAuth }},
	{"permission sets", scope.Tables, nil, nil},
	{"app passwords", apppasswords.Tables, apppasswords.Follow, nil},
	{"invites", invites.Tables, invites.Follow, nil},
	{"DIDs", did.Tables, nil, nil},
	{"the audit log", audit.Tables, nil, nil},
	{"secrets", secrets.Tables, nil, nil},
	{"leases", storage.LeaseTables, nil, nil},
	{"what is used once", once.Tables, nil, func(s *Server) round { return s.purgeUsed }},
	{"rate limits", ratelimit.Tables, nil, func(s *Server) round { return s.purgeLimits }},
}

func (s *Server) purgeLimits(ctx context.Context) error {
	return ratelimit.Purge(ctx, s.store, s.cfg.Now())
}

func (s *Server) purgeUsed(ctx context.Context) error { return once.Purge(ctx, s.store, s.cfg.Now()) }

func (s *Server) maintainOAuth(ctx context.Context) error {
	if s.OAuth == nil {
		return nil
	}
	return s.OAuth.Maintain(ctx)
}

// tables declares the tables of all domains.
var tables = sync.OnceValue(func() []storage.Table {
	var all []storage.Table
	for _, c := range Collections() {
		all = append(all, c.Table())
	}
	return all
})

// Collections returns all collections of Gatehouse, for [storage.Check].
func Collections() []storage.Definer {
	var all []storage.Definer
	for _, d := range domains {
		all = append(all, d.tables()...)
	}
	return all
}

// hooks returns what takes part in a change of an account, in order.
func hooks(embedders []accounts.Hook) []accounts.Hook {
	var all []accounts.Hook
	for _, d := range domains {
		if d.follow != nil {
			all = append(all, d.follow)
		}
	}
	return append(all, embedders...)
}
