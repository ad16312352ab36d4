package e2e

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// The model of a server: what its documents say that happens to accounts, without a store, a token
// or a hash.
type model struct {
	now           func() time.Time
	inviteOnly    bool
	web           bool            // DIDs are did:web
	reserved      map[string]bool // handles
	hold          time.Duration   // of a handle that its owner gives up; 0: none
	holdDeleted   time.Duration   // of the handle of a deleted account
	held          []held          // also those that are held no longer
	people        []*person       // also those who are gone
	keys          []*key          // also those that work no longer
	inviteCodes   []*invite
	takedownsEver int
	notices       map[notice]int // that have to be in the mailbox
}

// held is a handle that is held for the account that had it.
type held struct {
	handle, did string
	until       time.Time
}

// notice is an e-mail without a code.
type notice struct {
	kind mail.Kind
	to   string
}

// tells takes note of a notice that has to be sent.
func (m *model) tells(kind mail.Kind, to string) { m.notices[notice{kind, to}]++ }

// The times that the documents name.
const (
	accessLife   = 2 * time.Hour
	refreshLife  = 90 * 24 * time.Hour
	graceTime    = 2 * time.Hour
	codeLife     = 15 * time.Minute
	codeKept     = 24 * time.Hour // so long after its time a code is still called expired
	earnTime     = 7 * 24 * time.Hour
	maxGuesses   = 10
	maxUnused    = 5
	minPassword  = 8
	resendLeft   = 5 * time.Minute // a code with so much of its life left is sent again
	leastDelay   = 72 * time.Hour  // between a deactivation and a deletion
	remindEarly  = 24 * time.Hour
	unvouchedFor = 72 * time.Hour // an address is not trusted after a change without a code
)

// person is an account.
type person struct {
	did, handle, email string
	password           string // "" if it was voided
	passwords          int    // how many it has had
	signingKey         string // did:key; "" until it is seen
	created            time.Time
	confirmed, factor  bool
	takedown           int // which of all takedowns it is under; 0 for none
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

// session is a line of tokens.
type session struct {
	of      *person
	app     *app // nil for one of the account password
	created time.Time
	expires time.Time
	ended   bool
	current int               // which refresh token is the last
	until   map[int]time.Time // when those before it end
	ids     map[int]string
}

// key is an access or a refresh token.
type key struct {
	jwt        string
	of         *person
	session    *session // nil for those of an account that is taken down
	refresh    bool
	generation int // of a refresh token: which of its session
	expires    time.Time
	takedown   int // of one without a session: what it depends on
	passwords  int
}

// mailed is a code that was e-mailed.
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

// use is one of an invite code.
type use struct {
	by string
	at time.Time
}

// verdict is how a call has to be answered. An empty message stands for any.
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

// Who may call a method, in the words of docs/methods.md.
type caller int

const (
	full caller = iota
	access
	leaving
	anyToken
)

// live are the accounts that exist.
func (m *model) live() []*person {
	return slices.DeleteFunc(slices.Clone(m.people), func(p *person) bool { return p.gone })
}

// find returns the account of an identifier, or nil.
func (m *model) find(identifier string) *person {
	id := plain(identifier)
	for _, p := range m.live() {
		if id == p.did || id == p.handle || id == p.email {
			return p
		}
	}
	return nil
}

// plain is an identifier without what people paste with it.
func plain(typed string) string {
	id := strings.ToLower(strings.Trim(typed, " \u202A\u202C"))
	id = strings.TrimPrefix(strings.TrimPrefix(id, "https://bsky.app/profile/"), "at://")
	return strings.TrimSuffix(strings.TrimPrefix(id, "@"), ".")
}

// codeOf returns the code that was typed, or "" if it isn't one.
func codeOf(typed string) string {
	code := strings.NewReplacer(" ", "", "-", "", "\u2013", "").Replace(strings.ToUpper(typed))
	if len(code) != 10 {
		return ""
	}
	return code[:5] + "-" + code[5:]
}

// allows says what becomes of a call with an access token.
func (m *model) allows(k *key, who caller) verdict {
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
	case k.of.gone:
		return m.orphaned(k)
	case k.session == nil && (k.of.takedown != k.takedown || k.of.passwords != k.passwords):
		return revoked
	case k.session == nil:
		return fine
	case k.of.takedown != 0:
		return takenDown
	case k.session.over(m.now()):
		return revoked
	}
	return fine
}

// orphaned says what becomes of a token whose account is gone. Another account may have its DID.
func (m *model) orphaned(k *key) verdict {
	switch heir := m.find(k.of.did); {
	case heir == nil:
		return accountGone
	case heir.takedown != 0 && (k.session != nil || k.refresh):
		return takenDown
	}
	return revoked
}

func (s *session) over(now time.Time) bool { return s.ended || !now.Before(s.expires) }

// refreshes carries out a refresh with a token.
func (m *model) refreshes(k *key) verdict {
	now, s := m.now(), k.session
	switch {
	case !k.refresh:
		return unverified
	case !now.Before(k.expires):
		return expired
	case k.of.gone:
		return m.orphaned(k)
	case k.of.takedown != 0:
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
	s.ended = true // stolen
	return revoked
}

// endsSession carries out a logout.
func (m *model) endsSession(k *key) verdict {
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

// logsIn judges a login. The account and the app password are those of a login that may go on.
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

// app returns the app password of which something is true, or nil.
func (p *person) app(is func(*app) bool) *app {
	for _, a := range p.apps {
		if !a.revoked && is(a) {
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

// redeems uses a code up, or counts a guess.
func (m *model) redeems(p *person, purpose, typed string) verdict {
	v := m.guesses(p, purpose, typed)
	if v == fine {
		delete(p.codes, purpose)
	}
	return v
}

// guesses is redeems without using a right code up.
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

// resets judges a password reset, for which the first half of the code says whose it is.
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
			m.tells(mail.PasswordChanged, p.email)
			if !p.confirmed { // somebody else may have made the account
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

// signsUp judges a sign-up with an acceptable password. An address is one that is well formed.
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

// holds holds a handle for the account that had it.
func (m *model) holds(p *person, hold time.Duration) {
	if hold > 0 {
		m.held = append(m.held, held{p.handle, p.did, m.now().Add(hold)})
	}
}

// endsHolds ends the holds that match.
func (m *model) endsHolds(are func(held) bool) { m.held = slices.DeleteFunc(m.held, are) }

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

// inviter is the invite code with which an account came, or nil.
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

func (m *model) usable(i *invite) bool {
	if i == nil || i.gone || i.disabled || len(i.uses) >= i.total {
		return false
	}
	owner := m.find(i.owner)
	return owner == nil || owner.takedown == 0
}

// earns says how many invite codes an account gets when it asks for them.
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

// renames judges a change of an account's handle.
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
	m.endsHolds(func(h held) bool { return h.handle == handle })
	if !byAdmin {
		m.holds(p, m.hold)
	}
	p.handle = handle
	return fine
}

// updatesEmail judges a change of address by the account itself.
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

// switchFactor switches the second factor of an address that stays.
func (m *model) switchFactor(p *person, on bool) {
	if p.factor != on {
		m.tells(mail.FactorChanged, p.email)
	}
	p.factor = on
}

// mayChangeDID says whether PLC operations are signed for an account.
func (m *model) mayChangeDID(p *person) verdict {
	if m.unvouched(p) {
		return badAddress
	}
	return fine
}

// unvouched reports whether a session changed the address without a code too short a while ago.
func (m *model) unvouched(p *person) bool {
	return !p.unvouchedAt.IsZero() && m.now().Sub(p.unvouchedAt) < unvouchedFor
}

// setEmail gives an account an address that is free or its own.
func (m *model) setEmail(p *person, email string) {
	if email = strings.ToLower(email); email != p.email {
		m.tells(mail.EmailChanged, p.email)
		m.tells(mail.EmailChanged, email)
		if p.factor {
			m.tells(mail.FactorChanged, p.email)
		}
		p.email, p.confirmed, p.factor, p.unvouchedAt = email, false, false, time.Time{}
	}
	clear(p.codes)
}

// updatesStatus carries out an admin's decision.
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
			m.tells(mail.AccountDeactivated, p.email)
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
	m.holds(p, m.holdDeleted)
	if m.holdDeleted == 0 {
		m.endsHolds(func(h held) bool { return h.did == p.did })
	}
	for _, i := range m.inviteCodes {
		if i.owner == p.did {
			i.gone = true
		}
	}
}

// passes does what time does.
func (m *model) passes() {
	now := m.now()
	for _, p := range m.live() {
		if !p.deleteAfter.IsZero() && !now.Before(p.deleteAfter) {
			m.remove(p)
			p.takedown = 0
		} else if !p.deleteAfter.IsZero() && !p.reminded && !now.Before(p.deleteAfter.Add(-remindEarly)) {
			p.reminded = true
			m.tells(mail.DeletionReminder, p.email)
		}
		for purpose, c := range p.codes {
			if c.expires.Before(now.Add(-codeKept)) {
				delete(p.codes, purpose)
			}
		}
	}
}
