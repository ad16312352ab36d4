package xrpc

import (
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/httplimit"
)

// payer returns the key to which a call is charged: the client's address, or a valid session. All
// sessions of the account password have one key, and those of each app password and of each OAuth
// client another, so that no program can use up the owner's limits.
func (c *call) payer() string {
	if c.session == nil {
		return c.client.Address
	}
	did := string(c.session.Account.DID)
	switch session := c.session.Session; {
	case c.session.Client != nil:
		return did + " oauth " + c.session.Client.ID
	case session == nil:
		return did + " leaving"
	case session.AppPassword != "":
		return did + " app " + session.AppPassword
	}
	return did
}

// charge charges a call under the limit on all requests, and under the limit of its method if that
// isn't nil.
func (s *Server) charge(c *call, m *method) error {
	if err := s.take(c, "", c.payer(), httplimit.All()); err != nil || m == nil || len(m.windows) == 0 {
		return err
	}
	return s.take(c, m.nsid, c.share(), m.windows)
}

// share returns the key to which a call is charged under the limit of its method. It is that of
// payer, except that all app passwords of an account have one key, and all OAuth clients another,
// however many there are.
func (c *call) share() string {
	if c.session != nil && c.session.Client != nil {
		return string(c.session.Account.DID) + " oauths"
	}
	if c.session != nil && c.session.Session != nil && c.session.Session.AppPassword != "" {
		return string(c.session.Account.DID) + " apps"
	}
	return c.payer()
}

// take charges a payer under a limit. If it refuses, it has charged none of the windows; what the
// call was charged under other limits stays charged.
func (s *Server) take(c *call, nsid, payer string, windows []ratelimit.Window) error {
	return httplimit.Charge(c.Context(), s.meter, c.client, nsid, payer, windows...)
}
