package e2e

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// The actions of the model test: each draws what is done, does it, and holds the answer to what the
// model says.

func (s *machine) signUp() {
	input := object{"handle": s.pasted(one(s, someHandles, "handle")), "email": s.cased(one(s, someEmails, "e-mail")), "password": one(s, somePasswords, "password")}
	if s.seldom(8, "odd handle") {
		input["handle"] = one(s, []string{"x.test", "alice.example.com"}, "handle")
	}
	code := ""
	usable := slices.DeleteFunc(slices.Clone(s.inviteCodes), func(i *invite) bool { return !s.usable(i) })
	switch {
	case s.seldom(8, "any invite code") && len(s.inviteCodes) > 0:
		code = one(s, s.inviteCodes, "invite code").code
	case s.seldom(8, "no invite code"):
	case len(usable) > 0 && s.inviteOnly:
		code = one(s, usable, "invite code").code
	case s.inviteOnly:
		code = s.makeInvite(1, nil).code
	}
	if code != "" {
		input["inviteCode"] = code
	}
	v := s.signsUp(input["handle"].(string), input["email"].(string), code)
	if s.seldom(10, "short password") {
		input["password"], v = "short", badPassword
	}
	a := s.do(nobody, "server.createAccount", input)
	if !s.expect(a, v) {
		return
	}
	p := &person{
		did: a.text("did"), handle: plain(input["handle"].(string)), email: strings.ToLower(input["email"].(string)),
		password: input["password"].(string), created: s.now(), codes: map[string]*mailed{},
	}
	if i := s.invite(code); i != nil {
		i.uses = append(i.uses, use{p.did, s.now()})
	}
	if s.web && p.did != "did:web:"+p.handle || !s.web && slices.ContainsFunc(s.people, func(other *person) bool { return other.did == p.did }) {
		s.t.Fatalf("%s got the DID %s", p.handle, p.did)
	}
	if a.text("handle") != p.handle {
		s.t.Fatalf("createAccount: %s", a.body)
	}
	s.people = append(s.people, p)
	s.open(a, p, nil)
}

func (s *machine) logIn() {
	p := s.anybody()
	identifiers := []string{p.handle, p.did, p.email}
	passwords := []string{p.password}
	for _, a := range p.apps {
		if !a.revoked {
			passwords = append(passwords, a.password)
		}
	}
	if s.seldom(4, "somebody else's") {
		identifiers = append(someHandles, someEmails...)
	}
	if s.seldom(4, "another password") {
		passwords = append([]string{"wrong password"}, somePasswords...)
		for _, other := range s.people {
			for _, a := range other.apps {
				passwords = append(passwords, a.password)
			}
		}
	}
	identifier := s.pasted(one(s, identifiers, "identifier"))
	input := object{"identifier": identifier, "password": one(s, passwords, "password"), "allowTakendown": s.flip("allowTakendown")}
	if s.seldom(8, "a sign-in code without being asked") {
		input["authFactorToken"] = s.typed(p, toSignIn)
	}
	if asked := s.createSession(input); asked != nil && !s.seldom(4, "gives up") {
		s.wait(one(s, []time.Duration{0, time.Minute, 16 * time.Minute}, "reads the e-mail after"))
		input["authFactorToken"] = s.typed(asked, toSignIn)
		s.createSession(input)
	}
}

// createSession logs in, and returns who was asked for a sign-in code.
func (s *machine) createSession(input object) (asked *person) {
	code, _ := input["authFactorToken"].(string)
	v, p, with := s.logsIn(input["identifier"].(string), input["password"].(string), code, input["allowTakendown"].(bool))
	a := s.do(nobody, "server.createSession", input)
	switch {
	case !s.expect(a, v):
		if v == needsFactor {
			s.mailed(p, toSignIn)
			return p
		}
		return nil
	case p.takedown != 0:
		s.keep(a, p, nil, 0)
	default:
		s.open(a, p, with)
	}
	s.shows(a, p, with, "createSession")
	return nil
}

func (s *machine) refresh() {
	tokens := slices.DeleteFunc(slices.Clone(s.keys), func(k *key) bool { return !k.refresh })
	if s.seldom(20, "an access token") {
		tokens = s.keys
	}
	if recent := tokens[max(0, len(tokens)-4):]; !s.seldom(4, "an old token") {
		tokens = recent
	}
	k := one(s, tokens, "token")
	v := s.refreshes(k)
	a := s.do(bearer(k.jwt), "server.refreshSession", nil)
	if !s.expect(a, v) {
		return
	}
	next := k.generation + 1
	id := jti(s.t, a.text("refreshJwt"))
	for g, other := range k.session.ids {
		if (id == other) != (g == next) {
			s.t.Fatalf("the refresh token %d of a session has the id of %d", next, g)
		}
	}
	k.session.ids[next] = id
	s.keep(a, k.of, k.session, next)
	s.shows(a, k.of, k.session.app, "refreshSession")
}

func (s *machine) deleteSession() {
	k := one(s, s.keys, "token")
	s.expect(s.do(bearer(k.jwt), "server.deleteSession", nil), s.endsSession(k))
}

func (s *machine) createApp() {
	k, v := s.as(full)
	name, privileged := one(s, someApps, "name"), s.flip("privileged")
	if v == fine && k.of.app(func(a *app) bool { return a.name == name }) != nil {
		v = badRequest
	}
	a := s.do(bearer(k.jwt), "server.createAppPassword", object{"name": name, "privileged": privileged})
	if s.expect(a, v) {
		s.tells(mail.AppPasswordCreated, k.of.email)
		k.of.apps = append(k.of.apps, &app{name: name, password: a.text("password"), privileged: privileged, created: s.now()})
	}
}

func (s *machine) listApps() {
	k, v := s.as(full)
	a := s.do(bearer(k.jwt), "server.listAppPasswords", nil)
	if !s.expect(a, v) {
		return
	}
	var want, got []string
	for _, a := range slices.Backward(k.of.apps) {
		if !a.revoked {
			want = append(want, describe(a.name, a.privileged, a.created))
		}
	}
	for _, a := range a.object["passwords"].([]any) {
		a := a.(object)
		got = append(got, describe(a["name"], a["privileged"], timeOf(a["createdAt"])))
	}
	s.same("listAppPasswords", got, want)
}

func (s *machine) revokeApp() {
	k, v := s.as(full)
	name := one(s, someApps, "name")
	if s.expect(s.do(bearer(k.jwt), "server.revokeAppPassword", object{"name": name}), v) {
		if a := k.of.app(func(a *app) bool { return a.name == name }); a != nil {
			k.of.revokeApp(a)
		}
	}
}

func (s *machine) requestReset() {
	email := "nobody@example.com"
	p := s.anybody()
	// Of an address that isn't trusted yet the server decides in the background, and so maybe when it
	// is.
	known := !p.gone && !s.unvouched(p)
	if known {
		email = one(s, []string{p.email, p.email, p.handle, p.did}, "named by")
	}
	s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": s.pasted(email)}), fine)
	if known {
		s.mailed(p, toReset)
	}
}

func (s *machine) reset() {
	p := s.anybody()
	if !p.gone && !s.unvouched(p) && p.codes[toReset] == nil && !s.seldom(4, "without a code") {
		s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": p.email}), fine)
		s.mailed(p, toReset)
	}
	code, password := s.typed(p, toReset), one(s, somePasswords, "password")
	if s.seldom(8, "short password") {
		password = "short"
	}
	v, _ := s.resets(code, password)
	s.expect(s.do(nobody, "server.resetPassword", object{"token": code, "password": password}), v)
}

// request asks for a code.
func (s *machine) request(method, purpose string, who caller) {
	k, v := s.as(who)
	if s.expect(s.do(bearer(k.jwt), method, nil), v) {
		s.mailed(k.of, purpose)
	}
}

// need asks for a code that somebody who may is about to use, mostly, if there is none.
func (s *machine) need(k *key, method, purpose string) {
	if k.of.codes[purpose] == nil && !s.seldom(4, "without a code") {
		s.expect(s.do(bearer(k.jwt), method, nil), fine)
		s.mailed(k.of, purpose)
	}
}

func (s *machine) requestConfirmation() {
	s.request("server.requestEmailConfirmation", toConfirm, access)
}

func (s *machine) requestDelete() { s.request("server.requestAccountDelete", toDelete, full) }

func (s *machine) requestUpdate() {
	k, v := s.as(full)
	a := s.do(bearer(k.jwt), "server.requestEmailUpdate", nil)
	if !s.expect(a, v) {
		return
	}
	if a.object["tokenRequired"] != k.of.confirmed {
		s.t.Fatalf("requestEmailUpdate: %s", a.body)
	}
	if k.of.confirmed {
		s.mailed(k.of, toUpdate)
	}
}

func (s *machine) confirmEmail() {
	k, v := s.as(access)
	if v == fine {
		s.need(k, "server.requestEmailConfirmation", toConfirm)
	}
	email, code := k.of.email, s.typed(k.of, toConfirm)
	if s.seldom(6, "another address") {
		email = one(s, someEmails, "e-mail")
	}
	if v == fine && email != k.of.email {
		v = wrongEmail
	}
	if v == fine {
		v = s.redeems(k.of, toConfirm, code)
	}
	if s.expect(s.do(bearer(k.jwt), "server.confirmEmail", object{"email": s.cased(email), "token": code}), v) {
		k.of.confirmed = true
	}
}

func (s *machine) updateEmail() {
	k, v := s.as(full)
	code := ""
	email := one(s, append([]string{k.of.email, k.of.email, k.of.email, k.of.email, "nonsense"}, someEmails...), "e-mail")
	input := object{"email": s.cased(email)}
	if s.flip("with a code") {
		if v == fine && k.of.confirmed {
			s.need(k, "server.requestEmailUpdate", toUpdate)
		}
		code = s.typed(k.of, toUpdate)
		input["token"] = code
	}
	var factor *bool
	if s.flip("with a factor") {
		on := !s.seldom(3, "off")
		factor, input["emailAuthFactor"] = &on, on
	}
	if v == fine {
		v = s.updatesEmail(k.of, email, code, factor)
	}
	s.expect(s.do(bearer(k.jwt), "server.updateEmail", input), v)
}

// secure takes all steps to the second factor.
func (s *machine) secure() {
	k, v := s.as(full)
	if v != fine {
		return
	}
	me, p, on := bearer(k.jwt), k.of, true
	if !p.confirmed {
		s.expect(s.do(me, "server.requestEmailConfirmation", nil), fine)
		s.mailed(p, toConfirm)
		code := p.codes[toConfirm].text
		s.expect(s.do(me, "server.confirmEmail", object{"email": p.email, "token": code}), s.redeems(p, toConfirm, code))
		p.confirmed = true
	}
	s.expect(s.do(me, "server.updateEmail", object{"email": p.email, "emailAuthFactor": true}), s.updatesEmail(p, p.email, "", &on))
}

func (s *machine) deleteAccount() {
	p := s.anybody()
	for _, k := range s.keys {
		if k.of == p && s.allows(k, full) == fine {
			s.need(k, "server.requestAccountDelete", toDelete)
			break
		}
	}
	passwords := []string{p.password, p.password, p.password, "wrong password"}
	for _, a := range p.apps {
		passwords = append(passwords, a.password)
	}
	password, code := one(s, passwords, "password"), s.typed(p, toDelete)
	v := badLeave
	if !p.gone && p.password != "" && password == p.password {
		v = s.deletes(p, code)
	}
	if s.expect(s.do(nobody, "server.deleteAccount", object{"did": s.pasted(p.did), "password": password, "token": code}), v) {
		s.remove(p)
	}
}

// deletes judges a deletion with the right password.
func (s *machine) deletes(p *person, code string) verdict {
	if p.takedown != 0 {
		return takenDown
	}
	return s.redeems(p, toDelete, code)
}

func (s *machine) requestSignature() {
	if s.web {
		return
	}
	k, v := s.as(leaving)
	if v == fine {
		v = s.mayChangeDID(k.of)
	}
	if s.expect(s.do(bearer(k.jwt), "identity.requestPlcOperationSignature", nil), v) {
		s.mailed(k.of, toSign)
	}
}

func (s *machine) sign() {
	if s.web {
		return
	}
	k, v := s.as(leaving)
	// An operation that changes nothing is refused; this one is never submitted.
	input, code := object{"alsoKnownAs": []string{"at://alias.test"}}, ""
	if !s.seldom(6, "without saying so") {
		if v == fine && s.mayChangeDID(k.of) == fine {
			s.need(k, "identity.requestPlcOperationSignature", toSign)
		}
		code = s.typed(k.of, toSign)
		input["token"] = code
	}
	switch {
	case v != fine:
	case code == "":
		v = needsSigning
	default:
		v = s.signs(k.of, code)
	}
	s.expect(s.do(bearer(k.jwt), "identity.signPlcOperation", input), v)
}

// signs judges the signature of a PLC operation.
func (s *machine) signs(p *person, code string) verdict {
	if v := s.mayChangeDID(p); v != fine {
		return v
	}
	v := s.redeems(p, toSign, code)
	if v == fine {
		s.tells(mail.PLCOperationSigned, p.email)
	}
	return v
}

// guess guesses at a code for long enough to void it, or not quite, and then knows it.
func (s *machine) guess() {
	k, v := s.as(full)
	if v != fine {
		return
	}
	purposes := map[string]string{
		toReset: "", toConfirm: "server.requestEmailConfirmation", toDelete: "server.requestAccountDelete", toSign: "identity.requestPlcOperationSignature",
	}
	if s.web || s.unvouched(k.of) {
		delete(purposes, toSign)
	}
	if s.unvouched(k.of) {
		delete(purposes, toReset)
	}
	purpose := one(s, slices.Sorted(maps.Keys(purposes)), "purpose")
	if purpose == toReset {
		s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": k.of.email}), fine)
		s.mailed(k.of, toReset)
	} else {
		s.need(k, purposes[purpose], purpose)
	}
	code := s.last[k.of.did+purpose]
	if code == "" {
		return
	}
	for range maxGuesses - 2 + evenly(3).Draw(s.rt, "guesses") {
		s.spend(k.of, bearer(k.jwt), purpose, almost(code))
	}
	s.spend(k.of, bearer(k.jwt), purpose, code)
}

// spend tries a code for what it is for.
func (s *machine) spend(p *person, me, purpose, code string) {
	switch purpose {
	case toReset:
		v, _ := s.resets(code, "password-one")
		s.expect(s.do(nobody, "server.resetPassword", object{"token": code, "password": "password-one"}), v)
	case toConfirm:
		if s.expect(s.do(me, "server.confirmEmail", object{"email": p.email, "token": code}), s.redeems(p, toConfirm, code)) {
			p.confirmed = true
		}
	case toSign:
		s.expect(s.do(me, "identity.signPlcOperation", object{"token": code, "alsoKnownAs": []string{"at://alias.test"}}), s.signs(p, code))
	case toDelete:
		v := badLeave
		if p.password != "" {
			v = s.deletes(p, code)
		}
		if s.expect(s.do(nobody, "server.deleteAccount", object{"did": p.did, "password": p.password, "token": code}), v) {
			s.remove(p)
		}
	}
}

// look calls methods that change nothing.
func (s *machine) look() {
	type method struct {
		name  string
		who   caller
		input object
	}
	m := one(s, []method{
		{"server.checkAccountStatus", access, nil}, {"temp.checkSignupQueue", access, nil},
		{"identity.getRecommendedDidCredentials", access, nil},
		{"server.getServiceAuth", anyToken, object{"aud": "did:web:elsewhere.test"}},
	}, "at")
	k, v := s.as(m.who)
	if v == fine && k.session == nil && m.name == "server.getServiceAuth" {
		v = badScope // whoever is taken down may have one for moving elsewhere, and for nothing else
	}
	a := s.do(bearer(k.jwt), m.name, m.input)
	if !s.expect(a, v) {
		return
	}
	if active, ok := a.object["activated"].(bool); ok && m.name == "server.checkAccountStatus" && (active == k.of.deactivated || a.object["validDid"] != true) {
		s.t.Fatalf("checkAccountStatus: %s", a.body)
	}
}

func (s *machine) deactivate() {
	k, v := s.as(leaving)
	input, after := object{}, time.Time{}
	if s.flip("with a time") {
		after = s.now().Add(one(s, someTimes, "delete after"))
		input["deleteAfter"] = after.UTC().Format(time.RFC3339)
	}
	if v == fine && k.session == nil && !after.IsZero() {
		v = badScope // nobody but an admin deletes an account that is taken down
	}
	if !s.expect(s.do(bearer(k.jwt), "server.deactivateAccount", input), v) {
		return
	}
	if least := s.now().Add(leastDelay); !after.IsZero() && after.Before(least) {
		after = least
	}
	k.of.deactivated, k.of.deleteAfter, k.of.reminded = true, after, false
	if after.IsZero() {
		s.tells(mail.AccountDeactivated, k.of.email)
	} else {
		s.tells(mail.DeletionScheduled, k.of.email)
	}
}

func (s *machine) activate() {
	k, v := s.as(full)
	if s.expect(s.do(bearer(k.jwt), "server.activateAccount", nil), v) {
		k.of.deactivated, k.of.deleteAfter = false, time.Time{}
	}
}

func (s *machine) someHandle() string {
	if s.seldom(8, "odd handle") {
		return one(s, []string{"x.test", "alice.example.com"}, "handle")
	}
	return s.pasted(one(s, someHandles, "handle"))
}

func (s *machine) updateHandle() {
	k, v := s.as(access)
	handle := s.someHandle()
	if v == fine {
		v = s.renames(k.of, handle, false)
	}
	s.expect(s.do(bearer(k.jwt), "identity.updateHandle", object{"handle": handle}), v)
}

func (s *machine) reserveHandle() {
	handle := one(s, []string{"carol.test", "dylan.test"}, "handle")
	s.expect(s.do(admin, "temp.addReservedHandle", object{"handle": s.pasted(handle)}), fine)
	s.reserved[handle] = true
}

func (s *machine) createInvite() {
	var owner *person
	if len(s.people) > 0 && s.flip("for an account") {
		owner = s.anybody()
	}
	s.makeInvite(1+evenly(2).Draw(s.rt, "more uses"), owner)
}

func (s *machine) makeInvite(total int, owner *person) *invite {
	i := &invite{owner: "admin", createdBy: "admin", total: total, created: s.now()}
	input := object{"useCount": total}
	if owner != nil {
		i.owner = owner.did
		input["forAccount"] = owner.did
	}
	i.code = s.do(admin, "server.createInviteCode", input).text("code")
	s.inviteCodes = append(s.inviteCodes, i)
	return i
}

func (s *machine) ownInvites() {
	k, v := s.as(full)
	includeUsed, earn := !s.seldom(3, "unused only"), !s.seldom(3, "not earning")
	a := s.do(bearer(k.jwt), "server.getAccountInviteCodes", object{"includeUsed": includeUsed, "createAvailable": earn})
	if !s.expect(a, v) {
		return
	}
	if n := s.earns(k.of); earn && n > 0 {
		s.learnInvites(k.of, n)
	}
	var want, got []string
	for _, i := range s.inviteCodes {
		if i.owner == k.of.did && !i.gone && !i.disabled && (includeUsed || len(i.uses) < i.total) {
			want = append(want, i.String())
		}
	}
	for _, c := range a.object["codes"].([]any) {
		got = append(got, inviteOf(c).String())
	}
	slices.Sort(want)
	slices.Sort(got)
	s.same("getAccountInviteCodes", got, want)
}

// earn lets accounts live long enough to earn invite codes.
func (s *machine) earn() {
	s.adminAccountInvites()
	s.wait(one(s, []time.Duration{8 * 24 * time.Hour, 40 * 24 * time.Hour}, "later"))
	s.ownInvites()
	s.ownInvites()
}

// learnInvites takes note of codes that an account has just earned.
func (s *machine) learnInvites(p *person, n int) {
	for _, c := range s.do(admin, "admin.getInviteCodes", object{"limit": 500}).ok()["codes"].([]any) {
		if i := inviteOf(c); s.invite(i.code) == nil {
			s.inviteCodes = append(s.inviteCodes, &invite{
				code: i.code, owner: p.did, createdBy: p.did, total: 1, created: s.now(), disabled: p.invitesDisabled,
			})
			n--
		}
	}
	if n != 0 {
		s.t.Fatalf("%s earned %d invite codes less than it should", p.did, n)
	}
}

// judge says how an admin's action on an account ends.
func (p *person) judge() verdict {
	if p.gone {
		return unknownAccount(p.did)
	}
	return fine
}

func (s *machine) adminPassword() {
	p, password := s.anybody(), one(s, somePasswords, "password")
	v := p.judge()
	if s.seldom(8, "short password") {
		if password = "short"; v == fine {
			v = badPassword
		}
	}
	if s.expect(s.do(admin, "admin.updateAccountPassword", object{"did": p.did, "password": password}), v) {
		p.setPassword(password)
		s.tells(mail.PasswordChanged, p.email)
	}
}

func (s *machine) adminEmail() {
	p, email := s.anybody(), one(s, someEmails, "e-mail")
	v := p.judge()
	if other := s.find(email); v == fine && other != nil && other != p {
		v = emailInUse
	}
	if s.expect(s.do(admin, "admin.updateAccountEmail", object{"account": p.did, "email": s.cased(email)}), v) {
		s.setEmail(p, email)
	}
}

func (s *machine) adminHandle() {
	p, handle := s.anybody(), s.someHandle()
	v := p.judge()
	if v == fine {
		v = s.renames(p, handle, true)
	}
	s.expect(s.do(admin, "admin.updateAccountHandle", object{"did": p.did, "handle": handle}), v)
}

func (s *machine) adminKey() {
	p := s.anybody()
	key := p.signingKey // which it may have again
	switch one(s, []string{"reserved", "own", "another's"}, "key") {
	case "reserved":
		key = ""
	case "another's":
		key = s.anybody().signingKey
	}
	if key == "" {
		key = s.do(nobody, "server.reserveSigningKey", object{}).text("signingKey")
	}
	v := p.judge()
	if slices.ContainsFunc(s.people, func(other *person) bool { return other != p && other.signingKey == key }) && p.signingKey != key && v == fine {
		v = notReserved
	}
	if s.expect(s.do(admin, "admin.updateAccountSigningKey", object{"did": p.did, "signingKey": key}), v) {
		if p.signingKey != key {
			s.tells(mail.KeysChanged, p.email)
		}
		p.signingKey = key
	}
}

func (s *machine) adminStatus() {
	s.wait(time.Second) // two takedowns in a moment would be one
	p := s.anybody()
	yes, no := true, false
	wish := one(s, []struct{ takedown, deactivated *bool }{
		{&yes, nil}, {&yes, nil}, {&no, nil}, {&no, nil}, {nil, &yes}, {nil, &no}, {&yes, &yes}, {&no, &no}, {&no, &yes}, {&yes, &no},
	}, "status")
	ref := one(s, []string{"case 1", "case 2"}, "ref")
	input := object{"subject": object{"$type": "com.atproto.admin.defs#repoRef", "did": p.did}}
	if wish.takedown != nil {
		input["takedown"] = object{"applied": *wish.takedown, "ref": ref}
	}
	if wish.deactivated != nil {
		input["deactivated"] = object{"applied": *wish.deactivated}
	}
	v := p.judge()
	stuck := s.stuck(p.did) != nil
	switch {
	case wish.takedown == &yes && wish.deactivated == &no:
		v = contradicts
	case stuck && wish.takedown == &no && wish.deactivated == nil:
		v = fine
	case stuck:
		v = notThere
	case v == fine:
		v = s.updatesStatus(p, wish.takedown, wish.deactivated, ref)
	}
	if s.expect(s.do(admin, "admin.updateSubjectStatus", input), v) && stuck {
		s.stuck(p.did).takedown = 0
	}
}

func (s *machine) adminAccountInvites() {
	p, disable := s.anybody(), s.flip("disable")
	method, input, note := "admin.enableAccountInvites", object{"account": p.did}, one(s, []string{"", "a note"}, "note")
	if disable {
		method = "admin.disableAccountInvites"
	}
	if note != "" {
		input["note"] = note
	}
	if s.expect(s.do(admin, method, input), p.judge()) {
		p.invitesDisabled, p.inviteNote = disable, note
	}
}

func (s *machine) adminInviteCodes() {
	input := object{"codes": []string{"unknown"}}
	var hit func(*invite) bool
	if len(s.inviteCodes) > 0 && s.flip("one by one") {
		i := one(s, s.inviteCodes, "invite code")
		input["codes"] = []string{i.code, "unknown"}
		hit = func(other *invite) bool { return other == i }
	} else {
		p := s.anybody()
		input["accounts"] = []string{p.did}
		hit = func(i *invite) bool { return i.owner == p.did }
	}
	s.expect(s.do(admin, "admin.disableInviteCodes", input), fine)
	for _, i := range s.inviteCodes {
		if hit(i) {
			i.disabled = true
		}
	}
}

func (s *machine) adminDelete() {
	p := s.anybody()
	if s.expect(s.do(admin, "admin.deleteAccount", object{"did": p.did}), p.judge()) {
		s.remove(p)
	}
}

func (s *machine) adminRevoke() {
	p := s.anybody()
	account := p.did
	if !p.gone && s.flip("by handle") {
		account = p.handle
	}
	if s.expect(s.do(admin, "temp.revokeAccountCredentials", object{"account": account}), p.judge()) {
		p.setPassword("")
		for _, a := range p.apps {
			p.revokeApp(a)
		}
	}
}
