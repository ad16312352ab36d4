package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Tests of users who hold the rotation keys of their did:plc themselves. The server can't change
// such a DID, so users publish a change first and then ask the server to adopt it.

// notOurs is how refusals begin when the server would have to change a DID and has no key for it.
const notOurs = "The rotation keys of the DID do not include the server's: "

// owner is an account whose user holds a rotation key of its DID.
type owner struct {
	*gatehousetest.Account
	s         *api
	directory did.Directory
	rotation  *atcrypto.PrivateKeyK256
}

// publish changes the DID with the user's rotation key, without the server.
func (o *owner) publish(change func(*did.Operation)) {
	o.s.t.Helper()
	if err := o.directory.Submit(o.s.t.Context(), syntax.DID(o.DID), o.sign(change)); err != nil {
		o.s.t.Fatal(err)
	}
}

// sign returns a signed operation that follows the last one.
func (o *owner) sign(change func(*did.Operation)) *did.Operation {
	o.s.t.Helper()
	op, err := o.last().Next()
	if err == nil {
		change(op)
		err = op.Sign(o.rotation)
	}
	if err != nil {
		o.s.t.Fatal(err)
	}
	return op
}

// last returns the last operation of the DID.
func (o *owner) last() *did.Operation {
	o.s.t.Helper()
	log, err := o.directory.Log(o.s.t.Context(), syntax.DID(o.DID))
	if err != nil {
		o.s.t.Fatal(err)
	}
	return log[len(log)-1]
}

// comes signs up with a DID whose only rotation key is the user's. The account isn't activated.
func (s *api) comes(directory did.Directory) *owner {
	s.t.Helper()
	stranger := outsiderIn(s.t, directory)
	came := s.come(s.serviceToken(stranger.key, stranger.id.String(), "server.createAccount"), stranger.id.String())
	came.ok()
	return &owner{came.account, s, directory, stranger.key}
}

// recommended returns the signing key that the server has for the account, as a did:key.
func (o *owner) recommended() string {
	o.s.t.Helper()
	return o.credentials()["verificationMethods"].(object)["atproto"].(string)
}

// serversKey returns the server's rotation key as a did:key.
func (o *owner) serversKey() string {
	o.s.t.Helper()
	return o.credentials()["rotationKeys"].([]any)[0].(string)
}

func (o *owner) credentials() object {
	o.s.t.Helper()
	return o.s.do(bearer(o.AccessJWT), "identity.getRecommendedDidCredentials", nil).ok()
}

// setUp points the DID to the account and this server. Its only rotation key stays the user's.
func (o *owner) setUp() {
	o.s.t.Helper()
	key := o.recommended()
	o.publish(func(op *did.Operation) {
		op.SetHandle(syntax.Handle(o.Handle))
		op.VerificationMethods[did.AtprotoKey] = key
		op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: o.s.URL}
	})
}

// movedIn returns such an account after setUp and activation.
func (s *api) movedIn() *owner {
	s.t.Helper()
	o := s.comes(s.Gatehouse.Directory)
	o.setUp()
	s.do(bearer(o.AccessJWT), "server.activateAccount", nil).ok()
	return o
}

func (o *owner) rename(handle string) *answer {
	o.s.t.Helper()
	return o.s.rename(o.Account, handle)
}

// hasHandle checks that the account has a handle and that the handle resolves to it.
func (o *owner) hasHandle(handle string) {
	o.s.t.Helper()
	if got := o.s.do(bearer(o.AccessJWT), "server.getSession", nil).ok()["handle"]; got != handle {
		o.s.t.Errorf("the account's handle is %v, want %s", got, handle)
	}
	if got := o.s.do(nobody, "identity.resolveHandle", object{"handle": handle}); got.status != 200 || got.object["did"] != o.DID {
		o.s.t.Errorf("resolveHandle of %s: %d %s", handle, got.status, got.body)
	}
}

// freed checks that another account can take a handle immediately.
func (s *api) freed(handle string) {
	s.t.Helper()
	s.rename(s.someone(), handle).ok()
}

// quiet checks that no errors were logged.
func (l *logbook) quiet(t *testing.T) {
	t.Helper()
	for _, line := range l.lines("ERROR") {
		t.Errorf("logged: %s", line)
	}
}

// activationWithAUsersKey activates an account once its DID document is right, and again after
// deactivations.
func activationWithAUsersKey(t *testing.T, s *api) {
	o := s.comes(s.Gatehouse.Directory)
	me := bearer(o.AccessJWT)
	activate := func() *answer { t.Helper(); return s.do(me, "server.activateAccount", nil) }
	valid := func(want bool) {
		t.Helper()
		if got := s.do(me, "server.checkAccountStatus", nil).ok(); got["validDid"] != want {
			t.Errorf("checkAccountStatus: %v; want validDid %v", got, want)
		}
	}
	handleFirst := "Server rotation key not included in PLC DID data, so the DID must name the account's handle: set its handle to at://" +
		o.Handle + " in the DID first, then ask again"
	const (
		noKey    = "Server rotation key not included in PLC DID data"
		endpoint = "DID document atproto_pds service endpoint does not match PDS public url"
		signing  = "DID document verification method does not match expected signing key"
	)
	key := o.recommended()
	here := func(op *did.Operation) {
		op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: s.URL}
	}
	elsewhere := func(op *did.Operation) {
		op.Services[did.AtprotoPDS] = did.Service{Type: did.AtprotoPDSType, Endpoint: "https://elsewhere.example.com"}
	}
	ourKey := func(op *did.Operation) { op.VerificationMethods[did.AtprotoKey] = key }
	for _, step := range []struct {
		change func(*did.Operation)
		want   string
	}{
		{func(op *did.Operation) { op.SetHandle("old.test") }, noKey},
		{func(op *did.Operation) { op.SetHandle(syntax.Handle(o.Handle)) }, noKey},
		{here, signing},
		{func(op *did.Operation) { elsewhere(op); ourKey(op) }, endpoint},
		{func(op *did.Operation) { here(op); op.SetHandle("old.test") }, handleFirst},
		{func(op *did.Operation) { op.AlsoKnownAs = nil }, handleFirst},
	} {
		o.publish(step.change)
		activate().refused(400, "InvalidRequest", step.want)
		valid(false)
	}
	o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(o.Handle)) })
	valid(true)
	activate().ok()
	o.hasHandle(o.Handle)
	// The new document is served immediately, although an older one was cached.
	for method, got := range map[string]object{
		"getSession": s.do(me, "server.getSession", nil).ok(),
		"resolveDid": s.do(nobody, "identity.resolveDid", object{"did": o.DID}).ok(),
	} {
		if doc, err := json.Marshal(got["didDoc"]); err != nil || !contains(string(doc), s.URL, "at://"+o.Handle) {
			t.Errorf("%s: %s, %v; want a document with %s and %s", method, doc, err, s.URL, o.Handle)
		}
	}

	// The account is deactivated and activated again, by its owner and by an admin.
	s.do(me, "server.deactivateAccount", object{}).ok()
	valid(true)
	activate().ok()
	decide := func(deactivated bool) *answer {
		t.Helper()
		return s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(o.DID), "deactivated": object{"applied": deactivated}})
	}
	decide(true).ok()
	decide(false).ok()
	if got := s.do(me, "server.getSession", nil).ok(); got["active"] != true {
		t.Errorf("getSession: %v", got)
	}
	if got := o.last().RotationKeys; len(got) != 1 || got[0] != didKey(t, o.rotation) {
		t.Errorf("the rotation keys are %v", got)
	}

	// It can't be activated while the DID names another account's handle.
	bob := s.someone()
	decide(true).ok()
	o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(bob.Handle)) })
	valid(false)
	activate().refused(400, "InvalidRequest", handleFirst)
	decide(false).refused(400, "InvalidRequest", handleFirst)

	// Once the DID has the server's rotation key, the server corrects the handle itself.
	o.publish(func(op *did.Operation) { op.RotationKeys = append(op.RotationKeys, o.serversKey()) })
	activate().ok()
}

// handleChangeWithAUsersKey changes the handle, which is refused until the DID document has it.
func handleChangeWithAUsersKey(t *testing.T, s *api) {
	for name, ask := range map[string]func(o *owner, handle string) *answer{
		"the owner": (*owner).rename,
		"an admin": func(o *owner, handle string) *answer {
			return s.give(o.Account, handle)
		},
	} {
		o := s.movedIn()
		old, wish, other := o.Handle, newHandle(), newHandle()
		early := func(handle string) {
			t.Helper()
			ask(o, handle).refused(400, "InvalidRequest", notOurs+"set its handle to at://"+strings.ToLower(handle)+" in the DID first, then ask again")
			o.hasHandle(old)
			s.freed(strings.ToLower(handle))
		}
		early(strings.ToUpper(other[:1]) + other[1:])
		s.maintain()
		o.hasHandle(old)

		// Only the first handle in alsoKnownAs counts.
		o.publish(func(op *did.Operation) { op.AlsoKnownAs = append(op.AlsoKnownAs, "at://"+wish) })
		before := len(s.log(o))
		ask(o, wish).refused(400, "InvalidRequest")
		o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(wish)) })
		ask(o, wish).ok()
		ask(o, wish).ok() // repeating it does no harm
		o.hasHandle(wish)
		if after := len(s.log(o)); after != before+1 {
			t.Errorf("by %s: the DID has %d operations, want %d, with none by the server", name, after, before+1)
		}
		s.freed(old)
		old = wish
		early(newHandle())

		// A handle on a foreign domain also has to resolve to the DID.
		o.publish(func(op *did.Operation) { op.SetHandle("foreign.example.com") })
		ask(o, "foreign.example.com").refused(400, "InvalidRequest", "External handle did not resolve to DID")
		o.hasHandle(old)
	}
}

// log returns the operations of a DID in the directory.
func (s *api) log(o *owner) []*did.Operation {
	s.t.Helper()
	log, err := o.directory.Log(s.t.Context(), syntax.DID(o.DID))
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

func publishedHandleOfAnotherAccount(t *testing.T, s *api) {
	o, bob := s.movedIn(), s.someone()
	o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(bob.Handle)) })
	o.rename(bob.Handle).refused(400, "HandleNotAvailable", "Handle already taken: "+bob.Handle)
	s.give(o.Account, bob.Handle).refused(400, "HandleNotAvailable", "Handle already taken: "+bob.Handle)
	s.maintain()
	o.hasHandle(o.Handle)
	if got := s.do(nobody, "identity.resolveHandle", object{"handle": bob.Handle}).ok(); got["did"] != bob.DID {
		t.Errorf("%s resolves to %v, want %s", bob.Handle, got, bob.DID)
	}
	if got := s.do(nobody, "identity.resolveIdentity", object{"identifier": o.DID}).ok(); got["handle"] != "handle.invalid" {
		t.Errorf("resolveIdentity: %v", got)
	}
	o.publish(func(op *did.Operation) { op.SetHandle("admin.test") })
	o.rename("admin.test").refused(400, "HandleNotAvailable", "Reserved handle")
}

// signingKeyWithAUsersKey changes the signing key, which is refused until the DID document has it.
func signingKeyWithAUsersKey(t *testing.T, s *api) {
	o, bob := s.movedIn(), s.someone()
	reserve := func(id string) string {
		t.Helper()
		input := object{}
		if id != "" {
			input["did"] = id
		}
		return s.do(nobody, "server.reserveSigningKey", input).text("signingKey")
	}
	set := func(key string) *answer {
		t.Helper()
		return s.do(admin, "admin.updateAccountSigningKey", object{"did": o.DID, "signingKey": key})
	}
	publish := func(key string) {
		t.Helper()
		o.publish(func(op *did.Operation) { op.VerificationMethods[did.AtprotoKey] = key })
	}
	// signs checks that the account has the key and that its service tokens verify with the DID
	// document.
	signs := func(want string) {
		t.Helper()
		if got := o.recommended(); got != want {
			t.Errorf("the account's key is %s, want %s", got, want)
		}
		token := s.do(bearer(o.AccessJWT), "server.getServiceAuth", object{"aud": "did:web:x.example.com"}).text("token")
		v := auth.ServiceAuthValidator{Audience: "did:web:x.example.com", Dir: directory{s.Gatehouse.Directory}, TimestampLeeway: 1000 * time.Hour}
		if _, err := v.Validate(t.Context(), token, nil); err != nil {
			t.Errorf("with the key %s: %v", want, err)
		}
	}
	first, second := o.recommended(), reserve("")
	instruction := func(key string) string {
		return notOurs + "set its verification method atproto to " + key + " in the DID first, then ask again"
	}
	set(second).refused(400, "InvalidRequest", instruction(second))
	signs(first)
	s.do(admin, "admin.updateAccountSigningKey", object{"did": bob.DID, "signingKey": second}).ok() // the refused key stays available
	second = reserve("")
	publish(second)
	set(second).ok()
	set(second).ok()
	signs(second)
	s.told(o.Email, keysChanged...)

	// A key that isn't reserved for the account isn't adopted, even if the DID document has it.
	outside := didKey(t, privateKey(t))
	for _, key := range []string{outside, reserve(bob.DID), first} {
		publish(key)
		set(key).refused(400, "InvalidRequest", "reserved signing key does not exist")
	}
	publish(second)
	signs(second)

	// A rotation refuses with the key that it generated, and with the same one until it is published.
	id := syntax.DID(o.DID)
	key, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(t.Context(), id)
	if !errors.Is(err, did.ErrNotController) || !errors.Is(err, accounts.ErrInvalidRequest) || err.Error() != instruction(key) {
		t.Fatalf("a rotation before the key is published: %s, %v", key, err)
	}
	if again, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(t.Context(), id); again != key || err == nil {
		t.Errorf("a second rotation before the key is published: %s, %v; want %s and an error", again, err, key)
	}
	signs(second)
	publish(key)
	if again, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(t.Context(), id); again != key || err != nil {
		t.Errorf("a rotation after the key was published: %s, %v; want %s", again, err, key)
	}
	signs(key)
}

// removingTheServersKey signs up here with a recovery key, removes the server's rotation key from
// the DID, and adds it back.
func removingTheServersKey(t *testing.T, s *api) {
	key := privateKey(t)
	o := &owner{s.signUp(newHandle(), object{"recoveryKey": didKey(t, key)}), s, s.Gatehouse.Directory, key}
	me := bearer(o.AccessJWT)
	request := func() *answer { t.Helper(); return s.do(me, "identity.requestPlcOperationSignature", nil) }
	sign := func(code string) *answer {
		t.Helper()
		return s.do(me, "identity.signPlcOperation", plcInput(o.Account, code))
	}
	const instruction = notOurs + "sign PLC operations with a rotation key of your own, or add the server's first"
	request().ok()
	code := s.code(o.Email, plcMail)
	o.publish(func(op *did.Operation) { op.RotationKeys = op.RotationKeys[:1] })

	sign("AAAAA-AAAAA").refused(400, "InvalidToken", "Token is invalid")
	sign(code).refused(400, "InvalidRequest", instruction)
	sent := len(s.mails(o.Email))
	request().refused(400, "InvalidRequest", instruction)
	if n := len(s.mails(o.Email)); n != sent {
		t.Errorf("%d e-mails, want still %d: a code was mailed that can't be used", n, sent)
	}
	wish := newHandle()
	o.rename(wish).refused(400, "InvalidRequest", notOurs+"set its handle to at://"+wish+" in the DID first, then ask again")
	o.hasHandle(o.Handle)
	s.do(me, "server.deactivateAccount", object{}).ok()
	s.do(me, "server.activateAccount", nil).ok()

	// The operation that adds the server's key back can be submitted through this server.
	op := o.sign(func(op *did.Operation) { op.RotationKeys = append(op.RotationKeys, o.serversKey()) })
	s.do(me, "identity.submitPlcOperation", object{"operation": op}).ok()
	s.do(me, "identity.submitPlcOperation", object{"operation": op}).ok() // as a client does that lost the answer
	signed := sign(code).ok()["operation"]
	sign(code).refused(400, "InvalidToken", "Token is invalid")
	s.do(me, "identity.submitPlcOperation", object{"operation": signed}).ok()
	s.do(me, "identity.submitPlcOperation", object{"operation": signed}).ok()
	o.rename(wish).ok()
	o.hasHandle(wish)
	if got := o.last().Data(syntax.DID(o.DID)); got.Handle() != wish || len(got.AlsoKnownAs) != 2 {
		t.Errorf("the DID document has alsoKnownAs %v", got.AlsoKnownAs)
	}
}

// endedSessionsAdoptNothing checks that a session that has ended can't have the server adopt what
// the DID document says, and neither can the token of an account that is taken down.
func endedSessionsAdoptNothing(t *testing.T, s *api) {
	for _, e := range append([]ending{revocation}, endings...) {
		o := s.movedIn()
		before, wish := o.Handle, newHandle()
		thief := *o.Account
		if e.name == revocation.name {
			_, app := s.appLogin(o.Account, "kept", false)
			thief.AccessJWT = app["accessJwt"].(string)
		} else {
			s.do(bearer(o.AccessJWT), "server.deactivateAccount", object{}).ok()
		}
		o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(wish)) })
		e.end(s, o.Account)
		e.refuses(s.rename(&thief, wish))
		if e.name != revocation.name { // app passwords can't activate accounts anyway
			e.refuses(s.do(bearer(thief.AccessJWT), "server.activateAccount", nil))
		}
		if e.name == "a takedown" {
			thief.AccessJWT = s.leave(o.Account).text("accessJwt")
			s.rename(&thief, wish).refused(400, "InvalidToken", "Bad token scope")
			s.do(bearer(thief.AccessJWT), "server.activateAccount", nil).refused(400, "InvalidToken", "Bad token scope")
		}
		s.maintain()
		if a := s.do(admin, "admin.getAccountInfo", object{"did": o.DID}); a.status == http.StatusOK && a.object["handle"] != before {
			t.Errorf("after %s the handle is %v, want %s", e.name, a.object["handle"], before)
		}
		s.freed(wish)
	}

	// An app password can change the handle until it is revoked, but can't activate the account.
	o := s.movedIn()
	_, app := s.appLogin(o.Account, "app", true)
	thief := &gatehousetest.Account{AccessJWT: app["accessJwt"].(string)}
	wish := newHandle()
	s.rename(thief, wish).refused(400, "InvalidRequest", notOurs+"set its handle to at://"+wish+" in the DID first, then ask again")
	o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(wish)) })
	s.rename(s.someone(), wish).ok() // a handle that is only in a DID document isn't held for its account
	s.rename(thief, wish).refused(400, "HandleNotAvailable", "Handle already taken: "+wish)
	wish = newHandle()
	o.publish(func(op *did.Operation) { op.SetHandle(syntax.Handle(wish)) })
	s.rename(thief, wish).ok()
	o.hasHandle(wish)
	s.do(bearer(o.AccessJWT), "server.deactivateAccount", object{}).ok()
	s.do(bearer(thief.AccessJWT), "server.activateAccount", nil).refused(400, "InvalidToken", "Bad token scope")

	// Only admins can have the server adopt a key.
	key := s.do(nobody, "server.reserveSigningKey", object{"did": o.DID}).text("signingKey")
	o.publish(func(op *did.Operation) { op.VerificationMethods[did.AtprotoKey] = key })
	for _, token := range []string{o.AccessJWT, thief.AccessJWT, s.someone().AccessJWT} {
		s.do(bearer(token), "admin.updateAccountSigningKey", object{"did": o.DID, "signingKey": key}).refused(403, "Forbidden", adminsOnly)
	}
	if got := o.recommended(); got == key {
		t.Error("the server adopted a key on a user's request")
	}
}

// invalidOperations checks the errors for invalid operations to sign and to submit. None of them
// uses up the code.
func invalidOperations(t *testing.T, s *api) {
	key := privateKey(t)
	o := &owner{s.signUp(newHandle(), object{"recoveryKey": didKey(t, key)}), s, s.Gatehouse.Directory, key}
	me := bearer(o.AccessJWT)
	s.do(me, "identity.requestPlcOperationSignature", nil).ok()
	code := s.code(o.Email, plcMail)
	pds := func(v any) object { return object{"atproto_pds": v} }
	for want, input := range map[string]object{
		"it must change the DID":                                                  {},
		`unknown property "verificationMethod"`:                                   {"verificationMethod": object{"atproto": didKey(t, key)}},
		`unknown property "rotationkeys"`:                                         {"rotationkeys": []string{}, "alsoKnownAs": []string{"at://x.test"}},
		`unknown property "services/atproto_pds/serviceEndpoint"`:                 {"services": pds(object{"type": "x", "serviceEndpoint": "https://x"})},
		`services/atproto_pds must have the property "endpoint"`:                  {"services": pds(object{"type": "x"})},
		"services/atproto_pds must be an object":                                  {"services": pds("https://x")},
		"services must be an object":                                              {"services": []string{"x"}},
		"verificationMethods/atproto must be a string":                            {"verificationMethods": object{"atproto": nil}},
		"verificationMethods/atproto must be a did:key of 256 bytes at most":      {"verificationMethods": object{"atproto": "x"}},
		"rotationKeys must have 1 to 5 keys, and has 0":                           {"rotationKeys": []string{}},
		"rotationKeys/1 must be a K-256 or P-256 did:key":                         {"rotationKeys": []string{didKey(t, key), "x"}},
		"rotationKeys/1 must not repeat a key":                                    {"rotationKeys": []string{didKey(t, key), didKey(t, key)}},
		"alsoKnownAs/0 must have 258 bytes at most":                               {"alsoKnownAs": []string{strings.Repeat("x", 300)}},
		"alsoKnownAs/1 must not repeat a name":                                    {"alsoKnownAs": []string{"at://x.test", "at://x.test"}},
		"services/x/endpoint must have 512 bytes at most":                         {"services": object{"x": object{"type": "x", "endpoint": strings.Repeat("x", 600)}}},
		`unknown property "` + strings.Repeat("x", 64) + `"`:                      {strings.Repeat("x", 999): 1},
		"verificationMethods/" + strings.Repeat("x", 32) + "... must be a string": {"verificationMethods": object{strings.Repeat("x", 999): 1}},
		"verificationMethods/a?b must be a did:key of 256 bytes at most":          {"verificationMethods": object{"a\nb": "did:key:x"}},
	} {
		input["token"] = code
		s.do(me, "identity.signPlcOperation", input).refused(400, "InvalidRequest", "Invalid operation: "+want)
	}
	for want, input := range map[string]object{
		"Input/rotationKeys must be an array":         {"rotationKeys": "x"},
		"Input/alsoKnownAs/0 must be a string":        {"alsoKnownAs": []any{1}},
		"Input/verificationMethods must be an object": {"verificationMethods": "x"},
		"Input/services must be an object":            {"services": nil},
	} {
		input["token"] = code
		s.do(me, "identity.signPlcOperation", input).refused(400, "InvalidRequest", want)
	}
	input := plcInput(o.Account, code)
	input["$type"] = "com.atproto.identity.signPlcOperation#input"
	signed := s.do(me, "identity.signPlcOperation", input).ok()["operation"].(object)

	for want, change := range map[string]func(object){
		`unknown property "verificationMethod"`:                        func(o object) { o["verificationMethod"] = object{} },
		`it must have the property "services"`:                         func(o object) { delete(o, "services") },
		"sig must be a signature in base64url":                         func(o object) { o["sig"] = "" },
		"type must be plc_operation":                                   func(o object) { clear(o); o["type"], o["prev"] = "plc_tombstone", "x" },
		"type must be plc_operation or plc_tombstone":                  func(o object) { o["type"] = "x" },
		"sig must be a signature by one of the rotation keys":          func(o object) { o["sig"] = strings.Repeat("A", 86) },
		"prev must be the CID of the last operation of " + o.DID:       func(o object) { o["prev"] = "bafyreih" },
		"prev must be null or the CID of an operation":                 func(o object) { o["prev"] = 1 },
		"verificationMethods/x must be a did:key of 256 bytes at most": func(o object) { o["verificationMethods"].(object)["x"] = "x" },
		"services/x must be an object":                                 func(o object) { o["services"].(object)["x"] = "https://x" },
		`unknown property "services/atproto_pds/serviceEndpoint"`:      func(o object) { o["services"].(object)["atproto_pds"].(object)["serviceEndpoint"] = "x" },
		"rotationKeys/2 must be a K-256 or P-256 did:key":              func(o object) { o["rotationKeys"] = append(o["rotationKeys"].([]any), "x") },
		"alsoKnownAs/2 must be a string":                               func(o object) { o["alsoKnownAs"] = append(o["alsoKnownAs"].([]any), 1) },
		"it must not be larger than 4000 bytes, and has ":              func(o object) { fill(o["services"].(object)) },
	} {
		var bad object
		b, err := json.Marshal(signed)
		if err != nil || json.Unmarshal(b, &bad) != nil {
			t.Fatal(err)
		}
		change(bad)
		a := s.do(me, "identity.submitPlcOperation", object{"operation": bad})
		message, _ := a.object["message"].(string)
		if !strings.HasPrefix(message, "Invalid operation: "+want) || a.status != 400 || a.object["error"] != "InvalidRequest" {
			t.Errorf("submitPlcOperation: %d %s; want %q", a.status, a.body, want)
		}
		// The local directory, to which anybody may submit operations, answers with the same text.
		status, body := s.directory(o.DID, bad)
		if status != 400 || want != "type must be plc_operation" && !strings.Contains(body, jsonText(want)) {
			t.Errorf("the local directory: %d %s; want %q", status, body, want)
		}
	}
	same := o.sign(func(*did.Operation) {})
	s.do(me, "identity.submitPlcOperation", object{"operation": same}).
		refused(400, "InvalidRequest", "Invalid operation: it must change the DID")
	s.do(me, "identity.submitPlcOperation", object{"operation": []string{}}).refused(400, "InvalidRequest", "Invalid operation: it must be an object")
	s.do(me, "identity.submitPlcOperation", object{"operation": signed}).ok()

	s.do(nobody, "server.createAccount", object{
		"handle": newHandle(), "email": "key@example.com", "password": "password", "recoveryKey": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
	}).refused(400, "InvalidRequest", "Invalid recovery key: recoveryKey must be a K-256 or P-256 did:key")
}

// fill adds services until an operation is too large.
func fill(services object) {
	for i := range 8 {
		services[fmt.Sprint("x", i)] = object{"type": "x", "endpoint": strings.Repeat("x", 500)}
	}
}

// jsonText returns a text with the escapes of a JSON string.
func jsonText(s string) string {
	b, _ := json.Marshal(s)
	return strings.Trim(string(b), `"`)
}

// directory submits an operation to the server's local directory.
func (s *api) directory(id string, op object) (int, string) {
	s.t.Helper()
	b, err := json.Marshal(op)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", s.URL+"/plc/"+id, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return s.fetch(req)
}

// TestUserHeldRotationKeys checks everything that users with rotation keys can do, on one server,
// and that the server logs no errors meanwhile.
func TestUserHeldRotationKeys(t *testing.T) {
	t.Parallel()
	log := new(logbook)
	onEachStage(t, []scene{
		{"activation", activationWithAUsersKey},
		{"change of handle", handleChangeWithAUsersKey},
		{"published handle of another account", publishedHandleOfAnotherAccount},
		{"change of signing key", signingKeyWithAUsersKey},
		{"removing the server's key", removingTheServersKey},
		{"ended sessions adopt nothing", endedSessionsAdoptNothing},
		{"invalid operations", invalidOperations},
	}, logged(log))
	log.quiet(t)
}

// TestHookRefusesAPublishedChange has a hook refuse a change that the user has published. The
// server can't revert the operation and doesn't try.
func TestHookRefusesAPublishedChange(t *testing.T) {
	t.Parallel()
	log, vetoed := new(logbook), new(atomic.Bool)
	onEach(t, func(t *testing.T, s *api) {
		o := s.movedIn()
		before := o.Handle
		for _, c := range []struct {
			publish func(op *did.Operation)
			ask     func() *answer
		}{
			{func(op *did.Operation) { op.SetHandle("published.test") }, func() *answer { return o.rename("published.test") }},
			{func(op *did.Operation) {
				op.VerificationMethods[did.AtprotoKey] = s.do(nobody, "server.reserveSigningKey", object{"did": o.DID}).text("signingKey")
			}, func() *answer {
				key := s.do(nobody, "server.reserveSigningKey", object{"did": o.DID}).text("signingKey")
				return s.do(admin, "admin.updateAccountSigningKey", object{"did": o.DID, "signingKey": key})
			}},
		} {
			o.publish(c.publish)
			operations := len(s.log(o))
			vetoed.Store(true)
			c.ask().refused(400, "InvalidRequest", "not in my house")
			vetoed.Store(false)
			for range 26 { // longer than the server would retry
				s.maintain()
				s.Clock.Advance(time.Hour)
			}
			s.again(o.Account)
			if n := len(s.log(o)); n != operations {
				t.Errorf("the DID has %d operations, want still %d", n, operations)
			}
			o.hasHandle(before)
			c.ask().ok() // the hook allows it now
			before = "published.test"
		}
		o.hasHandle("published.test")

		// A handle that the hook refused can be taken by another account.
		o.publish(func(op *did.Operation) { op.SetHandle("vetoed.test") })
		vetoed.Store(true)
		o.rename("vetoed.test").refused(400, "InvalidRequest", "not in my house")
		vetoed.Store(false)
		s.freed("vetoed.test")
		o.hasHandle("published.test")
	}, logged(log), config(func(c *gatehouse.Config) {
		c.Hooks = append(c.Hooks, func(_ context.Context, _ storage.Tx, c accounts.Change) error {
			if vetoed.Load() && (c.Kind == accounts.HandleChanged || c.Kind == accounts.KeyChanged) {
				return sentence("not in my house")
			}
			return nil
		})
	}))
	log.quiet(t)
	if strings.Contains(log.String(), "bringing a DID") {
		t.Error("the server tried to revert what the user published")
	}
}

// TestUserHeldRotationKeysWithAFaultyDirectory checks that codes are mailed even while the
// directory can't be reached, and that changes begun meanwhile are completed later.
func TestUserHeldRotationKeysWithAFaultyDirectory(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			directory := newFaulty(t)
			s := newAPI(t, withStore(b.open(t)), config(func(c *gatehouse.Config) { c.DIDs.Directory = directory }))
			o := s.comes(directory)
			o.setUp()
			me := bearer(o.AccessJWT)
			directory.mode.Store(unreachable)
			s.do(me, "server.activateAccount", nil).refused(http.StatusBadGateway, "UpstreamFailure")
			directory.mode.Store(works)
			s.do(me, "server.activateAccount", nil).ok()
			s.confirm(o.Account)

			directory.mode.Store(unreachable)
			s.do(me, "identity.requestPlcOperationSignature", nil).ok()
			code := s.code(o.Email, plcMail)
			s.do(me, "identity.signPlcOperation", plcInput(o.Account, code)).refused(http.StatusBadGateway, "UpstreamFailure")
			directory.mode.Store(works)
			s.do(me, "identity.signPlcOperation", plcInput(o.Account, code)).refused(400, "InvalidRequest")
			o.publish(func(op *did.Operation) { op.RotationKeys = append(op.RotationKeys, o.serversKey()) })
			s.do(me, "identity.signPlcOperation", plcInput(o.Account, code)).ok()

			// The server's operation arrives, the answer gets lost, and the user removes the server's key.
			directory.mode.Store(dying)
			o.rename("arrived.test").refused(http.StatusBadGateway, "UpstreamFailure")
			directory.mode.Store(works)
			o.publish(func(op *did.Operation) { op.RotationKeys = op.RotationKeys[:1] })
			s.maintain()
			o.hasHandle("arrived.test")

			// The server's operation doesn't arrive, and the user publishes another handle.
			o.publish(func(op *did.Operation) { op.RotationKeys = append(op.RotationKeys, o.serversKey()) })
			directory.mode.Store(unreachable)
			o.rename("lost.test").refused(http.StatusBadGateway, "UpstreamFailure")
			directory.mode.Store(works)
			o.publish(func(op *did.Operation) {
				op.RotationKeys = op.RotationKeys[:1]
				op.SetHandle("another.test")
			})
			s.maintain()
			o.rename("another.test").ok()
			o.hasHandle("another.test")
			s.freed("lost.test")
			o.last() // the directory's log can be read
		})
	}
}

// TestRaceToAdoptAPublishedHandle asks concurrently for the handle in the DID document and for
// others. The others may block it only while they are being checked.
func TestRaceToAdoptAPublishedHandle(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		o := s.movedIn()
		o.publish(func(op *did.Operation) { op.SetHandle("wanted.test") })
		counts := tally(race(func(i int) *answer {
			if i%2 == 0 {
				return o.rename("wanted.test")
			}
			return o.rename(fmt.Sprintf("early%d.test", i))
		}))
		if counts[""]+counts["InvalidRequest"] != racers {
			t.Errorf("the answers: %v; want only successes and InvalidRequest", counts)
		}
		if a := o.rename("wanted.test"); a.status != 200 {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
		o.hasHandle("wanted.test")
		s.freed("early1.test")
	})
}
