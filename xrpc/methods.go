package xrpc

import (
	"time"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc/ratelimit"
)

// table lists the methods that are served.
func (s *Server) table() []*method {
	full := s.access(sessions.Full...)
	anyScope := s.access(append([]sessions.Scope{sessions.ScopeTakendown}, sessions.Standard...)...)
	return []*method{
		// com.atproto.server: accounts
		procedure("com.atproto.server.createAccount", anyone, s.createAccount).
			format("handle=handle", "did=did").
			costs(per(100, 5*time.Minute)),
		procedure("com.atproto.server.requestAccountDelete", full, s.requestAccountDelete).
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.deleteAccount", anyone, s.deleteAccount).
			format("did=did").costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.requestPasswordReset", anyone, s.requestPasswordReset).
			costs(per(15, time.Hour), per(50, day)),
		procedure("com.atproto.server.resetPassword", anyone, s.resetPassword).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.server.describeServer", anyone, s.describeServer),

		// com.atproto.server: sessions
		procedure("com.atproto.server.createSession", anyone, s.createSession).
			costsBy(identifierAndIP, per(30, 5*time.Minute), per(300, day)),
		query("com.atproto.server.getSession", anyScope, s.getSession),
		procedure("com.atproto.server.refreshSession", refresh, s.refreshSession),
		procedure("com.atproto.server.deleteSession", refresh, s.deleteSession),

		// com.atproto.server: app passwords
		procedure("com.atproto.server.createAppPassword", full, s.createAppPassword),
		query("com.atproto.server.listAppPasswords", full, s.listAppPasswords),
		procedure("com.atproto.server.revokeAppPassword", full, s.revokeAppPassword),

		// com.atproto.server: invite codes
		procedure("com.atproto.server.createInviteCode", s.admin, s.createInviteCode).
			format("forAccount=did"),
		procedure("com.atproto.server.createInviteCodes", s.admin, s.createInviteCodes).
			format("forAccounts=did"),
		query("com.atproto.server.getAccountInviteCodes", full, s.getAccountInviteCodes),
	}
}

const day = 24 * time.Hour

func per(points int, period time.Duration) ratelimit.Window {
	return ratelimit.Window{Points: points, Per: period}
}
