package e2e

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// The actions of the model test. Each draws its input, calls the server, and compares the answer
// with the model's verdict.

func (s *machine) signUp() {
	input := object{"handle": s.pasted(pick(s, someHandles, "handle")), "email": s.cased(pick(s, someEmails, "e-mail")), "password": pick(s, somePasswords, "password")}
	if s.seldom(8, "odd handle") {
		input["handle"] = pick(s, []string{"x.test", "alice.example.com"}, "handle")
	}
	code := ""
	usable := slices.DeleteFunc(slices.Clone(s.inviteCodes), func(i *invite) bool { return !s.usable(i) })
	switch {
	case s.seldom(8, "any invite code") && len(s.inviteCodes) > 0:
		code = pick(s, s.inviteCodes, "invite code").code
	case s.seldom(8, "no invite code"):
	case len(usable) > 0 && s.inviteOnly:
		code = pick(s, usable, "invite code").code
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
		s.t.Fatalf("the account %s got the unexpected DID %s", p.handle, p.did)
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
	identifier := s.pasted(pick(s, identifiers, "identifier"))
	input := object{"identifier": identifier, "password": pick(s, passwords, "password"), "allowTakendown": s.flip("allowTakendown")}
	if s.seldom(8, "a sign-in code without being asked") {
		input["authFactorToken"] = s.typed(p, toSignIn)
	}
	if asked := s.createSession(input); asked != nil && !s.seldom(4, "gives up") {
		s.wait(pick(s, []time.Duration{0, time.Minute, 16 * time.Minute}, "reads the e-mail after"))
		input["authFactorToken"] = s.typed(asked, toSignIn)
		s.createSession(input)
	}
}

// createSession logs in. If a sign-in code is needed, it returns the account to which one was
// mailed.
func (s *machine) createSession(input object) (asked *person) {
	code, _ := input["authFactorToken"].(string)
	v, p, with := s.logsIn(input["identifier"].(string), input["password"].(string), code, input["allowTakendown"].(bool))
	a := s.do(nobody, "server.createSession", input)
	switch {
	case !s.expect(a, v):
		if v == needsFactor {
			s.expectCode(p, toSignIn)
			return p
		}
		return nil
	case p.takedown != 0:
		s.keep(a, p, nil, 0)
	default:
		s.open(a, p, with)
	}
	s.checkSession(a, p, with, "createSession")
	return nil
}

func (s *machine) refresh() {
	tokens := slices.DeleteFunc(slices.Clone(s.tokens), func(k *bearerToken) bool { return !k.refresh })
	if s.seldom(20, "an access token") {
		tokens = s.tokens
	}
	if recent := tokens[max(0, len(tokens)-4):]; !s.seldom(4, "an old token") {
		tokens = recent
	}
	k := pick(s, tokens, "token")
	v := s.refreshes(k)
	a := s.do(bearer(k.jwt), "server.refreshSession", nil)
	if !s.expect(a, v) {
		return
	}
	next := k.generation + 1
	id := jti(s.t, a.text("refreshJwt"))
	for g, other := range k.session.ids {
		if (id == other) != (g == next) {
			s.t.Fatalf("refresh token %d of the session has the same ID as token %d: %v", next, g, id == other)
		}
	}
	k.session.ids[next] = id
	s.keep(a, k.owner, k.session, next)
	s.checkSession(a, k.owner, k.session.app, "refreshSession")
}

func (s *machine) deleteSession() {
	k := pick(s, s.tokens, "token")
	s.expect(s.do(bearer(k.jwt), "server.deleteSession", nil), s.endsSession(k))
}

func (s *machine) createApp() {
	k, v := s.as(full)
	name, privileged := pick(s, someApps, "name"), s.flip("privileged")
	if v == fine && k.owner.app(func(a *app) bool { return a.name == name }) != nil {
		v = badRequest
	}
	a := s.do(bearer(k.jwt), "server.createAppPassword", object{"name": name, "privileged": privileged})
	if s.expect(a, v) {
		s.expectNotice(mail.AppPasswordCreated, k.owner.email)
		k.owner.apps = append(k.owner.apps, &app{name: name, password: a.text("password"), privileged: privileged, created: s.now()})
	}
}

func (s *machine) listApps() {
	k, v := s.as(full)
	a := s.do(bearer(k.jwt), "server.listAppPasswords", nil)
	if !s.expect(a, v) {
		return
	}
	var want, got []string
	for _, a := range slices.Backward(k.owner.apps) {
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
	name := pick(s, someApps, "name")
	if s.expect(s.do(bearer(k.jwt), "server.revokeAppPassword", object{"name": name}), v) {
		if a := k.owner.app(func(a *app) bool { return a.name == name }); a != nil {
			k.owner.revokeApp(a)
		}
	}
}

func (s *machine) requestReset() {
	email := "nobody@example.com"
	p := s.anybody()
	// Whether an unvouched address gets a code is decided in the background, perhaps after the address
	// has become vouched, so the model can't predict it.
	known := !p.gone && !s.unvouched(p)
	if known {
		email = pick(s, []string{p.email, p.email, p.handle, p.did}, "named by")
	}
	s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": s.pasted(email)}), fine)
	if known {
		s.expectCode(p, toReset)
	}
}

func (s *machine) reset() {
	p := s.anybody()
	if !p.gone && !s.unvouched(p) && p.codes[toReset] == nil && !s.seldom(4, "without a code") {
		s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": p.email}), fine)
		s.expectCode(p, toReset)
	}
	code, password := s.typed(p, toReset), pick(s, somePasswords, "password")
	if s.seldom(8, "short password") {
		password = "short"
	}
	v, _ := s.resets(code, password)
	s.expect(s.do(nobody, "server.resetPassword", object{"token": code, "password": password}), v)
}

// request requests a code with a drawn token.
func (s *machine) request(method, purpose string, who caller) {
	k, v := s.as(who)
	if s.expect(s.do(bearer(k.jwt), method, nil), v) {
		s.expectCode(k.owner, purpose)
	}
}

// need usually requests a code for the token's account if there is none, before the code is used.
// The token must be allowed to.
func (s *machine) need(k *bearerToken, method, purpose string) {
	if k.owner.codes[purpose] == nil && !s.seldom(4, "without a code") {
		s.expect(s.do(bearer(k.jwt), method, nil), fine)
		s.expectCode(k.owner, purpose)
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
	if a.object["tokenRequired"] != k.owner.confirmed {
		s.t.Fatalf("requestEmailUpdate: %s", a.body)
	}
	if k.owner.confirmed {
		s.expectCode(k.owner, toUpdate)
	}
}

func (s *machine) confirmEmail() {
	k, v := s.as(access)
	if v == fine {
		s.need(k, "server.requestEmailConfirmation", toConfirm)
	}
	email, code := k.owner.email, s.typed(k.owner, toConfirm)
	if s.seldom(6, "another address") {
		email = pick(s, someEmails, "e-mail")
	}
	if v == fine && email != k.owner.email {
		v = wrongEmail
	}
	if v == fine {
		v = s.redeems(k.owner, toConfirm, code)
	}
	if s.expect(s.do(bearer(k.jwt), "server.confirmEmail", object{"email": s.cased(email), "token": code}), v) {
		k.owner.confirmed = true
	}
}

func (s *machine) updateEmail() {
	k, v := s.as(full)
	code := ""
	email := pick(s, append([]string{k.owner.email, k.owner.email, k.owner.email, k.owner.email, "nonsense"}, someEmails...), "e-mail")
	input := object{"email": s.cased(email)}
	if s.flip("with a code") {
		if v == fine && k.owner.confirmed {
			s.need(k, "server.requestEmailUpdate", toUpdate)
		}
		code = s.typed(k.owner, toUpdate)
		input["token"] = code
	}
	var factor *bool
	if s.flip("with a factor") {
		on := !s.seldom(3, "off")
		factor, input["emailAuthFactor"] = &on, on
	}
	if v == fine {
		v = s.updatesEmail(k.owner, email, code, factor)
	}
	s.expect(s.do(bearer(k.jwt), "server.updateEmail", input), v)
}

// secure confirms the address of an account and switches its second factor on.
func (s *machine) secure() {
	k, v := s.as(full)
	if v != fine {
		return
	}
	me, p, on := bearer(k.jwt), k.owner, true
	if !p.confirmed {
		s.expect(s.do(me, "server.requestEmailConfirmation", nil), fine)
		s.expectCode(p, toConfirm)
		code := p.codes[toConfirm].text
		s.expect(s.do(me, "server.confirmEmail", object{"email": p.email, "token": code}), s.redeems(p, toConfirm, code))
		p.confirmed = true
	}
	s.expect(s.do(me, "server.updateEmail", object{"email": p.email, "emailAuthFactor": true}), s.updatesEmail(p, p.email, "", &on))
}

func (s *machine) deleteAccount() {
	p := s.anybody()
	for _, k := range s.tokens {
		if k.owner == p && s.allows(k, full) == fine {
			s.need(k, "server.requestAccountDelete", toDelete)
			break
		}
	}
	passwords := []string{p.password, p.password, p.password, "wrong password"}
	for _, a := range p.apps {
		passwords = append(passwords, a.password)
	}
	password, code := pick(s, passwords, "password"), s.typed(p, toDelete)
	v := badLeave
	if !p.gone && p.password != "" && password == p.password {
		v = s.deletes(p, code)
	}
	if s.expect(s.do(nobody, "server.deleteAccount", object{"did": s.pasted(p.did), "password": password, "token": code}), v) {
		s.remove(p)
	}
}

// deletes returns the verdict on a deletion with the right password.
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
		v = s.mayChangeDID(k.owner)
	}
	if s.expect(s.do(bearer(k.jwt), "identity.requestPlcOperationSignature", nil), v) {
		s.expectCode(k.owner, toSign)
	}
}

func (s *machine) sign() {
	if s.web {
		return
	}
	k, v := s.as(leaving)
	// The input must change something, since other operations are refused. The signed operation is
	// never submitted.
	input, code := object{"alsoKnownAs": []string{"at://alias.test"}}, ""
	if !s.seldom(6, "without saying so") {
		if v == fine && s.mayChangeDID(k.owner) == fine {
			s.need(k, "identity.requestPlcOperationSignature", toSign)
		}
		code = s.typed(k.owner, toSign)
		input["token"] = code
	}
	switch {
	case v != fine:
	case code == "":
		v = needsSigning
	default:
		v = s.signs(k.owner, code)
	}
	s.expect(s.do(bearer(k.jwt), "identity.signPlcOperation", input), v)
}

// signs returns the verdict on a request to sign a PLC operation.
func (s *machine) signs(p *person, code string) verdict {
	if v := s.mayChangeDID(p); v != fine {
		return v
	}
	v := s.redeems(p, toSign, code)
	if v == fine {
		s.expectNotice(mail.PLCOperationSigned, p.email)
	}
	return v
}

// guess tries wrong codes, either enough to void the code or almost enough, and then the right one.
func (s *machine) guess() {
	k, v := s.as(full)
	if v != fine {
		return
	}
	purposes := map[string]string{
		toReset: "", toConfirm: "server.requestEmailConfirmation", toDelete: "server.requestAccountDelete", toSign: "identity.requestPlcOperationSignature",
	}
	if s.web || s.unvouched(k.owner) {
		delete(purposes, toSign)
	}
	if s.unvouched(k.owner) {
		delete(purposes, toReset)
	}
	purpose := pick(s, slices.Sorted(maps.Keys(purposes)), "purpose")
	if purpose == toReset {
		s.expect(s.do(nobody, "server.requestPasswordReset", object{"email": k.owner.email}), fine)
		s.expectCode(k.owner, toReset)
	} else {
		s.need(k, purposes[purpose], purpose)
	}
	code := s.last[k.owner.did+purpose]
	if code == "" {
		return
	}
	for range maxGuesses - 2 + uniform(3).Draw(s.rt, "guesses") {
		s.spend(k.owner, bearer(k.jwt), purpose, wrongCode(code))
	}
	s.spend(k.owner, bearer(k.jwt), purpose, code)
}

// spend redeems a code with the method of its purpose.
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

// readOnly calls a method that changes nothing.
func (s *machine) readOnly() {
	type method struct {
		name  string
		who   caller
		input object
	}
	m := pick(s, []method{
		{"server.checkAccountStatus", access, nil}, {"temp.checkSignupQueue", access, nil},
		{"identity.getRecommendedDidCredentials", access, nil},
		{"server.getServiceAuth", anyToken, object{"aud": "did:web:elsewhere.test"}},
	}, "method")
	k, v := s.as(m.who)
	if v == fine && k.session == nil && m.name == "server.getServiceAuth" {
		v = badScope // an account that is taken down only gets service tokens for moving elsewhere
	}
	a := s.do(bearer(k.jwt), m.name, m.input)
	if !s.expect(a, v) {
		return
	}
	if active, ok := a.object["activated"].(bool); ok && m.name == "server.checkAccountStatus" && (active == k.owner.deactivated || a.object["validDid"] != true) {
		s.t.Fatalf("checkAccountStatus: %s", a.body)
	}
}

func (s *machine) deactivate() {
	k, v := s.as(leaving)
	input, after := object{}, time.Time{}
	if s.flip("with a time") {
		after = s.now().Add(pick(s, someTimes, "delete after"))
		input["deleteAfter"] = after.UTC().Format(time.RFC3339)
	}
	if v == fine && k.session == nil && !after.IsZero() {
		v = badScope // only an admin may delete an account that is taken down
	}
	if !s.expect(s.do(bearer(k.jwt), "server.deactivateAccount", input), v) {
		return
	}
	if least := s.now().Add(leastDelay); !after.IsZero() && after.Before(least) {
		after = least
	}
	k.owner.deactivated, k.owner.deleteAfter, k.owner.reminded = true, after, false
	if after.IsZero() {
		s.expectNotice(mail.AccountDeactivated, k.owner.email)
	} else {
		s.expectNotice(mail.DeletionScheduled, k.owner.email)
	}
}

func (s *machine) activate() {
	k, v := s.as(full)
	if s.expect(s.do(bearer(k.jwt), "server.activateAccount", nil), v) {
		k.owner.deactivated, k.owner.deleteAfter = false, time.Time{}
	}
}

func (s *machine) someHandle() string {
	if s.seldom(8, "odd handle") {
		return pick(s, []string{"x.test", "alice.example.com"}, "handle")
	}
	return s.pasted(pick(s, someHandles, "handle"))
}

func (s *machine) updateHandle() {
	k, v := s.as(access)
	handle := s.someHandle()
	if v == fine {
		v = s.renames(k.owner, handle, false)
	}
	s.expect(s.do(bearer(k.jwt), "identity.updateHandle", object{"handle": handle}), v)
}

func (s *machine) reserveHandle() {
	handle := pick(s, []string{"carol.test", "dylan.test"}, "handle")
	s.expect(s.do(admin, "temp.addReservedHandle", object{"handle": s.pasted(handle)}), fine)
	s.reserved[handle] = true
}

func (s *machine) createInvite() {
	var owner *person
	if len(s.people) > 0 && s.flip("for an account") {
		owner = s.anybody()
	}
	s.makeInvite(1+uniform(2).Draw(s.rt, "more uses"), owner)
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
	if n := s.earns(k.owner); earn && n > 0 {
		s.learnInvites(k.owner, n)
	}
	var want, got []string
	for _, i := range s.inviteCodes {
		if i.owner == k.owner.did && !i.gone && !i.disabled && (includeUsed || len(i.uses) < i.total) {
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

// earn advances the clock far enough for accounts to earn invite codes.
func (s *machine) earn() {
	s.adminAccountInvites()
	s.wait(pick(s, []time.Duration{8 * 24 * time.Hour, 40 * 24 * time.Hour}, "later"))
	s.ownInvites()
	s.ownInvites()
}

// learnInvites adds the n invite codes that an account has just earned to the model.
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
		s.t.Fatalf("%s earned %d invite codes fewer than expected", p.did, n)
	}
}

// judge returns the verdict on an admin's action on an account.
func (p *person) judge() verdict {
	if p.gone {
		return unknownAccount(p.did)
	}
	return fine
}

func (s *machine) adminPassword() {
	p, password := s.anybody(), pick(s, somePasswords, "password")
	v := p.judge()
	if s.seldom(8, "short password") {
		if password = "short"; v == fine {
			v = badPassword
		}
	}
	if s.expect(s.do(admin, "admin.updateAccountPassword", object{"did": p.did, "password": password}), v) {
		p.setPassword(password)
		s.expectNotice(mail.PasswordChanged, p.email)
	}
}

func (s *machine) adminEmail() {
	p, email := s.anybody(), pick(s, someEmails, "e-mail")
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
	key := p.signingKey // setting it once more is allowed
	switch pick(s, []string{"reserved", "own", "another's"}, "key") {
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
			s.expectNotice(mail.KeysChanged, p.email)
		}
		p.signingKey = key
	}
}

func (s *machine) adminStatus() {
	s.wait(time.Second) // two takedowns at the same time would be indistinguishable
	p := s.anybody()
	yes, no := true, false
	wish := pick(s, []struct{ takedown, deactivated *bool }{
		{&yes, nil}, {&yes, nil}, {&no, nil}, {&no, nil}, {nil, &yes}, {nil, &no}, {&yes, &yes}, {&no, &no}, {&no, &yes}, {&yes, &no},
	}, "status")
	ref := pick(s, []string{"case 1", "case 2"}, "ref")
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
	method, input, note := "admin.enableAccountInvites", object{"account": p.did}, pick(s, []string{"", "a note"}, "note")
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
		i := pick(s, s.inviteCodes, "invite code")
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
