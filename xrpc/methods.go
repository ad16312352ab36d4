package xrpc

import (
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// table returns the methods that are served.
func (s *Server) table() []*method {
	refresh := bySession{find: s.refresh}
	newcomer, admin, moderator := byAddress(s.newcomer), byAddress(s.admin), byAddress(s.moderator)
	return []*method{
		// com.atproto.server: accounts
		procedure("com.atproto.server.createAccount", newcomer, s.createAccount).privileged().typed("handle").
			costs(per(100, 5*time.Minute), per(300, day)),
		procedure("com.atproto.server.requestAccountDelete", s.may(sessions.ManageAccount), s.requestAccountDelete).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.deleteAccount", anyone, s.deleteAccount).typed("did").
			costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.requestPasswordReset", anyone, s.requestPasswordReset).
			costs(per(15, time.Hour), per(50, day)),
		procedure("com.atproto.server.resetPassword", anyone, s.resetPassword).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.server.describeServer", anyone, s.describeServer),

		// com.atproto.server: sessions
		procedure("com.atproto.server.createSession", anyone, s.createSession),
		query("com.atproto.server.getSession", s.may(sessions.SeeSession), s.getSession).protected(),
		procedure("com.atproto.server.refreshSession", refresh, s.refreshSession),
		procedure("com.atproto.server.deleteSession", refresh, s.deleteSession),

		// com.atproto.server: app passwords
		procedure("com.atproto.server.createAppPassword", s.may(sessions.ManageAccount), s.createAppPassword).protected(),
		query("com.atproto.server.listAppPasswords", s.may(sessions.ManageAccount), s.listAppPasswords).protected(),
		procedure("com.atproto.server.revokeAppPassword", s.may(sessions.ManageAccount), s.revokeAppPassword).protected(),

		// com.atproto.server: invite codes
		procedure("com.atproto.server.createInviteCode", admin, s.createInviteCode).typed("forAccount"),
		procedure("com.atproto.server.createInviteCodes", admin, s.createInviteCodes).typed("forAccounts"),
		query("com.atproto.server.getAccountInviteCodes", s.may(sessions.ManageAccount), s.getAccountInviteCodes).protected(),

		// com.atproto.server: e-mail
		procedure("com.atproto.server.requestEmailConfirmation", s.may(sessions.ConfirmEmail), s.requestEmailConfirmation).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.confirmEmail", s.may(sessions.ConfirmEmail), s.confirmEmail).protected(),
		procedure("com.atproto.server.requestEmailUpdate", s.may(sessions.ChangeEmail), s.requestEmailUpdate).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.updateEmail", s.may(sessions.ChangeEmail), s.updateEmail).protected(),

		// com.atproto.server: status and migration
		procedure("com.atproto.server.activateAccount", s.may(sessions.ManageAccount), s.activateAccount).protected().
			costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.deactivateAccount", s.may(sessions.DeactivateAccount), s.deactivateAccount).protected(),
		query("com.atproto.server.checkAccountStatus", s.may(sessions.UseAccount), s.checkAccountStatus).
			costs(per(100, 5*time.Minute)),
		query("com.atproto.server.getServiceAuth", s.may(sessions.SeeSession), s.getServiceAuth),
		procedure("com.atproto.server.reserveSigningKey", anyone, s.reserveSigningKey).
			costs(per(50, 5*time.Minute), per(100, day)),

		// com.atproto.identity
		query("com.atproto.identity.resolveHandle", anyone, s.resolveHandle).
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.updateHandle", s.may(sessions.ChangeHandle), s.updateHandle).protected().typed("handle").
			costs(per(10, 5*time.Minute), per(50, day)),
		query("com.atproto.identity.getRecommendedDidCredentials", s.may(sessions.UseAccount), s.getRecommendedDidCredentials),
		procedure("com.atproto.identity.requestPlcOperationSignature", s.may(sessions.SignIdentity), s.requestPlcOperationSignature).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.identity.signPlcOperation", s.may(sessions.SignIdentity), s.signPlcOperation).protected().
			noOthers("Invalid operation"),
		procedure("com.atproto.identity.submitPlcOperation", s.may(sessions.SubmitIdentity), s.submitPlcOperation).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.identity.resolveDid", anyone, s.resolveDid).
			costs(per(1500, 5*time.Minute)),
		query("com.atproto.identity.resolveIdentity", anyone, s.resolveIdentity).
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.refreshIdentity", anyone, s.refreshIdentity).
			costs(per(100, 5*time.Minute)),

		// com.atproto.admin: methods that a moderation service may call too
		query("com.atproto.admin.getAccountInfo", moderator, s.getAccountInfo),
		query("com.atproto.admin.getAccountInfos", moderator, s.getAccountInfos),
		query("com.atproto.admin.getInviteCodes", moderator, s.getInviteCodes),
		procedure("com.atproto.admin.disableInviteCodes", moderator, s.disableInviteCodes),
		procedure("com.atproto.admin.disableAccountInvites", moderator, s.disableAccountInvites).typed("account"),
		procedure("com.atproto.admin.enableAccountInvites", moderator, s.enableAccountInvites).typed("account"),
		query("com.atproto.admin.getSubjectStatus", moderator, s.getSubjectStatus),
		procedure("com.atproto.admin.updateSubjectStatus", moderator, s.updateSubjectStatus),
		procedure("com.atproto.admin.sendEmail", moderator, s.sendEmail).protected(),

		// com.atproto.admin: methods that change credentials or delete accounts
		query("com.atproto.admin.searchAccounts", admin, s.searchAccounts),
		procedure("com.atproto.admin.updateAccountEmail", admin, s.updateAccountEmail).typed("account"),
		procedure("com.atproto.admin.updateAccountHandle", admin, s.updateAccountHandle).typed("did", "handle"),
		procedure("com.atproto.admin.updateAccountPassword", admin, s.updateAccountPassword).typed("did"),
		procedure("com.atproto.admin.updateAccountSigningKey", admin, s.updateAccountSigningKey).typed("did"),
		procedure("com.atproto.admin.deleteAccount", admin, s.adminDeleteAccount).typed("did"),

		// com.atproto.sync: methods that accounts suffice to answer
		query("com.atproto.sync.listRepos", anyone, s.listRepos).
			costs(per(300, 5*time.Minute)),
		query("com.atproto.sync.getRepoStatus", anyone, s.getRepoStatus),

		// com.atproto.temp
		query("com.atproto.temp.checkHandleAvailability", anyone, s.checkHandleAvailability).typed("handle"),
		query("com.atproto.temp.checkSignupQueue", s.may(sessions.UseAccount), s.checkSignupQueue),
		procedure("com.atproto.temp.addReservedHandle", admin, s.addReservedHandle),
		procedure("com.atproto.temp.revokeAccountCredentials", admin, s.revokeAccountCredentials).typed("account"),
	}
}

// privilegedElsewhere are the methods of other services for which sessions of plain app passwords
// get no service token: those of private messages.
var privilegedElsewhere = []string{"chat.bsky.*"}

// declared returns the rows of the table for what doesn't depend on a Server. They answer no
// requests.
var declared = sync.OnceValue(func() []*method { return new(Server).table() })

// ServiceAuthRules returns the methods for which sessions get no service tokens, for
// [sessions.Config.ServiceAuth].
func ServiceAuthRules() sessions.ServiceAuthRules {
	rules := sessions.ServiceAuthRules{Privileged: slices.Clone(privilegedElsewhere)}
	for _, m := range declared() {
		if m.isProtected {
			rules.Protected = append(rules.Protected, m.nsid)
		}
		if m.isPrivileged {
			rules.Privileged = append(rules.Privileged, m.nsid)
		}
	}
	return rules
}

// Methods returns the NSIDs of all methods that a [Server] has, sorted.
func Methods() []string {
	var all []string
	for _, m := range declared() {
		all = append(all, m.nsid)
	}
	slices.Sort(all)
	return all
}

// day is a period of limits.
const day = 24 * time.Hour

// per returns a window of so many calls in a period.
func per(points int, period time.Duration) ratelimit.Window {
	return ratelimit.Window{Points: points, Per: period}
}
