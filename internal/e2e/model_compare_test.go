package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// compare compares everything observable about the server with the model. Unless everything is set,
// it skips expired tokens, deleted accounts and the handles' documents, to save time.
func (s *machine) compare(everything bool) {
	s.t.Helper()
	for _, k := range s.tokens {
		if k.refresh || !everything && !s.now().Before(k.expires) {
			continue
		}
		v := s.allows(k, anyToken)
		a := s.do(bearer(k.jwt), "server.getSession", nil)
		if s.expect(a, v) {
			var with *app
			if k.session != nil {
				with = k.session.app
			}
			s.checkSession(a, k.owner, with, "getSession")
		}
	}
	for _, p := range s.people {
		if !p.gone || everything && s.find(p.did) == nil {
			s.comparePerson(p)
		}
	}
	for _, handle := range someHandles {
		a := s.do(nobody, "identity.resolveHandle", object{"handle": handle})
		p := s.find(handle)
		v := fine
		if p == nil || p.takedown != 0 {
			v = unresolvable
		}
		if s.expect(a, v) && a.object["did"] != p.did {
			s.t.Fatalf("%s resolves to %v, want %s", handle, a.object, p.did)
		}
		if !everything {
			continue
		}
		status, body := s.get(handle, "/.well-known/atproto-did")
		if (status == 200) != (v == fine) || v == fine && body != p.did {
			s.t.Fatalf("atproto-did of %s: %d %s; want %v", handle, status, body, p)
		}
		owner := s.find("did:web:" + handle)
		status, body = s.get(handle, "/.well-known/did.json")
		if (status == 200) != (owner != nil) || owner != nil && !contains(body, `"`+owner.did+`"`, "at://"+owner.handle) {
			s.t.Fatalf("did.json of %s: %d %s", handle, status, body)
		}
	}
	var want, got []string
	for _, i := range s.inviteCodes {
		if !i.gone {
			want = append(want, i.String())
		}
	}
	for _, c := range s.do(admin, "admin.getInviteCodes", object{"limit": 500}).ok()["codes"].([]any) {
		got = append(got, inviteOf(c).String())
	}
	slices.Sort(want)
	slices.Sort(got)
	s.same("getInviteCodes", got, want)
}

// comparePerson compares what admins see of an account, and its sessions, with the model.
func (s *machine) comparePerson(p *person) {
	s.t.Helper()
	info := s.do(admin, "admin.getAccountInfo", object{"did": p.did})
	status := s.do(admin, "admin.getSubjectStatus", object{"did": p.did})
	var sessions, want []string
	list, err := s.Gatehouse.Sessions.List(context.Background(), syntax.DID(p.did))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list {
		if !s.now().Before(o.ExpiresAt) {
			continue // expired, but not yet purged
		}
		sessions = append(sessions, describe(o.AppPassword, o.CreatedAt, o.ExpiresAt))
	}
	for _, o := range slices.Backward(p.sessions) {
		if !o.over(s.now()) {
			name := ""
			if o.app != nil {
				name = o.app.name
			}
			want = append(want, describe(name, o.created, o.expires))
		}
	}
	slices.Sort(sessions) // sessions opened in the same second have no order
	slices.Sort(want)
	s.same("the sessions", sessions, want)
	if p.gone {
		s.expect(info, notFound)
		if s.stuck(p.did) == nil {
			s.expect(status, notFound)
			return
		}
		takedown := status.ok()["takedown"].(object)
		s.same("getSubjectStatus", []string{describe(takedown["applied"], takedown["ref"])}, []string{describe(true, s.stuck(p.did).takedownRef)})
		return
	}
	got := info.ok()
	note, _ := got["inviteNote"].(string)
	invitedBy := ""
	if by, ok := got["invitedBy"]; ok {
		invitedBy = inviteOf(by).String()
	}
	var own []string
	for _, c := range got["invites"].([]any) {
		own = append(own, inviteOf(c).String())
	}
	var wantOwn []string
	wantBy := ""
	for _, i := range s.inviteCodes {
		if i.owner == p.did && !i.gone {
			wantOwn = append(wantOwn, i.String())
		}
	}
	if i := s.inviter(p); i != nil {
		wantBy = i.String()
	}
	slices.Sort(own)
	slices.Sort(wantOwn)
	s.same("getAccountInfo", []string{
		describe(got["handle"], got["email"], got["emailConfirmedAt"] != nil, got["deactivatedAt"] != nil, got["invitesDisabled"], note, invitedBy, timeOf(got["indexedAt"])), fmt.Sprint(own),
	}, []string{
		describe(p.handle, p.email, p.confirmed, p.deactivated, p.invitesDisabled, p.inviteNote, wantBy, p.created), fmt.Sprint(wantOwn),
	})
	takedown, deactivated := status.ok()["takedown"].(object), status.object["deactivated"].(object)
	ref, _ := takedown["ref"].(string)
	s.same("getSubjectStatus",
		[]string{describe(takedown["applied"], ref, deactivated["applied"])},
		[]string{describe(p.takedown != 0, p.takedownRef, p.deactivated)})
}

// checkSession checks what an answer such as getSession's shows of the account.
func (s *machine) checkSession(a *answer, p *person, with *app, where string) {
	s.t.Helper()
	o := a.object
	var aka any
	if doc, ok := o["didDoc"].(object); ok {
		aka = doc["alsoKnownAs"].([]any)[0]
		key := "did:key:" + doc["verificationMethod"].([]any)[0].(object)["publicKeyMultibase"].(string)
		if p.signingKey == "" {
			p.signingKey = key
		}
		s.same(where+", signing key", []string{key}, []string{p.signingKey})
	}
	got := describe(o["did"], o["handle"], aka, o["active"], o["status"])
	want := describe(p.did, p.handle, "at://"+p.handle, p.status() == nil, p.status())
	got += describe(o["email"], o["emailConfirmed"], o["emailAuthFactor"])
	if with != nil {
		want += describe(nil, nil, nil)
	} else {
		want += describe(p.email, p.confirmed, p.factor)
	}
	s.same(where, []string{got}, []string{want})
}

// status returns the status that a session shows, which is nil for an active account.
func (p *person) status() any {
	switch {
	case p.takedown != 0:
		return "takendown"
	case p.deactivated:
		return "deactivated"
	}
	return nil
}

// compareAtEnd checks what can only be checked at the end of a sequence, since checking it changes
// the state: it uses up tokens and codes, and deletes the accounts.
func (s *machine) compareAtEnd() {
	s.compare(true)
	var all, want []string
	for _, a := range s.do(admin, "admin.searchAccounts", object{"limit": 100}).ok()["accounts"].([]any) {
		all = append(all, a.(object)["did"].(string))
	}
	for _, p := range s.live() {
		want = append(want, p.did)
	}
	slices.Sort(all)
	slices.Sort(want)
	s.same("searchAccounts", all, want)
	for _, email := range someEmails {
		found := s.do(admin, "admin.searchAccounts", object{"email": email}).ok()["accounts"].([]any)
		if p := s.find(email); (len(found) == 1) != (p != nil) || p != nil && found[0].(object)["did"] != p.did {
			s.t.Fatalf("searchAccounts for %s: %v", email, found)
		}
	}
	for _, handle := range someHandles {
		result := s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle}).ok()["result"].(object)
		if free := strings.HasSuffix(result["$type"].(string), "#resultAvailable"); free != s.free(handle) {
			s.t.Fatalf("checkHandleAvailability of %s: %v", handle, result)
		}
	}
	for _, k := range slices.Clone(s.tokens) {
		if !k.refresh {
			s.expect(s.do(bearer(k.jwt), "server.refreshSession", nil), unverified)
			continue
		}
		s.expect(s.do(bearer(k.jwt), "server.getSession", nil), unverified)
		s.expect(s.do(bearer(k.jwt), "server.refreshSession", nil), s.refreshes(k))
	}
	for _, p := range s.people {
		passwords := []string{p.password}
		for _, a := range p.apps {
			passwords = append(passwords, a.password)
		}
		for _, password := range passwords {
			for _, identifier := range []string{p.did, p.handle, p.email} {
				v, who, _ := s.logsIn(identifier, password, "", false)
				s.expect(s.login(identifier, password), v)
				if v == needsFactor {
					s.expectCode(who, toSignIn)
				}
			}
		}
	}
	// Redeem the last code of each purpose, whether or not it is still valid.
	for _, p := range s.live() {
		me := ""
		for _, k := range s.tokens {
			if k.owner == p && s.allows(k, full) == fine {
				me = bearer(k.jwt)
			}
		}
		for _, purpose := range []string{toConfirm, toSign, toReset, toDelete} {
			code := s.last[p.did+purpose]
			if code != "" && (me != "" || purpose == toReset || purpose == toDelete) {
				s.spend(p, me, purpose, code)
			}
		}
	}
	for _, p := range s.live() {
		s.expect(s.do(admin, "admin.deleteAccount", object{"did": p.did}), fine)
		s.remove(p)
	}
	s.compare(true)
}

// checkNothingIsLeft checks that the store holds no personal data once all accounts are deleted.
func (s *machine) checkNothingIsLeft() {
	// The tables that may keep a DID: the audit log, the uses of invite codes and codes made for the
	// DID, the directory, which is public, and the table that keeps takedowns of deleted accounts.
	stays := []string{"audit_log", "invite_uses", "invite_codes", "plc_directory", "former_accounts"}
	if s.holdDeleted > 0 { // held handles name the DID they are held for
		stays = append(stays, "held_handles")
	}
	tables, err := s.store.Tables(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.store.View(context.Background(), func(tx storage.Tx) error {
		for _, table := range tables {
			for r, err := range tx.Scan(table.Name, storage.Range{}) {
				if err != nil {
					return err
				}
				text := r.Key + " " + string(r.Value)
				for _, p := range s.people {
					if strings.Contains(text, p.did) && !slices.Contains(stays, table.Name) {
						s.t.Errorf("%s is deleted, but the table %s still contains it: %s", p.did, table.Name, text)
					}
				}
				for _, email := range someEmails {
					if strings.Contains(text, email) {
						s.t.Errorf("no account has the address %s, but the table %s still contains it: %s", email, table.Name, text)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// same fails the test unless two lists are equal.
func (s *machine) same(what string, got, want []string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// describe formats values as one string for comparison.
func describe(values ...any) string {
	var parts []string
	for _, v := range values {
		if t, ok := v.(time.Time); ok {
			v = t.UTC().Format(time.RFC3339)
		}
		parts = append(parts, fmt.Sprint(v))
	}
	return strings.Join(parts, " | ")
}

func timeOf(v any) time.Time {
	t, err := syntax.ParseDatetimeTime(fmt.Sprint(v))
	if err != nil {
		return time.Time{}
	}
	return t
}

func (i *invite) String() string {
	text := describe(i.code, i.owner, i.createdBy, i.total, i.disabled, i.created)
	for _, u := range i.uses {
		text += describe("", u.by, u.at)
	}
	return text
}

// inviteOf converts an invite code in an answer to the model's type.
func inviteOf(v any) *invite {
	o := v.(object)
	i := &invite{
		code: o["code"].(string), owner: o["forAccount"].(string), createdBy: o["createdBy"].(string),
		total: int(o["available"].(float64)), disabled: o["disabled"].(bool), created: timeOf(o["createdAt"]),
	}
	for _, u := range o["uses"].([]any) {
		i.uses = append(i.uses, use{u.(object)["usedBy"].(string), timeOf(u.(object)["usedAt"])})
	}
	slices.Reverse(i.uses) // answers list the newest first
	return i
}

// rapid prints the values that it drew with GoString.

func (p *person) GoString() string { return p.handle + " " + p.did }

func (k *bearerToken) GoString() string {
	what := "an access token of "
	if k.refresh {
		what = "a refresh token of "
	}
	return what + k.owner.GoString()
}

func (i *invite) GoString() string { return i.String() }
