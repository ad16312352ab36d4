package e2e

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// The kinds of credentials that a request can carry.
const (
	noToken          = "no credentials"
	fullToken        = "access token"
	appToken         = "access token of an app password"
	privilegedToken  = "access token of a privileged app password"
	takendownToken   = "access token of a taken-down account"
	expiredToken     = "expired access token"
	revokedToken     = "revoked access token"
	refreshToken     = "refresh token"
	expiredRefresh   = "expired refresh token"
	revokedRefresh   = "revoked refresh token"
	ownService       = "service token of the account"
	strangersService = "service token of another account"
	labelersService  = "service token of another account's labeler"
	modService       = "service token of the moderation service"
	modLabeler       = "service token of the moderation service's labeler"
	adminBasic       = "admin password"
	wrongBasic       = "wrong admin password"
	junkToken        = "malformed token"
	oauthAll         = "OAuth session with every scope"
	oauthLeast       = "OAuth session with no scope but atproto"
	oauthDead        = "OAuth session that has ended"
	oauthStolen      = "OAuth token with a proof of another key"
	oauthBearer      = "OAuth token without a proof"
)

var allKinds = []string{
	noToken, fullToken, appToken, privilegedToken, takendownToken, expiredToken, revokedToken, refreshToken, expiredRefresh,
	revokedRefresh, ownService, strangersService, labelersService, modService, modLabeler, adminBasic, wrongBasic, junkToken,
	oauthAll, oauthLeast, oauthDead, oauthStolen, oauthBearer,
}

// dpopKinds are the kinds that come with the DPoP scheme.
var dpopKinds = []string{oauthAll, oauthLeast, oauthDead, oauthStolen}

// passed stands for the answer in a row's field then, which permitted callers get, and byOAuth for
// that of oauthTable, which depends on the scope.
const (
	passed  = "passed"
	byOAuth = "by scope"
)

// answers maps each kind of credentials to the expected answer: passed, or a prefix of the status,
// error name and message.
type answers map[string]string

func everyKind(answer string) answers {
	a := answers{}
	for _, kind := range allKinds {
		a[kind] = answer
	}
	return a
}

func (a answers) but(answer string, kinds ...string) answers {
	a = maps.Clone(a)
	for _, kind := range kinds {
		a[kind] = answer
	}
	return a
}

// sessionOf returns the answers of a method that requires an access token, either a full one or one
// of the given kinds.
func sessionOf(kinds ...string) answers {
	return everyKind("400 InvalidToken Token could not be verified").
		but("401 AuthMissing Authentication Required", noToken).
		but("400 InvalidToken Bad token scope", appToken, privilegedToken, takendownToken).
		but("400 ExpiredToken Token has expired", expiredToken).
		but("400 ExpiredToken Token has been revoked", revokedToken).
		but("400 InvalidToken Unexpected authorization type", adminBasic, wrongBasic).
		but("400 InvalidToken Malformed token", oauthBearer).
		but("401 invalid_token Token has been revoked", oauthDead).
		but("401 invalid_token The token is bound to another key than that of the DPoP proof", oauthStolen).
		but(passed, append(kinds, fullToken)...).
		but(byOAuth, oauthAll, oauthLeast)
}

// The answers of each class of access. classOf maps the words of docs/methods.md to these classes.
var classes = map[string]answers{
	"anyone":        everyKind(passed),
	"full":          sessionOf(),
	"access":        sessionOf(appToken, privilegedToken),
	"leaving":       sessionOf(takendownToken),
	"anyToken":      sessionOf(appToken, privilegedToken, takendownToken),
	"refresh":       refreshAnswers,
	"deleteSession": refreshAnswers.but(passed, expiredRefresh, revokedRefresh),
	// A user with a valid token gets a 403, since a 401 would make clients log out.
	"admin": everyKind("401 AuthenticationRequired Authentication Required").
		but("403 Forbidden This method is for the admins of this server", fullToken, appToken, privilegedToken, takendownToken).
		but("400 ExpiredToken Token has expired", expiredToken).
		but("400 ExpiredToken Token has been revoked", revokedToken).
		but(passed, adminBasic),
	"moderator": everyKind("401 BadJwt poorly formatted jwt").
		but("401 AuthenticationRequired Authentication Required", append(dpopKinds, noToken, wrongBasic)...).
		but("401 UntrustedIss Untrusted issuer", ownService, strangersService, labelersService).
		but(passed, adminBasic, modService, modLabeler),
	// A labeler's key may not sign for the account with the same DID.
	"newcomer": everyKind("401 BadJwt poorly formatted jwt").
		but("401 AuthenticationRequired Invalid authorization header", append(dpopKinds, adminBasic, wrongBasic)...).
		but("401 UntrustedIss Untrusted issuer", labelersService, modLabeler).
		but("401 BadJwtSignature "+heldHere, ownService).
		but(passed, noToken, strangersService, modService),
}

var refreshAnswers = everyKind("400 InvalidToken Token could not be verified").
	but("401 AuthMissing Authentication Required", append(dpopKinds, noToken, adminBasic, wrongBasic)...).
	but("400 ExpiredToken Token has expired", expiredRefresh).
	but("400 ExpiredToken Token has been revoked", revokedRefresh).
	but(passed, refreshToken)

// classOf maps the "who" column of docs/methods.md to a class of access.
var classOf = map[string]string{
	"anyone": "anyone", "anyone, with the code": "anyone", "did, password and code": "anyone",
	"anyone; with `did` service auth of it": "newcomer",
	"access":                                "access", "full": "full", "leaving": "leaving", "leaving, with a code": "leaving",
	"access or leaving": "anyToken", "access, or an account that is taken down": "anyToken",
	"refresh": "refresh", "refresh, expired ones too": "deleteSession", "admin": "admin", "moderator": "moderator",
}

// accessRow describes a method: its class of access, an input, and the answer to permitted callers.
// The input decodes without errors but is mostly refused afterwards, so that the rows don't affect
// each other.
type accessRow struct {
	class string
	input object
	then  string
}

const noSuchDID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

// accessTable has a row for every method that is served. ALICE stands for the DID of the account
// that most tokens belong to.
var accessTable = map[string]accessRow{
	"server.activateAccount":                {"full", nil, "200"},
	"server.checkAccountStatus":             {"access", nil, "200"},
	"server.confirmEmail":                   {"access", object{"email": "other@example.com", "token": "AAAAA-AAAAA"}, "400 InvalidEmail"},
	"server.createAccount":                  {"newcomer", object{"handle": "free.test", "email": "free@example.com"}, `400 InvalidRequest Input must have the property "password"`},
	"server.createAppPassword":              {"full", object{"name": ""}, "400 InvalidRequest App password name"},
	"server.createInviteCode":               {"admin", object{"useCount": 0}, "400 InvalidRequest"},
	"server.createInviteCodes":              {"admin", object{"useCount": 0}, "400 InvalidRequest"},
	"server.createSession":                  {"anyone", object{"identifier": "unknown.test", "password": "wrong"}, "401 AuthenticationRequired Invalid identifier or password"},
	"server.deactivateAccount":              {"leaving", object{"deleteAfter": "nonsense"}, "400 InvalidRequest"},
	"server.deleteAccount":                  {"anyone", object{"did": noSuchDID, "password": "wrong", "token": "AAAAA-AAAAA"}, "401 AuthenticationRequired Invalid did or password"},
	"server.deleteSession":                  {"deleteSession", nil, "200"},
	"server.describeServer":                 {"anyone", nil, "200"},
	"server.getAccountInviteCodes":          {"full", nil, "200"},
	"server.getServiceAuth":                 {"anyToken", object{"aud": "nonsense", "lxm": signUpMethod}, "400 InvalidRequest aud must be a valid"},
	"server.getSession":                     {"anyToken", nil, "200"},
	"server.listAppPasswords":               {"full", nil, "200"},
	"server.refreshSession":                 {"refresh", nil, "200"},
	"server.requestAccountDelete":           {"full", nil, "200"},
	"server.requestEmailConfirmation":       {"access", nil, "200"},
	"server.requestEmailUpdate":             {"full", nil, "200"},
	"server.requestPasswordReset":           {"anyone", object{"email": "unknown@example.com"}, "200"},
	"server.reserveSigningKey":              {"anyone", object{"did": noSuchDID}, "200"},
	"server.resetPassword":                  {"anyone", object{"token": "AAAAA-AAAAA", "password": "password"}, "400 InvalidToken Token is invalid"},
	"server.revokeAppPassword":              {"full", object{"name": "no such"}, "200"},
	"server.updateEmail":                    {"full", object{"email": "nonsense"}, "400 InvalidRequest"},
	"identity.getRecommendedDidCredentials": {"access", nil, "200"},
	"identity.refreshIdentity":              {"anyone", object{"identifier": "ALICE"}, "200"},
	"identity.requestPlcOperationSignature": {"leaving", nil, "200"},
	"identity.resolveDid":                   {"anyone", object{"did": "ALICE"}, "200"},
	"identity.resolveHandle":                {"anyone", object{"handle": "unknown.test"}, "400 HandleNotFound"},
	"identity.resolveIdentity":              {"anyone", object{"identifier": "ALICE"}, "200"},
	"identity.signPlcOperation":             {"leaving", object{}, "400 InvalidRequest"},
	"identity.submitPlcOperation":           {"access", object{"operation": object{}}, "400 InvalidRequest Invalid operation"},
	"identity.updateHandle":                 {"access", object{"handle": "x.test"}, "400 InvalidHandle"},
	"admin.deleteAccount":                   {"admin", object{"did": noSuchDID}, "400 InvalidRequest Account does not exist"},
	"admin.disableAccountInvites":           {"moderator", object{"account": noSuchDID}, "400 InvalidRequest Account does not exist"},
	"admin.disableInviteCodes":              {"moderator", object{"codes": []string{"no such"}}, "200"},
	"admin.enableAccountInvites":            {"moderator", object{"account": noSuchDID}, "400 InvalidRequest Account does not exist"},
	"admin.getAccountInfo":                  {"moderator", object{"did": "ALICE"}, "200"},
	"admin.getAccountInfos":                 {"moderator", object{"dids": []string{noSuchDID}}, "200"},
	"admin.getInviteCodes":                  {"moderator", nil, "200"},
	"admin.getSubjectStatus":                {"moderator", object{"did": "ALICE"}, "200"},
	"admin.searchAccounts":                  {"admin", nil, "200"},
	"admin.sendEmail":                       {"moderator", object{"recipientDid": noSuchDID, "senderDid": noSuchDID, "content": "x"}, "400 InvalidRequest Recipient not found"},
	"admin.updateAccountEmail":              {"admin", object{"account": noSuchDID, "email": "x@example.com"}, "400 InvalidRequest Account does not exist"},
	"admin.updateAccountHandle":             {"admin", object{"did": noSuchDID, "handle": "free.test"}, "400 InvalidRequest Account does not exist"},
	"admin.updateAccountPassword":           {"admin", object{"did": noSuchDID, "password": "password"}, "400 InvalidRequest Account does not exist"},
	"admin.updateAccountSigningKey":         {"admin", object{"did": noSuchDID, "signingKey": "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"}, "400 InvalidRequest Account does not exist"},
	"admin.updateSubjectStatus":             {"moderator", object{"subject": repoRef(noSuchDID), "deactivated": object{"applied": true}}, "400 InvalidRequest Account does not exist"},
	"sync.getRepoStatus":                    {"anyone", object{"did": "ALICE"}, "200"},
	"sync.listRepos":                        {"anyone", nil, "200"},
	"temp.addReservedHandle":                {"admin", object{"handle": "reserved.test"}, "200"},
	"temp.checkHandleAvailability":          {"anyone", object{"handle": "free.test"}, "200"},
	"temp.checkSignupQueue":                 {"access", nil, "200"},
	"temp.revokeAccountCredentials":         {"admin", object{"account": noSuchDID}, "400 InvalidRequest Account does not exist"},
}

// wallet creates credentials of each kind.
type wallet struct {
	s                   *api
	alice, carol        *gatehousetest.Account // carol is taken down
	app, privileged     string
	leaving             string
	expired, old        string // expired access and refresh tokens
	revoked, ended      string // access and refresh tokens of a revoked session
	stranger, moderator *outsider
	oauth               map[string]*oauthSession
}

func (s *api) wallet(stranger, moderator *outsider) *wallet {
	s.t.Helper()
	w := &wallet{s: s, alice: s.signUp("alice.test"), carol: s.signUp("carol.test"), stranger: stranger, moderator: moderator}
	w.expired, w.old = w.alice.AccessJWT, w.alice.RefreshJWT
	s.Clock.Advance(91 * 24 * time.Hour)
	s.again(w.alice)
	w.revoked, w.ended = w.alice.AccessJWT, w.alice.RefreshJWT
	s.do(bearer(w.ended), "server.deleteSession", nil).ok()
	s.again(w.alice)
	_, app := s.appLogin(w.alice, "plain", false)
	_, privileged := s.appLogin(w.alice, "privileged", true)
	w.app, w.privileged = app["accessJwt"].(string), privileged["accessJwt"].(string)
	s.takeDown(w.carol.DID, "case 1")
	w.leaving = s.leave(w.carol).text("accessJwt")
	w.oauth = s.oauthSessionsOf(w.alice)
	return w
}

// authorization returns an Authorization header of a kind for calling a method. Service tokens are
// new each time.
func (w *wallet) authorization(kind, method string) string {
	service := func(key signing, iss string) string { return bearer(w.s.serviceToken(key, iss, method)) }
	switch kind {
	case noToken:
		return nobody
	case fullToken:
		return bearer(w.alice.AccessJWT)
	case appToken:
		return bearer(w.app)
	case privilegedToken:
		return bearer(w.privileged)
	case takendownToken:
		return bearer(w.leaving)
	case expiredToken:
		return bearer(w.expired)
	case revokedToken:
		return bearer(w.revoked)
	case refreshToken:
		if method != "server.refreshSession" && method != "server.deleteSession" { // these two use it up
			return bearer(w.alice.RefreshJWT)
		}
		return bearer(w.s.login(w.alice.DID, w.alice.Password).text("refreshJwt"))
	case expiredRefresh:
		return bearer(w.old)
	case revokedRefresh:
		return bearer(w.ended)
	case ownService:
		return service(w.s.heldKey(w.alice.DID), w.alice.DID)
	case strangersService:
		return service(w.stranger.key, w.stranger.id.String())
	case labelersService:
		return service(w.stranger.label, w.stranger.id.String()+"#atproto_labeler")
	case modService:
		return service(w.moderator.key, w.moderator.id.String())
	case modLabeler:
		return service(w.moderator.label, w.moderator.id.String()+"#atproto_labeler")
	case adminBasic:
		return admin
	case wrongBasic:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:wrong password"))
	}
	if o := w.oauth[kind]; o != nil {
		return o.scheme + " " + o.access
	}
	return bearer("junk")
}

// do calls a method with credentials of a kind.
func (w *wallet) do(kind, method string, input object) *answer {
	w.s.t.Helper()
	nsid, req := w.s.request(w.authorization(kind, method), method, input)
	if o := w.oauth[kind]; o != nil && o.scheme == "DPoP" {
		o.prove(req)
	}
	return w.s.send(nsid, req)
}

// with returns a copy of an input in which ALICE is replaced by alice's DID.
func (w *wallet) with(input object) object {
	in := maps.Clone(input)
	for k, v := range in {
		if v == "ALICE" {
			in[k] = w.alice.DID
		}
	}
	return in
}

// told formats an answer as accessTable does.
func told(a *answer) string {
	if a.status == http.StatusOK {
		return "200"
	}
	return fmt.Sprint(a.status, " ", a.object["error"], " ", a.object["message"])
}

// TestEveryMethodWithEveryCredential calls every method with every kind of credentials. A new
// method needs a row in accessTable and one in docs/methods.md.
func TestEveryMethodWithEveryCredential(t *testing.T) {
	t.Parallel()
	served := newAPI(t)
	rows := documentedMethods(t)
	for _, nsid := range served.lexicons.Methods("com.atproto.") {
		method := strings.TrimPrefix(nsid, "com.atproto.")
		row, has := accessTable[method]
		isServed := served.do(nobody, method, nil).status != http.StatusNotImplemented
		if has != isServed {
			t.Errorf("%s: has a row in accessTable: %v, is served: %v", nsid, has, isServed)
		}
		if class := classOf[rows[nsid].who]; has && class != row.class {
			t.Errorf("%s: accessTable says %q, docs/methods.md says %q", nsid, row.class, rows[nsid].who)
		}
	}
	plc := newDirectory(t)
	moderator := outsiderIn(t, plc)
	onEach(t, func(t *testing.T, s *api) {
		w := s.wallet(outsiderIn(t, plc), moderator)
		for _, method := range slices.Sorted(maps.Keys(accessTable)) {
			row := accessTable[method]
			for _, kind := range allKinds {
				want := classes[row.class][kind]
				if want == byOAuth {
					want = oauthAnswer(method, kind == oauthAll)
				}
				if want == passed {
					want = row.then
				}
				input := w.with(row.input)
				if kind == ownService && method == "server.createAccount" { // this refusal needs a complete input
					input["did"], input["password"] = w.alice.DID, "password"
				}
				if got := told(w.do(kind, method, input)); !strings.HasPrefix(got, want) {
					t.Errorf("%s with %s: got %s, want %s", method, kind, got, want)
				}
			}
		}
		// None of the calls had an effect on the accounts.
		if got := s.do(bearer(w.alice.AccessJWT), "server.getSession", nil).ok(); got["active"] != true || got["handle"] != w.alice.Handle {
			t.Errorf("getSession after all calls: %v, want an active account %s", got, w.alice.Handle)
		}
		if s.exists(w.stranger.id.String()) || s.exists(moderator.id.String()) {
			t.Error("a service token of an outsider created an account")
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory, c.ModService = plc, moderator.id.String() }))
}

// TestModServiceTokensAreSingleUseForWrites checks that methods that change something require a
// service token with an ID (jti) that was not used before, that methods that only read accept a
// token repeatedly and without an ID, and that no token may live longer than an hour.
func TestModServiceTokensAreSingleUseForWrites(t *testing.T) {
	t.Parallel()
	plc := newDirectory(t)
	moderator := outsiderIn(t, plc)
	onEach(t, func(t *testing.T, s *api) {
		iss := moderator.id.String()
		token := func(method string, changes ...object) string {
			return bearer(s.serviceToken(moderator.key, iss, method, changes...))
		}
		const act, read = "admin.disableInviteCodes", "admin.getInviteCodes"
		codes := object{"codes": []string{"no such"}}
		refused := func(why string, a *answer) {
			t.Helper()
			if a.status != 401 {
				t.Errorf("%s: %d %s, want 401", why, a.status, a.body)
			}
		}
		once := token(act)
		s.do(once, act, codes).ok()
		refused("a used token", s.do(once, act, codes))
		s.do(token(act), act, codes).ok()
		refused("a token without an id", s.do(token(act, object{"jti": ""}), act, codes))
		often := token(read)
		s.do(often, read, nil).ok()
		s.do(often, read, nil).ok()
		s.do(token(read, object{"jti": ""}), read, nil).ok()
		for _, method := range []string{act, read} {
			input := codes
			if method == read {
				input = nil
			}
			refused("a token that lives for two hours", s.do(token(method, object{"exp": s.Clock.Now().Add(2 * time.Hour).Unix()}), method, input))
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory, c.ModService = plc, moderator.id.String() }))
}
