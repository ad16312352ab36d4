package xrpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// AdminAuth decides who is an admin, by the name and the password of HTTP Basic auth.
type AdminAuth interface {
	// Admin reports whether the name and the password are those of an admin. It takes the same time
	// whichever of them is wrong.
	Admin(ctx context.Context, name, password string) bool
}

// Passwords are the passwords of admins, by their names. It implements [AdminAuth].
type Passwords map[string]string

// Admin implements [AdminAuth].
func (p Passwords) Admin(_ context.Context, name, password string) bool {
	found := 0
	for n, pw := range p {
		found |= equal(name, n) & equal(password, pw)
	}
	return found == 1
}

// equal returns 1 if two texts are equal, in a time that doesn't depend on them or their lengths.
func equal(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

var (
	// adminFailures is how often an address may give a wrong password of an admin before it is
	// refused.
	adminFailures = []ratelimit.Window{per(10, 5*time.Minute)}
	// loggedFailures is how many failures of all addresses together are recorded in the audit log.
	loggedFailures = []ratelimit.Window{per(60, time.Hour)}
)

// unknownAdmin is the name in the audit log of somebody who failed to prove that they are an admin.
// The name that they gave isn't logged, since people type passwords in its place.
const unknownAdmin = "unknown"

// adminGuard slows down guessing at the passwords of admins.
type adminGuard struct {
	// turns lets only one request of an address at a time guess, so that guesses made at the same time
	// are all counted.
	turns [16]chan struct{}
	seed  maphash.Seed
	// failures counts for the audit log, even where rate limits are off.
	failures func() ratelimit.Meter
}

func newAdminGuard(now func() time.Time) *adminGuard {
	g := &adminGuard{seed: maphash.MakeSeed(), failures: sync.OnceValue(func() ratelimit.Meter {
		return ratelimit.Meter{Limiter: ratelimit.NewMemory(ratelimit.Config{Size: 1, Now: now})}
	})}
	for i := range g.turns {
		g.turns[i] = make(chan struct{}, 1)
	}
	return g
}

// wait returns when it is the turn of an address, with a function that ends the turn.
func (g *adminGuard) wait(ctx context.Context, address string) (done func(), err error) {
	turn := g.turns[maphash.String(g.seed, address)%uint64(len(g.turns))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// admin asks for an admin. A user's token doesn't count as a guess at a password, and is refused
// with 403 instead of 401, since the user is logged in but may not do this.
func (s *Server) admin(c *call) (caller, error) {
	c.challenges = basicChallenge
	private(c)
	if scheme, raw, err := authorization(c.Request); err == nil && scheme == sessions.SchemeBearer {
		return caller{}, s.refuseUser(c, raw)
	}
	return s.byPassword(c)
}

var errAdminsOnly = &Error{Status: http.StatusForbidden, Message: "This method is for the admins of this server"}

// refuseUser refuses a token at a method for admins. An access token that has expired or was
// revoked is refused as it is elsewhere, so that clients refresh it.
func (s *Server) refuseUser(c *call, token string) error {
	_, err := s.cfg.Sessions.Verify(c.Context(), s.request(c, sessions.SchemeBearer, token), sessions.SeeSession)
	switch {
	case err == nil:
		return errAdminsOnly
	case errors.Is(err, sessions.ErrInvalidToken), errors.Is(err, sessions.ErrAccountNotFound), errors.Is(err, sessions.ErrAccountTakedown):
		return errAuthRequired
	}
	return err
}

// byPassword asks for an admin's name and password.
func (s *Server) byPassword(c *call) (caller, error) {
	scheme, raw, err := authorization(c.Request)
	name, password, ok := basic(raw)
	if err != nil || scheme != schemeBasic || !ok {
		return caller{}, errAuthRequired
	}
	address := c.client.Address
	done, err := s.admins.wait(c.Context(), address)
	if err != nil {
		return caller{}, err
	}
	defer done()
	ctx := ratelimit.NewContext(c.Context(), c.client)
	if err := s.meter.Check(ctx, "admin "+address, adminFailures...); err != nil {
		return caller{}, err
	}
	if s.cfg.Admins.Admin(c.Context(), name, password) {
		return caller{admin: name}, nil
	}
	s.adminFailed(c, address)
	if err := s.meter.Charge(ctx, "admin "+address, adminFailures...); err != nil {
		return caller{}, err
	}
	return caller{}, errAuthRequired
}

// adminFailed logs a wrong password for the operator.
func (s *Server) adminFailed(c *call, address string) {
	s.cfg.Logger.WarnContext(c.Context(), "wrong admin name or password", "method", c.nsid, "ip", c.ip.String())
	if s.admins.failures().Charge(c.Context(), "", loggedFailures...) != nil || s.cfg.Audit == nil {
		return
	}
	a := audit.Action{Admin: unknownAdmin, Name: c.nsid, Subjects: []string{address}}
	if err := s.cfg.Audit.Refused(c.Context(), a, statusName(errAuthRequired.Status)); err != nil {
		s.cfg.Logger.ErrorContext(c.Context(), "a wrong admin password was not logged", "error", err)
	}
}

func basic(credentials string) (name, password string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(b), ":")
}
