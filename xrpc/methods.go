package xrpc

import (
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// table returns the methods that are served, which are the same for all servers.
func table() []*method {
	refresh := bySession{find: (*Server).refresh}
	newcomer, admin, moderator := byAddress((*Server).newcomer), byAddress((*Server).admin), byAddress((*Server).moderator)
	return []*method{
		// com.atproto.server: accounts
		procedure("com.atproto.server.createAccount", newcomer, (*Server).createAccount).privileged().typed("handle").
			costs(per(100, 5*time.Minute), per(300, day)),
		procedure("com.atproto.server.requestAccountDelete", may(sessions.ManageAccount), (*Server).requestAccountDelete).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.deleteAccount", anyone, (*Server).deleteAccount).typed("did").
			costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.requestPasswordReset", anyone, (*Server).requestPasswordReset).
			costs(per(15, time.Hour), per(50, day)),
		procedure("com.atproto.server.resetPassword", anyone, (*Server).resetPassword).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.server.describeServer", anyone, (*Server).describeServer),

		// com.atproto.server: sessions
		procedure("com.atproto.server.createSession", anyone, (*Server).createSession),
		query("com.atproto.server.getSession", may(sessions.SeeSession), (*Server).getSession).protected(),
		procedure("com.atproto.server.refreshSession", refresh, (*Server).refreshSession),
		procedure("com.atproto.server.deleteSession", refresh, (*Server).deleteSession),

		// com.atproto.server: app passwords
		procedure("com.atproto.server.createAppPassword", may(sessions.ManageAccount), (*Server).createAppPassword).protected(),
		query("com.atproto.server.listAppPasswords", may(sessions.ManageAccount), (*Server).listAppPasswords).protected(),
		procedure("com.atproto.server.revokeAppPassword", may(sessions.ManageAccount), (*Server).revokeAppPassword).protected(),

		// com.atproto.server: invite codes
		procedure("com.atproto.server.createInviteCode", admin, (*Server).createInviteCode).typed("forAccount"),
		procedure("com.atproto.server.createInviteCodes", admin, (*Server).createInviteCodes).typed("forAccounts"),
		query("com.atproto.server.getAccountInviteCodes", may(sessions.ManageAccount), (*Server).getAccountInviteCodes).protected(),

		// com.atproto.server: e-mail
		procedure("com.atproto.server.requestEmailConfirmation", may(sessions.ConfirmEmail), (*Server).requestEmailConfirmation).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.confirmEmail", may(sessions.ConfirmEmail), (*Server).confirmEmail).protected(),
		procedure("com.atproto.server.requestEmailUpdate", may(sessions.ChangeEmail), (*Server).requestEmailUpdate).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.updateEmail", may(sessions.ChangeEmail), (*Server).updateEmail).protected(),

		// com.atproto.server: status and migration
		procedure("com.atproto.server.activateAccount", may(sessions.ManageAccount), (*Server).activateAccount).protected().
			costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.deactivateAccount", may(sessions.DeactivateAccount), (*Server).deactivateAccount).protected(),
		query("com.atproto.server.checkAccountStatus", may(sessions.UseAccount), (*Server).checkAccountStatus).
			costs(per(100, 5*time.Minute)),
		query("com.atproto.server.getServiceAuth", may(sessions.SeeSession), (*Server).getServiceAuth),
		procedure("com.atproto.server.reserveSigningKey", anyone, (*Server).reserveSigningKey).
			costs(per(50, 5*time.Minute), per(100, day)),

		// com.atproto.identity
		query("com.atproto.identity.resolveHandle", anyone, (*Server).resolveHandle).
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.updateHandle", may(sessions.ChangeHandle), (*Server).updateHandle).protected().typed("handle").
			costs(per(10, 5*time.Minute), per(50, day)),
		query("com.atproto.identity.getRecommendedDidCredentials", may(sessions.UseAccount), (*Server).getRecommendedDidCredentials),
		procedure("com.atproto.identity.requestPlcOperationSignature", may(sessions.SignIdentity), (*Server).requestPlcOperationSignature).protected().
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.identity.signPlcOperation", may(sessions.SignIdentity), (*Server).signPlcOperation).protected().
			noOthers("Invalid operation"),
		procedure("com.atproto.identity.submitPlcOperation", may(sessions.SubmitIdentity), (*Server).submitPlcOperation).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.identity.resolveDid", anyone, (*Server).resolveDid).
			costs(per(1500, 5*time.Minute)),
		query("com.atproto.identity.resolveIdentity", anyone, (*Server).resolveIdentity).
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.refreshIdentity", anyone, (*Server).refreshIdentity).
			costs(per(100, 5*time.Minute)),

		// com.atproto.admin: methods that a moderation service may call too
		query("com.atproto.admin.getAccountInfo", moderator, (*Server).getAccountInfo),
		query("com.atproto.admin.getAccountInfos", moderator, (*Server).getAccountInfos),
		query("com.atproto.admin.getInviteCodes", moderator, (*Server).getInviteCodes),
		procedure("com.atproto.admin.disableInviteCodes", moderator, (*Server).disableInviteCodes),
		procedure("com.atproto.admin.disableAccountInvites", moderator, (*Server).disableAccountInvites).typed("account"),
		procedure("com.atproto.admin.enableAccountInvites", moderator, (*Server).enableAccountInvites).typed("account"),
		query("com.atproto.admin.getSubjectStatus", moderator, (*Server).getSubjectStatus),
		procedure("com.atproto.admin.updateSubjectStatus", moderator, (*Server).updateSubjectStatus),
		procedure("com.atproto.admin.sendEmail", moderator, (*Server).sendEmail).protected(),

		// com.atproto.admin: methods that change credentials or delete accounts
		query("com.atproto.admin.searchAccounts", admin, (*Server).searchAccounts),
		procedure("com.atproto.admin.updateAccountEmail", admin, (*Server).updateAccountEmail).typed("account"),
		procedure("com.atproto.admin.updateAccountHandle", admin, (*Server).updateAccountHandle).typed("did", "handle"),
		procedure("com.atproto.admin.updateAccountPassword", admin, (*Server).updateAccountPassword).typed("did"),
		procedure("com.atproto.admin.updateAccountSigningKey", admin, (*Server).updateAccountSigningKey).typed("did"),
		procedure("com.atproto.admin.deleteAccount", admin, (*Server).adminDeleteAccount).typed("did"),

		// com.atproto.sync: methods that accounts suffice to answer
		query("com.atproto.sync.listRepos", anyone, (*Server).listRepos).
			costs(per(300, 5*time.Minute)),
		query("com.atproto.sync.getRepoStatus", anyone, (*Server).getRepoStatus),

		// com.atproto.temp
		query("com.atproto.temp.checkHandleAvailability", anyone, (*Server).checkHandleAvailability).typed("handle"),
		query("com.atproto.temp.checkSignupQueue", may(sessions.UseAccount), (*Server).checkSignupQueue),
		procedure("com.atproto.temp.addReservedHandle", admin, (*Server).addReservedHandle),
		procedure("com.atproto.temp.revokeAccountCredentials", admin, (*Server).revokeAccountCredentials).typed("account"),
	}
}

// privilegedElsewhere are the methods of other services for which sessions of plain app passwords
// get no service token: those of private messages.
var privilegedElsewhere = []string{"chat.bsky.*"}

// declared is the table. It isn't changed once the schemas have been added.
var declared = sync.OnceValue(table)

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
