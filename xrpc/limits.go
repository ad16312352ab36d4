package xrpc

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// globalLimit is what all methods together may cost a caller.
var globalLimit = []ratelimit.Window{{Points: 3000, Per: 5 * time.Minute}}

// payer is whom a call is charged to: the address, or a living session. Sessions of the account
// password share one account, and those of each app password have another, so that a program that
// was given an app password can't use up what the owner has.
func (c *call) payer() string {
	if c.session == nil {
		return c.client.Address
	}
	did := string(c.session.Account.DID)
	switch session := c.session.Session; {
	case session == nil:
		return did + " leaving"
	case session.AppPassword != "":
		return did + " app " + session.AppPassword
	}
	return did
}

// charge charges a call for being one, and for what its method costs, if that isn't nil.
func (s *Server) charge(c *call, m *method) error {
	if err := s.take(c, "", c.payer(), globalLimit); err != nil || m == nil || len(m.windows) == 0 {
		return err
	}
	return s.take(c, m.nsid, c.share(), m.windows)
}

// share is whom a call is charged to for what its method costs: as payer, but that all app
// passwords of an account together have one share, however many there are.
func (c *call) share() string {
	if c.session != nil && c.session.Session != nil && c.session.Session.AppPassword != "" {
		return string(c.session.Account.DID) + " apps"
	}
	return c.payer()
}

// take charges a payer. If it refuses, it has charged none of the windows; what the
// call was charged before stays.
func (s *Server) take(c *call, nsid, payer string, windows []ratelimit.Window) error {
	return s.meter.ChargeFor(c.Context(), c.client, nsid+" "+payer, windows...)
}

// observe sets the headers of a limit that the call met. Of several they speak of the one with the
// least left.
func (c *call) observe(state ratelimit.State) {
	if c.state.Points == 0 || state.Remaining < c.state.Remaining || !state.Allowed {
		c.state = state
		limitHeaders(c.header, state)
	}
	if !state.Allowed {
		wait := state.Reset.Sub(c.now()) + time.Second - 1 // rounded up to whole seconds
		c.header.Set("Retry-After", strconv.Itoa(max(1, int(wait/time.Second))))
	}
}

// limitHeaders sets the headers by the names that [http.Header] keeps them under, which saves
// converting four names in each request.
func limitHeaders(h http.Header, state ratelimit.State) {
	points := strconv.Itoa(state.Points)
	values := [...]string{
		points,
		strconv.Itoa(state.Remaining),
		strconv.FormatInt(ceilUnix(state.Reset), 10),
		points + ";w=" + strconv.Itoa(int(state.Per.Seconds())),
	}
	for i, name := range [...]string{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Ratelimit-Policy"} {
		h[name] = values[i : i+1 : i+1]
	}
}

// ceilUnix is the first whole second at which a period is surely over.
func ceilUnix(t time.Time) int64 {
	u := t.Unix()
	if t.Nanosecond() > 0 {
		u++
	}
	return u
}
