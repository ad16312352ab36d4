package e2e

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// model is a model of a server: what the documentation says happens to accounts, without a store,
// signatures or hashes. Methods named by a verb in the third person, such as logsIn, return the
// verdict on a call and change the model as the call changes the server.
type model struct {
	now           func() time.Time
	inviteOnly    bool
	web           bool            // DIDs are did:web
	reserved      map[string]bool // handles
	hold          time.Duration   // how long a handle that its owner gave up is held; 0 for not at all
	holdDeleted   time.Duration   // the same for the handle of a deleted account
	held          []held          // including holds that have ended
	people        []*person       // including deleted accounts
	tokens        []*bearerToken  // including tokens that are no longer valid
	inviteCodes   []*invite
	takedownsEver int
	notices       map[notice]int // how many of each notice must have been sent
}

// held is a handle that is held for the account that used to have it.
type held struct {
	handle, did string
	until       time.Time
}

// notice is an e-mail without a code.
type notice struct {
	kind mail.Kind
	to   string
}

// expectNotice records that the server has to send a notice.
func (m *model) expectNotice(kind mail.Kind, to string) { m.notices[notice{kind, to}]++ }

// The durations and limits that the documentation states.
const (
	accessLife   = 2 * time.Hour
	refreshLife  = 90 * 24 * time.Hour
	graceTime    = 2 * time.Hour
	codeLife     = 15 * time.Minute
	codeKept     = 24 * time.Hour // how long after its expiry a code is still reported as expired
	earnTime     = 7 * 24 * time.Hour
	maxGuesses   = 10
	maxUnused    = 5
	minPassword  = 8
	resendLeft   = 5 * time.Minute // a code with at least this much time left is sent again
	leastDelay   = 72 * time.Hour  // the minimum between a deactivation and a deletion
	remindEarly  = 24 * time.Hour
	unvouchedFor = 72 * time.Hour // how long an address isn't trusted after a change without a code
)

// person is an account.
type person struct {
	did, handle, email string
	password           string // "" if it was voided
	passwords          int    // how often the password was set
	signingKey         string // did:key; "" until an answer shows it
	created            time.Time
	confirmed, factor  bool
	takedown           int // the number of the takedown in effect; 0 for none
	takedownRef        string
	deactivated        bool
	deleteAfter        time.Time
	reminded           bool
	unvouchedAt        time.Time // when a session changed the address without a code
	invitesDisabled    bool
	inviteNote         string
	apps               []*app
	sessions           []*session
	codes              map[string]*mailed
	gone               bool
}

// app is an app password.
type app struct {
	name, password string
	privileged     bool
	created        time.Time
	revoked        bool
}

// session is a session and the generations of its refresh tokens.
type session struct {
	owner   *person
	app     *app // nil for one of the account password
	created time.Time
	expires time.Time
	ended   bool
	current int               // the generation of the latest refresh token
	until   map[int]time.Time // when the grace period of each earlier generation ends
	ids     map[int]string    // the token ID of each generation
}

// bearerToken is an access or a refresh token.
type bearerToken struct {
	jwt        string
	owner      *person
	session    *session // nil for tokens of an account that is taken down
	refresh    bool
	generation int // the generation in its session
	expires    time.Time
	takedown   int // without a session: the takedown and the password in effect when it was issued
	passwords  int
}

// mailed is an e-mailed code.
type mailed struct {
	text    string
	expires time.Time
	guesses int
}

// The purposes of e-mailed codes.
const (
	toReset   = "reset"
	toConfirm = "confirm"
	toUpdate  = "update"
	toDelete  = "delete"
	toSignIn  = "sign in"
	toSign    = "sign"
)

// invite is an invite code.
type invite struct {
	code, owner, createdBy string
	total                  int
	uses                   []use // the oldest first
	disabled               bool
	created                time.Time
	gone                   bool
}

// use is one use of an invite code.
type use struct {
	by string
	at time.Time
}

// verdict is the answer that a call must get. An empty message matches any message.
type verdict struct {
	status        int
	name, message string
}

var (
	fine         = verdict{status: 200}
	expired      = verdict{400, "ExpiredToken", "Token has expired"}
	revoked      = verdict{400, "ExpiredToken", "Token has been revoked"}
	unverified   = verdict{400, "InvalidToken", "Token could not be verified"}
	badScope     = verdict{400, "InvalidToken", "Bad token scope"}
	accountGone  = verdict{403, "AccountNotFound", "Account not found"}
	takenDown    = verdict{401, "AccountTakedown", "Account has been taken down"}
	badLogin     = verdict{401, "AuthenticationRequired", "Invalid identifier or password"}
	badLeave     = verdict{401, "AuthenticationRequired", "Invalid did or password"}
	needsFactor  = verdict{401, "AuthFactorTokenRequired", ""}
	codeInvalid  = verdict{400, "InvalidToken", "Token is invalid"}
	codeExpired  = verdict{400, "ExpiredToken", "Token is expired"}
	needsSigning = verdict{400, "InvalidRequest", "email confirmation token required to sign PLC operations"}
	needsCode    = verdict{400, "TokenRequired", "confirmation token required"}
	wrongEmail   = verdict{400, "InvalidEmail", "invalid email"}
	badEmail     = verdict{400, "InvalidRequest", "This email address is not supported, please use a different email."}
	emailInUse   = verdict{400, "InvalidRequest", "This email address is already in use, please use a different email."}
	badRequest   = verdict{400, "InvalidRequest", ""}
	badPassword  = verdict{400, "InvalidPassword", ""}
	needsInvite  = verdict{400, "InvalidInviteCode", "No invite code provided"}
	badInvite    = verdict{400, "InvalidInviteCode", "Provided invite code not available"}
	badHandle    = verdict{400, "InvalidHandle", "Handle too short"}
	foreign      = verdict{400, "UnsupportedDomain", "Not a supported handle domain"}
	reservedName = verdict{400, "HandleNotAvailable", "Reserved handle"}
	unresolved   = verdict{400, "InvalidRequest", "External handle did not resolve to DID"}
	notReserved  = verdict{400, "InvalidRequest", "reserved signing key does not exist"}
	notActivated = verdict{400, "AccountNotFound", "user not found"}
	notThere     = verdict{400, "AccountNotFound", "Account not found"}
	badAddress   = verdict{400, "InvalidRequest", ""} // for PLC operations
	unresolvable = verdict{400, "HandleNotFound", "Unable to resolve handle"}
	notFound     = verdict{400, "NotFound", ""}
	contradicts  = verdict{400, "InvalidRequest", "Cannot activate and takedown an account at the same time"}
)

func unknownAccount(id string) verdict {
	return verdict{400, "InvalidRequest", "Account does not exist: " + id}
}

func handleTaken(handle string) verdict {
	return verdict{400, "HandleNotAvailable", "Handle already taken: " + handle}
}

// caller says who may call a method, in the words of docs/methods.md.
type caller int

const (
	full caller = iota
	access
	leaving
	anyToken
)

// live returns the accounts that are not deleted.
func (m *model) live() []*person {
	return slices.DeleteFunc(slices.Clone(m.people), func(p *person) bool { return p.gone })
}

// find returns the account with a handle, DID or e-mail address, or nil.
func (m *model) find(identifier string) *person {
	id := plain(identifier)
	for _, p := range m.live() {
		if id == p.did || id == p.handle || id == p.email {
			return p
		}
	}
	return nil
}

// plain returns an identifier without the decoration that people paste with it.
func plain(typed string) string {
	id := strings.ToLower(strings.Trim(typed, " \u202A\u202C"))
	id = strings.TrimPrefix(strings.TrimPrefix(id, "https://bsky.app/profile/"), "at://")
	return strings.TrimSuffix(strings.TrimPrefix(id, "@"), ".")
}

// codeOf returns a typed code in normal form, or "" if it doesn't have the form of a code.
func codeOf(typed string) string {
	code := strings.NewReplacer(" ", "", "-", "", "\u2013", "").Replace(strings.ToUpper(typed))
	if len(code) != 10 {
		return ""
	}
	return code[:5] + "-" + code[5:]
}

// allows returns the verdict on a call with a token to a method that takes access tokens.
func (m *model) allows(k *bearerToken, who caller) verdict {
	scopeFits := true
	switch {
	case k.refresh:
	case k.session == nil:
		scopeFits = who == leaving || who == anyToken
	case k.session.app != nil:
		scopeFits = who == access || who == anyToken
	}
	switch {
	case k.refresh:
		return unverified
	case !m.now().Before(k.expires):
		return expired
	case !scopeFits:
		return badScope
	case k.owner.gone:
		return m.orphaned(k)
	case k.session == nil && (k.owner.takedown != k.takedown || k.owner.passwords != k.passwords):
		return revoked
	case k.session == nil:
		return fine
	case k.owner.takedown != 0:
		return takenDown
	case k.session.over(m.now()):
		return revoked
	}
	return fine
}

// orphaned returns the verdict on a token whose account is deleted. Another account may have its
// DID by now.
func (m *model) orphaned(k *bearerToken) verdict {
	switch heir := m.find(k.owner.did); {
	case heir == nil:
		return accountGone
	case heir.takedown != 0 && (k.session != nil || k.refresh):
		return takenDown
	}
	return revoked
}

func (s *session) over(now time.Time) bool { return s.ended || !now.Before(s.expires) }

// refreshes returns the verdict on a refresh.
func (m *model) refreshes(k *bearerToken) verdict {
	now, s := m.now(), k.session
	switch {
	case !k.refresh:
		return unverified
	case !now.Before(k.expires):
		return expired
	case k.owner.gone:
		return m.orphaned(k)
	case k.owner.takedown != 0:
		return takenDown
	case s == nil || s.over(now):
		return revoked
	case k.generation == s.current:
		s.until[s.current] = now.Add(graceTime)
		if s.expires.Before(s.until[s.current]) {
			s.until[s.current] = s.expires
		}
		s.current++
		s.expires = now.Add(refreshLife)
		return fine
	case now.Before(s.until[k.generation]):
		return fine
	}
	s.ended = true // reuse after the grace period: the token is taken for stolen
	return revoked
}

// endsSession returns the verdict on a logout.
func (m *model) endsSession(k *bearerToken) verdict {
	if !k.refresh {
		return unverified
	}
	if k.session != nil {
		k.session.ended = true
	}
	return fine
}

func (p *person) endSessions() {
	for _, s := range p.sessions {
		s.ended = true
	}
}

// logsIn returns the verdict on a login. For a login that succeeds or needs a sign-in code it also
// returns the account, and the app password if one was used.
func (m *model) logsIn(identifier, password, code string, allowTakendown bool) (v verdict, p *person, with *app) {
	p = m.find(identifier)
	if p == nil {
		return badLogin, nil, nil
	}
	if p.password == "" || password != p.password {
		with = p.app(func(a *app) bool { return a.password == password })
		switch {
		case with == nil:
			return badLogin, nil, nil
		case p.takedown != 0:
			return takenDown, nil, nil
		}
		return fine, p, with
	}
	switch {
	case p.takedown != 0 && !allowTakendown:
		return takenDown, nil, nil
	case p.factor && code == "":
		return needsFactor, p, nil
	case p.factor:
		if v := m.redeems(p, toSignIn, code); v != fine {
			return v, nil, nil
		}
	}
	p.deleteAfter = time.Time{}
	return fine, p, nil
}

// app returns the first valid app password that matches, or nil.
func (p *person) app(matches func(*app) bool) *app {
	for _, a := range p.apps {
		if !a.revoked && matches(a) {
			return a
		}
	}
	return nil
}

func (p *person) revokeApp(a *app) {
	a.revoked = true
	for _, s := range p.sessions {
		if s.app == a {
			s.ended = true
		}
	}
}

func (p *person) setPassword(password string) {
	p.password = password
	p.passwords++
	p.deleteAfter = time.Time{}
	p.endSessions()
	clear(p.codes)
}

// redeems uses a code up if it is right and counts a guess if it is wrong.
func (m *model) redeems(p *person, purpose, typed string) verdict {
	v := m.guesses(p, purpose, typed)
	if v == fine {
		delete(p.codes, purpose)
	}
	return v
}

// guesses is like redeems but doesn't use up a right code.
func (m *model) guesses(p *person, purpose, typed string) verdict {
	c := p.codes[purpose]
	switch {
	case c == nil, codeOf(typed) == "":
		return codeInvalid
	case c.text != codeOf(typed):
		if c.guesses++; c.guesses >= maxGuesses {
			delete(p.codes, purpose)
		}
		return codeInvalid
	case !m.now().Before(c.expires):
		return codeExpired
	}
	return fine
}

// resets returns the verdict on a password reset. The first half of the code identifies the
// account.
func (m *model) resets(typed, password string) (verdict, *person) {
	if len(password) < minPassword {
		return badPassword, nil
	}
	for _, p := range m.live() {
		if c := p.codes[toReset]; c != nil && codeOf(typed) != "" && c.text[:5] == codeOf(typed)[:5] {
			v := m.redeems(p, toReset, typed)
			if v != fine {
				return v, p
			}
			p.setPassword(password)
			m.expectNotice(mail.PasswordChanged, p.email)
			if !p.confirmed { // somebody else may have created the account with this address
				for _, a := range p.apps {
					p.revokeApp(a)
				}
			}
			p.confirmed = true
			return v, p
		}
	}
	return codeInvalid, nil
}

// signsUp returns the verdict on a sign-up with a well-formed address and an acceptable password.
// It doesn't change the model.
func (m *model) signsUp(handle, email, code string) verdict {
	if code == "" && m.inviteOnly {
		return needsInvite
	}
	if v := m.goodHandle(handle, foreign); v != fine {
		return v
	}
	if code != "" && !m.usable(m.invite(code)) {
		return badInvite
	}
	if m.reserved[plain(handle)] {
		return reservedName
	}
	if m.find(handle) != nil || m.formerOwner(handle) != "" {
		return handleTaken(plain(handle))
	}
	if m.find(email) != nil {
		return verdict{400, "InvalidRequest", "Email already taken: " + email}
	}
	if !m.free(handle) {
		return handleTaken(plain(handle))
	}
	return fine
}

// free reports whether a new account may have a handle.
func (m *model) free(handle string) bool {
	handle = plain(handle)
	return !m.reserved[handle] && m.find(handle) == nil && m.formerOwner(handle) == "" && !(m.web && (m.find("did:web:"+handle) != nil || m.stuck("did:web:"+handle) != nil))
}

// formerOwner returns the DID for which a handle is held, or "".
func (m *model) formerOwner(handle string) string {
	for _, h := range m.held {
		if h.handle == plain(handle) && m.now().Before(h.until) {
			return h.did
		}
	}
	return ""
}

// holdHandle holds the handle of an account for it.
func (m *model) holdHandle(p *person, hold time.Duration) {
	if hold > 0 {
		m.held = append(m.held, held{p.handle, p.did, m.now().Add(hold)})
	}
}

// endHolds ends the holds that match.
func (m *model) endHolds(matches func(held) bool) { m.held = slices.DeleteFunc(m.held, matches) }

// stuck returns the last account of a DID if an admin deleted it while it was taken down, or nil.
func (m *model) stuck(did string) *person {
	for _, p := range slices.Backward(m.people) {
		if p.did == did {
			if p.gone && p.takedown != 0 {
				return p
			}
			break
		}
	}
	return nil
}

// inviter returns the invite code with which an account last signed up, or nil.
func (m *model) inviter(p *person) (last *invite) {
	var at time.Time
	for _, i := range m.inviteCodes {
		for _, u := range i.uses {
			if u.by == p.did && !i.gone && !u.at.Before(at) {
				last, at = i, u.at
			}
		}
	}
	return last
}

// goodHandle returns the verdict on the form of a handle, which is elsewhere for one on a foreign
// domain.
func (m *model) goodHandle(handle string, elsewhere verdict) verdict {
	label, hosted := strings.CutSuffix(plain(handle), ".test")
	switch {
	case !hosted:
		return elsewhere
	case len(label) < 3:
		return badHandle
	}
	return fine
}

func (m *model) invite(code string) *invite {
	for _, i := range m.inviteCodes {
		if i.code == code && !i.gone {
			return i
		}
	}
	return nil
}

// usable reports whether an invite code, which may be nil, can be used for a sign-up.
func (m *model) usable(i *invite) bool {
	if i == nil || i.gone || i.disabled || len(i.uses) >= i.total {
		return false
	}
	owner := m.find(i.owner)
	return owner == nil || owner.takedown == 0
}

// earns returns how many new invite codes an account gets when it lists its codes.
func (m *model) earns(p *person) int {
	if !m.inviteOnly {
		return 0
	}
	may, unused := int(m.now().Sub(p.created)/earnTime), 0
	for _, i := range m.inviteCodes {
		if i.owner == p.did && i.createdBy == p.did && !i.gone {
			may--
			if !i.disabled && len(i.uses) < i.total {
				unused++
			}
		}
	}
	return max(0, min(may, maxUnused-unused))
}

// renames returns the verdict on a change of handle.
func (m *model) renames(p *person, handle string, byAdmin bool) verdict {
	if v := m.goodHandle(handle, unresolved); v != fine {
		return v
	}
	if m.reserved[plain(handle)] && !byAdmin {
		return reservedName
	}
	if other := m.find(handle); other != nil && other != p {
		return handleTaken(other.handle)
	}
	handle = plain(handle)
	if former := m.formerOwner(handle); former != "" && former != p.did && !byAdmin {
		return handleTaken(handle)
	}
	if handle == p.handle {
		return fine
	}
	m.endHolds(func(h held) bool { return h.handle == handle })
	if !byAdmin {
		m.holdHandle(p, m.hold)
	}
	p.handle = handle
	return fine
}

// updatesEmail returns the verdict on a change of address by the account itself.
func (m *model) updatesEmail(p *person, email, code string, factor *bool) verdict {
	if !strings.Contains(email, "@") {
		return badEmail
	}
	same := strings.EqualFold(email, p.email)
	if p.confirmed && code == "" {
		if same && factor != nil && *factor {
			if !p.factor && m.unvouched(p) {
				return badRequest
			}
			m.switchFactor(p, true)
			return fine
		}
		return needsCode
	}
	if p.confirmed {
		if v := m.guesses(p, toUpdate, code); v != fine {
			return v
		}
	}
	switch {
	case !same && m.find(email) != nil:
		return emailInUse
	case factor != nil && *factor && !(same && p.confirmed && (p.factor || !m.unvouched(p))):
		return badRequest
	}
	vouched := p.confirmed && !m.unvouched(p)
	m.setEmail(p, email)
	if !same && !vouched {
		p.unvouchedAt = m.now()
	}
	if factor != nil {
		m.switchFactor(p, *factor)
	}
	return fine
}

// switchFactor switches the second factor on or off. The address stays the same.
func (m *model) switchFactor(p *person, on bool) {
	if p.factor != on {
		m.expectNotice(mail.FactorChanged, p.email)
	}
	p.factor = on
}

// mayChangeDID returns the verdict on whether PLC operations are signed for an account.
func (m *model) mayChangeDID(p *person) verdict {
	if m.unvouched(p) {
		return badAddress
	}
	return fine
}

// unvouched reports whether the address isn't trusted yet since a session changed it without a
// code.
func (m *model) unvouched(p *person) bool {
	return !p.unvouchedAt.IsZero() && m.now().Sub(p.unvouchedAt) < unvouchedFor
}

// setEmail sets the address of an account. No other account has it.
func (m *model) setEmail(p *person, email string) {
	if email = strings.ToLower(email); email != p.email {
		m.expectNotice(mail.EmailChanged, p.email)
		m.expectNotice(mail.EmailChanged, email)
		if p.factor {
			m.expectNotice(mail.FactorChanged, p.email)
		}
		p.email, p.confirmed, p.factor, p.unvouchedAt = email, false, false, time.Time{}
	}
	clear(p.codes)
}

// updatesStatus returns the verdict on an admin's updateSubjectStatus.
func (m *model) updatesStatus(p *person, takedown, deactivated *bool, ref string) verdict {
	down := p.takedown != 0
	if takedown != nil {
		down = *takedown
	}
	if deactivated != nil && !*deactivated && down {
		return notActivated
	}
	if deactivated != nil {
		if *deactivated && !p.deactivated {
			m.expectNotice(mail.AccountDeactivated, p.email)
		}
		p.deactivated, p.deleteAfter = *deactivated, time.Time{}
	}
	switch {
	case takedown == nil:
	case !*takedown:
		p.takedown, p.takedownRef = 0, ""
	default:
		if p.takedown == 0 {
			m.takedownsEver++
			p.takedown = m.takedownsEver
		}
		p.takedownRef, p.deleteAfter = ref, time.Time{}
		p.endSessions()
		clear(p.codes)
	}
	return fine
}

// remove deletes an account.
func (m *model) remove(p *person) {
	p.gone = true
	p.endSessions()
	clear(p.codes)
	m.holdHandle(p, m.holdDeleted)
	if m.holdDeleted == 0 {
		m.endHolds(func(h held) bool { return h.did == p.did })
	}
	for _, i := range m.inviteCodes {
		if i.owner == p.did {
			i.gone = true
		}
	}
}

// timePasses does the background work that is due: deletions, reminders, and purging codes.
func (m *model) timePasses() {
	now := m.now()
	for _, p := range m.live() {
		if !p.deleteAfter.IsZero() && !now.Before(p.deleteAfter) {
			m.remove(p)
			p.takedown = 0
		} else if !p.deleteAfter.IsZero() && !p.reminded && !now.Before(p.deleteAfter.Add(-remindEarly)) {
			p.reminded = true
			m.expectNotice(mail.DeletionReminder, p.email)
		}
		for purpose, c := range p.codes {
			if c.expires.Before(now.Add(-codeKept)) {
				delete(p.codes, purpose)
			}
		}
	}
}
