package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// requestReset requests a password reset, waits until n e-mails with reset codes have been sent to
// the address, and returns the code of the n-th.
func (v visitor) requestReset(n int, email string) string {
	v.t.Helper()
	v.do(nobody, "server.requestPasswordReset", object{"email": email}).ok()
	return v.codes(n, email, resetMail)[n-1]
}

// aResetIsNotBlockedByStrangers checks that requests by strangers don't void a reset code that the
// owner has requested.
func aResetIsNotBlockedByStrangers(t *testing.T, s *api) {
	alice := s.someone()
	first := s.from(hers).requestReset(1, alice.Email)
	for i := 2; i <= 4; i++ {
		if again := s.from(theThiefs).requestReset(i, alice.Email); again != first {
			t.Errorf("request %d replaced the code, want the valid code to be sent again", i)
		}
	}
	s.do(nobody, "server.resetPassword", object{"token": first, "password": "another password"}).ok()
}

// codesAreSentAgain checks for every purpose that a new request sends the existing code again while
// at least five of its fifteen minutes are left, and that wrong guesses at it still count then.
func codesAreSentAgain(t *testing.T, s *api) {
	alice := s.someone()
	s.confirm(alice)
	me := bearer(alice.AccessJWT)
	for method, kind := range map[string]string{
		"server.requestAccountDelete": deleteMail, "server.requestEmailConfirmation": confirmMail,
		"server.requestEmailUpdate": updateMail, "identity.requestPlcOperationSignature": plcMail,
	} {
		n := len(s.mails(alice.Email, kind))
		for range 2 {
			s.do(me, method, nil).ok()
		}
		if codes := s.codes(n+2, alice.Email, kind); codes[n] != codes[n+1] {
			t.Errorf("%s sent %q and then %q, want the same code", method, codes[n], codes[n+1])
		}
	}
	s.do(me, "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": true}).ok()
	for range 2 {
		s.login(alice.Handle, alice.Password).refused(401, "AuthFactorTokenRequired")
	}
	if codes := s.codes(2, alice.Email, signInMail); codes[0] != codes[1] {
		t.Errorf("createSession sent %q and then %q, want the same code", codes[0], codes[1])
	}

	bob := s.someone()
	stranger := s.from(somebodys)
	reset := func(code string) *answer {
		t.Helper()
		return s.do(nobody, "server.resetPassword", object{"token": code, "password": "another password"})
	}
	first := stranger.requestReset(1, bob.Email)
	s.Clock.Advance(10 * time.Minute)
	if again := stranger.requestReset(2, bob.Email); again != first {
		t.Errorf("with five minutes left, the codes are %q and then %q, want the same code", first, again)
	}
	s.Clock.Advance(time.Second)
	second := stranger.requestReset(3, bob.Email)
	if second == first {
		t.Error("a code was sent again although it had less than five minutes left")
	}
	reset(first).refused(400, "InvalidToken", "Token is invalid") // the newer code voids the older one
	for range 9 {
		reset(second[:6]+"AAAAA").refused(400, "InvalidToken", "Token is invalid")
	}
	stranger.requestReset(4, bob.Email)
	reset(second[:6]+"AAAAA").refused(400, "InvalidToken", "Token is invalid")
	reset(second).refused(400, "InvalidToken", "Token is invalid") // the code is void after ten wrong guesses
	reset(stranger.requestReset(5, bob.Email)).ok()
}

// TestFloodsOfRequestsDoNotVoidCodes checks that nobody loses a code because others request more.
func TestFloodsOfRequestsDoNotVoidCodes(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"strangers request resets", aResetIsNotBlockedByStrangers},
		{"codes are sent again", codesAreSentAgain},
	})
}

// TestPasswordResetsPerRecipientAreLimited checks that a recipient gets at most ten e-mails with
// reset codes per hour, and at most five of them at the request of one client address. Further
// requests get the same answer, so that it doesn't reveal whether the account exists.
func TestPasswordResetsPerRecipientAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
	flood := func(first int) {
		for i := first; i < first+14; i++ { // each from another client address
			s.from(fmt.Sprint("203.0.113.", i)).do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		}
	}
	// sent returns how many e-mails the flood has sent to alice. It first waits for an e-mail to
	// bob, the others-th, which is in the same queue behind those of the flood.
	sent := func(others int) int {
		s.from(hers).requestReset(others, bob.Email)
		return len(s.mails(alice.Email, resetMail))
	}
	for range 10 {
		s.from(theThiefs).do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
	}
	s.codes(5, alice.Email, resetMail)
	if n := sent(1); n != 5 {
		t.Errorf("one client address caused %d e-mails in an hour, want 5", n)
	}
	flood(1)
	s.codes(10, alice.Email, resetMail)
	if n := sent(2); n != 10 {
		t.Errorf("the recipient got %d e-mails in an hour, want 10", n)
	}
	s.Clock.Advance(time.Hour)
	flood(20)
	s.codes(20, alice.Email, resetMail)
	if n := sent(3); n != 20 {
		t.Errorf("the recipient got %d e-mails in two hours, want 20", n)
	}
}

// TestEmailsPerRecipientAreLimited checks that a recipient gets at most 15 e-mails with codes per
// hour. Password resets have a limit of their own. The limit stays with the address if the account
// is deleted and another signs up with it.
func TestEmailsPerRecipientAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.CreateAccount("alice.test")
	me, visitor := bearer(alice.AccessJWT), s.from(hers)
	ask := func(method string) *answer { t.Helper(); return visitor.do(me, method, nil) }
	for range 5 {
		ask("server.requestAccountDelete").ok()
		ask("server.requestEmailConfirmation").ok()
	}
	visitor.do(me, "server.confirmEmail", object{"email": alice.Email, "token": s.codes(5, alice.Email, confirmMail)[4]}).ok()
	for range 4 {
		ask("identity.requestPlcOperationSignature").ok()
	}
	visitor.do(me, "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": true}).ok()
	visitor.login(alice.Handle, alice.Password).refused(401, "AuthFactorTokenRequired")
	count := func() (n int) {
		for _, m := range s.mails(alice.Email) {
			if m.Code != "" {
				n++
			}
		}
		return n
	}
	if n := count(); n != 15 {
		t.Fatalf("%d e-mails with codes, want 15", n)
	}
	ask("identity.requestPlcOperationSignature").limitedNow()
	ask("server.requestEmailUpdate").limitedNow()
	visitor.login(alice.Handle, alice.Password).limitedNow()
	s.from(somebodys).do(me, "server.requestEmailUpdate", nil).limitedNow()
	visitor.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
	s.codes(1, alice.Email, resetMail)

	// The limit protects the recipient, so it doesn't start anew with another account.
	visitor.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
	again := s.CreateAccount("alice.test")
	visitor.do(bearer(again.AccessJWT), "server.requestEmailConfirmation", nil).limitedNow()
	if n := count(); n != 16 {
		t.Errorf("%d e-mails with codes in the end, want 16 with the password reset", n)
	}
	s.Clock.Advance(time.Hour)
	visitor.do(bearer(again.AccessJWT), "server.requestEmailConfirmation", nil).ok()
}

// TestEmailsPerClientAddressAreLimited checks that the requests of one client address cause at most
// 30 e-mails per hour, whoever the recipients are.
func TestEmailsPerClientAddressAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	thief := s.from(theThiefs)
	var all []*gatehousetest.Account
	for i := range 32 {
		all = append(all, s.CreateAccount(fmt.Sprintf("victim%d.test", i)))
	}
	for _, a := range all[:15] {
		thief.requestReset(1, a.Email)
	}
	for _, a := range all[15:30] {
		thief.do(bearer(a.AccessJWT), "server.requestAccountDelete", nil).ok()
	}
	thief.do(bearer(all[30].AccessJWT), "server.requestAccountDelete", nil).limitedNow()
	thief.do(bearer(all[31].AccessJWT), "identity.requestPlcOperationSignature", nil).limitedNow()
	s.from(hers).do(bearer(all[31].AccessJWT), "identity.requestPlcOperationSignature", nil).ok()
	s.Clock.Advance(time.Hour)
	thief.do(bearer(all[30].AccessJWT), "server.requestAccountDelete", nil).ok()
}

// appPasswordsAreBounded checks that an account can have at most 100 app passwords.
func appPasswordsAreBounded(t *testing.T, s *api) {
	alice := s.someone()
	me := bearer(alice.AccessJWT)
	create := func(i int) *answer {
		t.Helper()
		return s.do(me, "server.createAppPassword", object{"name": fmt.Sprint("app ", i)})
	}
	for i := range 100 {
		create(i).ok()
	}
	create(100).refused(400, "InvalidRequest")
	s.do(me, "server.revokeAppPassword", object{"name": "app 7"}).ok()
	create(100).ok()
	if got := s.do(me, "server.listAppPasswords", nil).ok()["passwords"].([]any); len(got) != 100 {
		t.Errorf("%d app passwords, want 100", len(got))
	}
}

// sessionsAreBounded checks that an app password can have at most 100 sessions: one more ends the
// oldest of them, and no session of the account password.
func sessionsAreBounded(t *testing.T, s *api) {
	alice := s.someone()
	password, first := s.appLogin(alice, "app", false)
	get := func(token any) *answer { t.Helper(); return s.do(bearer(token.(string)), "server.getSession", nil) }
	var second any
	for i := range 99 {
		s.Clock.Advance(time.Second) // so that one session is the oldest
		if out := s.login(alice.Handle, password).ok(); i == 0 {
			second = out["accessJwt"]
		}
	}
	get(first["accessJwt"]).ok()
	s.Clock.Advance(time.Second)
	s.login(alice.Handle, password).ok()
	get(first["accessJwt"]).refused(400, "ExpiredToken", "Token has been revoked")
	get(second).ok()
	get(alice.AccessJWT).ok() // older, but a session of the account password
}

// sessionsOfThePasswordAreBounded checks that the account password can have at most 200 sessions:
// one more ends the oldest of them, and no session of an app password.
func sessionsOfThePasswordAreBounded(t *testing.T, s *api) {
	alice := s.someone()
	app, session := s.appLogin(alice, "app", false)
	get := func(token any) *answer { t.Helper(); return s.do(bearer(token.(string)), "server.getSession", nil) }
	for range 199 {
		s.Clock.Advance(time.Second)
		s.login(alice.Handle, alice.Password).ok()
	}
	get(alice.AccessJWT).ok()
	s.Clock.Advance(time.Second)
	s.login(alice.Handle, alice.Password).ok()
	get(alice.AccessJWT).refused(400, "ExpiredToken", "Token has been revoked")
	get(session["accessJwt"]).ok()
	s.login(alice.Handle, app).ok()
}

// TestAppPasswordsAndSessionsAreBounded checks the limits of an account's app passwords and
// sessions. The sessions of the account password take long to create, so their limit is checked in
// memory only.
func TestAppPasswordsAndSessionsAreBounded(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"app passwords", appPasswordsAreBounded},
		{"sessions of an app password", sessionsAreBounded},
	})
	sessionsOfThePasswordAreBounded(t, newAPI(t))
}

// TestKeyReservationsPerDayAreLimited checks that a client address can reserve at most 100 signing
// keys per day.
func TestKeyReservationsPerDayAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	reserve := func(address string) *answer {
		t.Helper()
		return s.from(address).do(nobody, "server.reserveSigningKey", object{})
	}
	for range 2 {
		for range 50 {
			reserve(theThiefs).ok()
		}
		s.Clock.Advance(5 * time.Minute)
	}
	reserve(theThiefs).limitedNow()
	reserve(hers).ok()
	s.Clock.Advance(24 * time.Hour)
	reserve(theThiefs).ok()
}

// TestSignUpsPerDayAreLimited checks that a client address can make at most 300 sign-ups per day,
// and submit at most 300 operations to the local PLC directory, each of which would add to its log.
func TestSignUpsPerDayAreLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	signUp := func(address string) *answer {
		t.Helper()
		return s.from(address).do(nobody, "server.createAccount", object{})
	}
	submit := func(address string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.URL+"/plc/"+noSuchDID, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", address)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for range 3 {
		for range 100 {
			signUp(theThiefs).refused(400, "InvalidRequest")
			if status := submit(theThiefs); status != 400 {
				t.Errorf("an invalid PLC operation: %d, want 400", status)
			}
		}
		s.Clock.Advance(5 * time.Minute)
	}
	signUp(theThiefs).limitedNow()
	signUp(hers).refused(400, "InvalidRequest")
	if mine, theirs := submit(theThiefs), submit(hers); mine != 429 || theirs != 400 {
		t.Errorf("PLC operation 301 of an address: %d, want 429; the first of another address: %d, want 400", mine, theirs)
	}
}

// TestRateLimiterRowsAreBounded checks that a client that makes up identifiers creates no more rows
// in the shared limiter than it has attempts.
func TestRateLimiterRowsAreBounded(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, store storage.Store) {
		shared, err := ratelimit.NewShared(t.Context(), store, ratelimit.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s := newAPI(t, withStore(store), limited, config(func(c *gatehouse.Config) { c.Limits.Limiter = shared }))
		thief := s.from(theThiefs)
		for i := range 130 {
			thief.login(fmt.Sprintf("made-up-%d.test", i), "wrong")
			thief.do(nobody, "server.deleteAccount", object{"did": fmt.Sprintf("did:web:made-up-%d.test", i), "password": "wrong", "token": "AAAAA-AAAAA"})
		}
		rows := 0
		err = s.Store.View(t.Context(), func(tx storage.Tx) error {
			rows = 0
			for _, err := range tx.Scan("rate_limits", storage.Range{}) {
				if err != nil {
					return err
				}
				rows++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if rows > 220 { // two for each of the hundred identifiers tried, and some for the address
			t.Errorf("a client address created %d rows, want at most 220", rows)
		}
	})
}

// countingStore counts the reads of each table in Views.
type countingStore struct {
	storage.Store
	mu    sync.Mutex
	reads map[string]int
}

func (c *countingStore) read(kind, table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[kind+" "+table]++
}

// count returns the number of reads by kind and table: "one of accounts" counts the reads of single
// documents of the table accounts, "some of accounts" its scans.
func (c *countingStore) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[what]
}

func (c *countingStore) View(ctx context.Context, fn func(storage.Tx) error) error {
	return c.Store.View(ctx, func(tx storage.Tx) error { return fn(countingTx{tx, c}) })
}

type countingTx struct {
	storage.Tx
	c *countingStore
}

func (tx countingTx) Get(table, key string) ([]byte, error) {
	tx.c.read("one of", table)
	return tx.Tx.Get(table, key)
}

func (tx countingTx) GetBy(table, index, value string) ([]byte, error) {
	tx.c.read("one of", table)
	return tx.Tx.GetBy(table, index, value)
}

func (tx countingTx) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	tx.c.read("some of", table)
	return tx.Tx.Scan(table, r)
}

// TestPublicEndpointsAreCached checks that _health and the well-known documents, which anyone may
// request without limit, read the store at most once per second.
func TestPublicEndpointsAreCached(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			store := &countingStore{Store: b.open(t), reads: map[string]int{}}
			s := newAPI(t, withStore(store), config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
			s.signUp("alice.test")
			for path, counted := range map[string]string{
				"/xrpc/_health": "some of secrets", "/.well-known/atproto-did": "one of accounts", "/.well-known/did.json": "one of accounts",
			} {
				began, before := time.Now(), store.count(counted)
				const times = 50
				host := "alice.test"
				if strings.HasPrefix(path, "/xrpc/") {
					host = "localhost"
				}
				for range times {
					if status, body := s.get(host, path); status != 200 {
						t.Fatalf("%s: %d %s", path, status, body)
					}
				}
				// A response is cached for one second, so the store is read anew in each second
				// that the loop took.
				most := 2 * (2 + int(time.Since(began).Seconds()))
				if n := store.count(counted) - before; n > most {
					t.Errorf("%s: %d requests read the store %d times, want at most %d", path, times, n, most)
				}
			}
		})
	}
}

// TestCachedResponsesAreInvalidatedByChanges checks that a change made by this process shows at
// once in atproto-did, although responses are cached for a second.
func TestCachedResponsesAreInvalidatedByChanges(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		answers := func(host string, want int, body ...string) {
			t.Helper()
			for range 2 { // the second response comes from the cache
				if status, got := s.get(host, "/.well-known/atproto-did"); status != want || !contains(got, body...) {
					t.Errorf("atproto-did at %s: %d %s, want %d %q", host, status, got, want, body)
				}
			}
		}
		answers("alice.test", 404)
		alice := s.signUp("alice.test")
		answers("alice.test", 200, alice.DID)
		answers("alicia.test", 404)
		s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": "alicia.test"}).ok()
		answers("alice.test", 404)
		answers("alicia.test", 200, alice.DID)
		s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
		answers("alicia.test", 200, alice.DID)
		s.do(bearer(alice.AccessJWT), "server.activateAccount", nil).ok()
		answers("alicia.test", 200, alice.DID)
		s.takeDown(alice.DID, "case 1")
		answers("alicia.test", 404)
		s.lift(alice.DID)
		answers("alicia.test", 200, alice.DID)
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		answers("alicia.test", 404)
		again := s.signUp("alicia.test")
		answers("alicia.test", 200, again.DID)
	})
}

// askedDirectory counts the requests to a directory by DID.
type askedDirectory struct {
	did.Directory
	mu    sync.Mutex
	times map[string]int
}

func asked(d did.Directory) *askedDirectory {
	return &askedDirectory{Directory: d, times: map[string]int{}}
}

func (d *askedDirectory) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	d.about(id)
	return d.Directory.Submit(ctx, id, op)
}

func (d *askedDirectory) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	d.about(id)
	return d.Directory.Log(ctx, id)
}

func (d *askedDirectory) about(id syntax.DID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times[id.String()]++
}

func (d *askedDirectory) count(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.times[id]
}

// total returns the number of requests about all DIDs.
func (d *askedDirectory) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.times {
		n += times
	}
	return n
}

// TestJunkTokensCauseFewDirectoryRequests checks that service tokens that are evidently invalid
// cause no requests to the directory, and that tokens of one DID with wrong signatures have its
// document refreshed only once.
func TestJunkTokensCauseFewDirectoryRequests(t *testing.T) {
	t.Parallel()
	asked := asked(newDirectory(t))
	s := newAPI(t, config(func(c *gatehouse.Config) { c.DIDs.Directory = asked }))
	outsider := outsiderIn(t, asked.Directory)
	id := outsider.id.String()
	try := func(token string) {
		t.Helper()
		if a := s.come(token, id); a.status != http.StatusUnauthorized {
			t.Errorf("an invalid service token: %d %s, want 401", a.status, a.body)
		}
	}
	good := s.serviceToken(outsider.key, id, "server.createAccount")
	parts := strings.Split(good, ".")
	for range 20 {
		try("junk")
		try(parts[0] + "." + parts[1] + ".")
		try(parts[0] + "." + parts[1] + ".AAAA")
		try(s.serviceToken(outsider.key, id, "server.getSession"))
	}
	if n := asked.count(id); n != 0 {
		t.Errorf("evidently invalid tokens caused %d directory requests, want none", n)
	}
	for range 20 {
		try(s.serviceToken(privateKey(t), id, "server.createAccount"))
	}
	if n := asked.count(id); n > 2 {
		t.Errorf("tokens with wrong signatures caused %d directory requests, want at most 2", n)
	}
	for range 20 {
		try(s.serviceToken(outsider.key, noSuchDID, "server.createAccount"))
	}
	if n := asked.count(noSuchDID); n > 2 {
		t.Errorf("tokens of an unknown DID caused %d directory requests, want at most 2", n)
	}
}

// TestDIDDocumentCacheIsBoundedByBytes resolves DIDs whose documents are as large as allowed. The
// first documents have to be dropped from the cache long before it has its maximum of 10,000
// entries. The cache is in memory, so one storage backend is enough.
func TestDIDDocumentCacheIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	const (
		size = 60 << 10
		many = 36 << 20 / size // the cache keeps 32 MiB
	)
	filler := strings.Repeat("x", size)
	var fetched atomic.Int32
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.DIDs.Resolver = func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
			fetched.Add(1)
			return json.RawMessage(`{"id":"` + id.String() + `","filler":"` + filler + `"}`), nil
		}
	}))
	lookUp := func(i int, want int32) {
		t.Helper()
		before := fetched.Load()
		_, req := s.request(nobody, "identity.resolveDid", object{"did": fmt.Sprintf("did:web:host%d.example.com", i)})
		req.Header.Set("Accept-Encoding", "identity") // compression would take most of the time
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 || n < size || err != nil {
			t.Errorf("resolveDid: status %d, %d bytes, error %v; want 200 and more than %d bytes", resp.StatusCode, n, err, size)
		}
		if got := fetched.Load() - before; got != want {
			t.Errorf("document %d was fetched %d times, want %d", i, got, want)
		}
	}
	for i := range many {
		lookUp(i, 1)
	}
	lookUp(many-1, 0)
	lookUp(0, 1)
}
