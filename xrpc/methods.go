package xrpc

import (
	"slices"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// table lists the methods that are served.
func (s *Server) table() []*method {
	full := s.access(sessions.Full...)
	anyScope := s.access(everyScope...)
	access := s.access()
	leaving := s.access(sessions.ScopeAccess, sessions.ScopeTakendown)
	refresh := bySession(s.refresh)
	newcomer, admin, moderator := byAddress(s.newcomer), byAddress(s.admin), byAddress(s.moderator)
	return []*method{
		// com.atproto.server: accounts
		procedure("com.atproto.server.createAccount", newcomer, s.createAccount).
			format("handle=handle", "did=did").typed("handle").
			costs(per(100, 5*time.Minute), per(300, day)),
		procedure("com.atproto.server.requestAccountDelete", full, s.requestAccountDelete).
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.deleteAccount", anyone, s.deleteAccount).
			format("did=did").typed("did").costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.requestPasswordReset", anyone, s.requestPasswordReset).
			costs(per(15, time.Hour), per(50, day)),
		procedure("com.atproto.server.resetPassword", anyone, s.resetPassword).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.server.describeServer", anyone, s.describeServer),

		// com.atproto.server: sessions
		procedure("com.atproto.server.createSession", anyone, s.createSession),
		query("com.atproto.server.getSession", anyScope, s.getSession),
		procedure("com.atproto.server.refreshSession", refresh, s.refreshSession),
		procedure("com.atproto.server.deleteSession", refresh, s.deleteSession),

		// com.atproto.server: app passwords
		procedure("com.atproto.server.createAppPassword", full, s.createAppPassword),
		query("com.atproto.server.listAppPasswords", full, s.listAppPasswords),
		procedure("com.atproto.server.revokeAppPassword", full, s.revokeAppPassword),

		// com.atproto.server: invite codes
		procedure("com.atproto.server.createInviteCode", admin, s.createInviteCode).
			format("forAccount=did").typed("forAccount"),
		procedure("com.atproto.server.createInviteCodes", admin, s.createInviteCodes).
			format("forAccounts=did").typed("forAccounts").byDefault("codeCount=1"),
		query("com.atproto.server.getAccountInviteCodes", full, s.getAccountInviteCodes).
			byDefault("includeUsed=true", "createAvailable=true"),

		// com.atproto.server: e-mail
		procedure("com.atproto.server.requestEmailConfirmation", access, s.requestEmailConfirmation).
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.confirmEmail", access, s.confirmEmail),
		procedure("com.atproto.server.requestEmailUpdate", full, s.requestEmailUpdate).
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.server.updateEmail", full, s.updateEmail),

		// com.atproto.server: status and migration
		procedure("com.atproto.server.activateAccount", full, s.activateAccount).
			costs(per(50, 5*time.Minute)),
		procedure("com.atproto.server.deactivateAccount", leaving, s.deactivateAccount).
			format("deleteAfter=datetime"),
		query("com.atproto.server.checkAccountStatus", access, s.checkAccountStatus).
			costs(per(100, 5*time.Minute)),
		query("com.atproto.server.getServiceAuth", anyScope, s.getServiceAuth).
			format("lxm=nsid"),
		procedure("com.atproto.server.reserveSigningKey", anyone, s.reserveSigningKey).
			format("did=did").costs(per(50, 5*time.Minute), per(100, day)),

		// com.atproto.identity
		query("com.atproto.identity.resolveHandle", anyone, s.resolveHandle).format("handle=handle").
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.updateHandle", access, s.updateHandle).
			format("handle=handle").typed("handle").costs(per(10, 5*time.Minute), per(50, day)),
		query("com.atproto.identity.getRecommendedDidCredentials", access, s.getRecommendedDidCredentials),
		procedure("com.atproto.identity.requestPlcOperationSignature", leaving, s.requestPlcOperationSignature).
			costs(per(5, time.Hour), per(15, day)),
		procedure("com.atproto.identity.signPlcOperation", leaving, s.signPlcOperation).
			noOthers("Invalid operation"),
		procedure("com.atproto.identity.submitPlcOperation", access, s.submitPlcOperation).
			costs(per(50, 5*time.Minute)),
		query("com.atproto.identity.resolveDid", anyone, s.resolveDid).format("did=did").
			costs(per(1500, 5*time.Minute)),
		query("com.atproto.identity.resolveIdentity", anyone, s.resolveIdentity).format("identifier=at-identifier").
			costs(per(1500, 5*time.Minute)),
		procedure("com.atproto.identity.refreshIdentity", anyone, s.refreshIdentity).
			format("identifier=at-identifier").costs(per(100, 5*time.Minute)),

		// com.atproto.admin: those that a moderation service may call too
		query("com.atproto.admin.getAccountInfo", moderator, s.getAccountInfo).format("did=did"),
		query("com.atproto.admin.getAccountInfos", moderator, s.getAccountInfos).format("dids=did"),
		query("com.atproto.admin.getInviteCodes", moderator, s.getInviteCodes).
			byDefault("sort=recent", "limit=100").between("limit", 1, 500),
		procedure("com.atproto.admin.disableInviteCodes", moderator, s.disableInviteCodes),
		procedure("com.atproto.admin.disableAccountInvites", moderator, s.disableAccountInvites).
			format("account=did").typed("account"),
		procedure("com.atproto.admin.enableAccountInvites", moderator, s.enableAccountInvites).
			format("account=did").typed("account"),
		query("com.atproto.admin.getSubjectStatus", moderator, s.getSubjectStatus).
			format("did=did", "uri=at-uri", "blob=cid"),
		procedure("com.atproto.admin.updateSubjectStatus", moderator, s.updateSubjectStatus).
			format("subject/did=did", "subject/uri=at-uri", "subject/cid=cid", "subject/recordUri=at-uri"),
		procedure("com.atproto.admin.sendEmail", moderator, s.sendEmail).format("recipientDid=did", "senderDid=did"),

		// com.atproto.admin: those that change credentials or delete
		query("com.atproto.admin.searchAccounts", admin, s.searchAccounts).
			byDefault("limit=50").between("limit", 1, 100),
		procedure("com.atproto.admin.updateAccountEmail", admin, s.updateAccountEmail).
			format("account=at-identifier").typed("account"),
		procedure("com.atproto.admin.updateAccountHandle", admin, s.updateAccountHandle).
			format("did=did", "handle=handle").typed("did", "handle"),
		procedure("com.atproto.admin.updateAccountPassword", admin, s.updateAccountPassword).
			format("did=did").typed("did"),
		procedure("com.atproto.admin.updateAccountSigningKey", admin, s.updateAccountSigningKey).
			format("did=did", "signingKey=did").typed("did"),
		procedure("com.atproto.admin.deleteAccount", admin, s.adminDeleteAccount).
			format("did=did").typed("did"),

		// com.atproto.sync: what follows from the accounts
		query("com.atproto.sync.listRepos", anyone, s.listRepos).
			byDefault("limit=500").between("limit", 1, 1000).costs(per(300, 5*time.Minute)),
		query("com.atproto.sync.getRepoStatus", anyone, s.getRepoStatus).format("did=did"),

		// com.atproto.temp
		query("com.atproto.temp.checkHandleAvailability", anyone, s.checkHandleAvailability).
			format("handle=handle", "birthDate=datetime").typed("handle"),
		query("com.atproto.temp.checkSignupQueue", access, s.checkSignupQueue),
		procedure("com.atproto.temp.addReservedHandle", admin, s.addReservedHandle),
		procedure("com.atproto.temp.revokeAccountCredentials", admin, s.revokeAccountCredentials).
			format("account=at-identifier").typed("account"),
	}
}

// everyScope is the scopes of all access tokens.
var everyScope = append([]sessions.Scope{sessions.ScopeTakendown}, sessions.Standard...)

// Methods returns the NSIDs of all methods that a [Server] has, sorted.
func Methods() []string {
	var all []string
	for _, m := range new(Server).table() {
		all = append(all, m.nsid)
	}
	slices.Sort(all)
	return all
}

const day = 24 * time.Hour

func per(points int, period time.Duration) ratelimit.Window {
	return ratelimit.Window{Points: points, Per: period}
}
