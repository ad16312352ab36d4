package xrpc

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// limit is what a method costs beside the limit of all.
type limit struct {
	windows []ratelimit.Window
	// key says on whose account; empty: the caller's, who is the account of a valid token,
	// or else the address.
	key func(c *call, in any) string
}

// globalLimit is what all methods together may cost a caller.
var globalLimit = []ratelimit.Window{{Points: 3000, Per: 5 * time.Minute}}

// take charges the caller: the account of a valid token, or else the address.
func (s *Server) take(c *call, nsid string, windows []ratelimit.Window) error {
	return s.takeFor(c, nsid, payer(c), windows)
}

// payer is whom a call is charged to.
func payer(c *call) string {
	if id := c.did(); id != "" {
		return string(id)
	}
	return ipKey(c.ip)
}

// takeOwn charges the caller what the method costs by itself, whatever its input.
func (s *Server) takeOwn(c *call) error {
	if c.limit == nil || c.limit.key != nil {
		return nil
	}
	return s.take(c, c.nsid, c.limit.windows)
}

// chargeAddress charges the address for the call before its service token is looked at: for that this
// server asks others, and anybody can write tokens of as many DIDs as they like.
func (s *Server) chargeAddress(c *call) error {
	c.charged = true
	if err := s.take(c, "", globalLimit); err != nil {
		return err
	}
	return s.takeOwn(c)
}

// takeFor charges a key of a method. If it refuses, it has charged none of the windows; what the
// call was charged before stays.
func (s *Server) takeFor(c *call, nsid, key string, windows []ratelimit.Window) error {
	if len(key) > 128 { // clients choose parts of it
		sum := sha256.Sum256([]byte(key))
		key = hex.EncodeToString(sum[:])
	}
	state, err := s.cfg.Limiter.Take(c.Context(), nsid+" "+key, windows...)
	if err != nil {
		if c.Context().Err() == nil {
			s.cfg.Logger.WarnContext(c.Context(), "rate limits can't be counted", "error", err)
		}
		return nil
	}
	if state.Points == 0 { // limits are off
		return nil
	}
	// Of the limits that a call meets, the headers speak of the one with the least left.
	if c.state.Points == 0 || state.Remaining < c.state.Remaining || !state.Allowed {
		c.state = state
		limitHeaders(c.header, state)
	}
	if state.Allowed {
		return nil
	}
	wait := state.Reset.Sub(s.cfg.Now()) + time.Second - 1 // rounded up to whole seconds
	c.header.Set("Retry-After", strconv.Itoa(max(1, int(wait/time.Second))))
	return ratelimit.ErrLimited
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
