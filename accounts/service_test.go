package accounts_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/crypto/scrypt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

var ctx = context.Background()

func params(label string) accounts.CreateParams {
	return accounts.CreateParams{Handle: label + ".test", Email: label + "@example.com", Password: "password"}
}

func TestCreateRefusesInvalidParameters(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("taken")
	for name, c := range map[string]struct {
		change func(*accounts.CreateParams)
		want   error
	}{
		"short password":   {func(p *accounts.CreateParams) { p.Password = "1234567" }, accounts.ErrInvalidPassword},
		"long password":    {func(p *accounts.CreateParams) { p.Password = strings.Repeat("é", 257) }, accounts.ErrInvalidRequest},
		"no address":       {func(p *accounts.CreateParams) { p.Email = "" }, accounts.ErrInvalidRequest},
		"a bad address":    {func(p *accounts.CreateParams) { p.Email = "x" }, accounts.ErrInvalidEmail},
		"a taken address":  {func(p *accounts.CreateParams) { p.Email = "TAKEN@example.com" }, accounts.ErrEmailTaken},
		"a bad handle":     {func(p *accounts.CreateParams) { p.Handle = "x.test" }, handle.ErrInvalid},
		"a taken handle":   {func(p *accounts.CreateParams) { p.Handle = "TAKEN.test" }, handle.ErrNotAvailable},
		"a foreign handle": {func(p *accounts.CreateParams) { p.Handle = "a.example.org" }, handle.ErrUnsupportedDomain},
		"a bad key":        {func(p *accounts.CreateParams) { p.RecoveryKey = "x" }, accounts.ErrInvalidRequest},
		"another's DID":    {func(p *accounts.CreateParams) { p.DID = "did:web:x.test" }, accounts.ErrMissingAuth},
	} {
		p := params("alice")
		c.change(&p)
		if _, err := s.Accounts.Create(ctx, p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	p := params("alice")
	p.Password = strings.Repeat("é", 256)
	a, err := s.Accounts.Create(ctx, p)
	if err != nil || a.Handle != "alice.test" || !a.CreatedAt.Equal(s.Now()) || !strings.HasPrefix(a.SigningKey, "did:key:") {
		t.Errorf("Create: %+v, %v", a, err)
	}
}

func TestHooksTakePartInTheTransaction(t *testing.T) {
	type profile struct{ DID, Text string }
	profiles := storage.NewCollection("profiles", func(p *profile) string { return p.DID })
	s := domaintest.New(t)
	if err := storage.Define(ctx, s.Store, profiles); err != nil {
		t.Fatal(err)
	}
	veto := errors.New("vetoed")
	var kinds []accounts.Kind
	s.AddHook(func(_ context.Context, tx storage.Tx, c accounts.Change) error {
		kinds = append(kinds, c.Kind)
		switch {
		case c.Kind == accounts.Creating && c.Account.Handle == "mallory.test",
			c.Kind == accounts.Created && c.Account.Handle == "late.test":
			return veto
		case c.Kind == accounts.Created:
			return profiles.Insert(tx, &profile{c.Account.DID.String(), "hello"})
		case c.Kind == accounts.Deleted:
			return profiles.Delete(tx, c.Account.DID.String())
		}
		return nil
	})
	count := func() (n int) {
		_ = s.Store.View(ctx, func(tx storage.Tx) error {
			all, err := profiles.All(tx, storage.Range{})
			n = len(all)
			return err
		})
		return n
	}
	alice := s.SignUp("alice").Account
	if count() != 1 {
		t.Errorf("%d profiles with one account", count())
	}
	for _, name := range []string{"mallory", "late"} {
		if _, err := s.Accounts.Create(ctx, params(name)); !errors.Is(err, veto) {
			t.Errorf("a vetoed sign-up of %s: %v", name, err)
		}
		if _, err := s.Accounts.Find(ctx, name+".test"); !errors.Is(err, accounts.ErrNotFound) || count() != 1 {
			t.Errorf("after a veto: %v, %d profiles", err, count())
		}
		_ = s.Store.View(ctx, func(tx storage.Tx) error {
			for rec := range tx.Scan("accounts", storage.Range{Index: "handle", From: name, To: name + "~"}) {
				t.Errorf("%s still has a record: %s", name, rec.Value)
			}
			return nil
		})
	}
	if err := s.Accounts.SetPassword(ctx, alice.DID, "another password"); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.DeleteNow(ctx, alice.DID); err != nil || count() != 0 {
		t.Errorf("after the deletion: %v, %d profiles", err, count())
	}
	want := []accounts.Kind{
		accounts.Creating, accounts.Created, accounts.Creating, accounts.Creating, accounts.Created,
		accounts.PasswordChanged, accounts.Deleted,
	}
	if len(kinds) != len(want) {
		t.Fatalf("the hooks saw %v, want %v", kinds, want)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Errorf("the hooks saw %v, want %v", kinds, want)
		}
	}
}

func TestAFunctionOfTheCallerCanUndoASignUp(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Web = true })
	no := errors.New("no")
	if _, err := s.Accounts.Create(ctx, params("alice"), func(storage.Tx, *accounts.Account) error { return no }); !errors.Is(err, no) {
		t.Errorf("Create: %v", err)
	}
	s.SignUp("alice") // the first attempt has left nothing
}

func TestAccountsAreFoundByEveryIdentifier(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	for _, id := range []string{"alice.test", "ALICE.test", " alice.test ", "alice@example.com", "Alice@Example.com", alice.DID.String(), "did:plc:" + strings.ToUpper(alice.DID.Identifier())} {
		a, err := s.Accounts.Find(ctx, id)
		if err != nil || a.DID != alice.DID {
			t.Errorf("Find(%q): %v, %v", id, a, err)
		}
	}
	for _, id := range []string{"", "bob.test", "bob@example.com", "did:plc:x", "@", strings.Repeat("x", 5000), "\x00"} {
		if a, err := s.Accounts.Find(ctx, id); !errors.Is(err, accounts.ErrNotFound) {
			t.Errorf("Find(%q): %v, %v", id, a, err)
		}
	}
}

func TestAccountsAreListedAndSearched(t *testing.T) {
	s := domaintest.New(t)
	for _, label := range []string{"carol", "alice", "alina", "bob"} {
		s.SignUp(label)
		s.Advance(time.Second)
	}
	var got []string
	for cursor := ""; ; {
		page, err := s.Accounts.List(ctx, cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Accounts {
			got = append(got, a.Handle.String())
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if strings.Join(got, " ") != "carol.test alice.test alina.test bob.test" {
		t.Errorf("List: %v", got)
	}
	page, err := s.Accounts.SearchByEmail(ctx, "ALI", "", 10)
	if err != nil || len(page.Accounts) != 2 || page.Accounts[0].Handle != "alice.test" || page.Cursor != "" {
		t.Errorf("SearchByEmail: %+v, %v", page, err)
	}
}

// TestPendingAccountsTakeNoPlaceOnAPage of a listing.
func TestPendingAccountsTakeNoPlaceOnAPage(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	for _, label := range []string{"bob", "carol"} {
		s.SignUp(label)
		s.Advance(time.Second)
	}
	dir.submitted = func(context.Context) error {
		page, err := s.Accounts.SearchByEmail(ctx, "", "", 1)
		if err != nil || len(page.Accounts) != 0 { // without a prefix nothing is found
			t.Errorf("without a prefix: %+v, %v", page, err)
		}
		for _, list := range []func(cursor string) (accounts.Page, error){
			func(cursor string) (accounts.Page, error) { return s.Accounts.List(ctx, cursor, 1) },
			func(cursor string) (accounts.Page, error) {
				return s.Accounts.SearchByEmail(ctx, "sign-up-", cursor, 1)
			},
		} {
			cursor := ""
			for _, want := range []syntax.Handle{"bob.test", "carol.test"} {
				page, err := list(cursor)
				if err != nil || len(page.Accounts) != 1 || page.Accounts[0].Handle != want {
					t.Errorf("a page: %+v, %v; want %s", page, err, want)
				}
				cursor = page.Cursor
			}
		}
		return nil
	}
	for label, address := range map[string]string{"bob": "sign-up-2@example.com", "carol": "sign-up-3@example.com"} {
		a, err := s.Accounts.Find(ctx, label+".test")
		if err == nil {
			err = s.Accounts.Emails().Set(ctx, a.DID, address)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := params("alice")
	p.Email = "sign-up-1@example.com"
	s.Advance(-time.Hour) // so that the pending account would be first in both listings
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
}

func TestAnExactAddressIsFoundFirst(t *testing.T) {
	s := domaintest.New(t)
	for label, address := range map[string]string{"alice": "a@example.co.uk", "bob": "a@example.co", "carol": "a@example.com"} {
		p := params(label)
		p.Email = address
		if _, err := s.Accounts.Create(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := s.Accounts.SearchByEmail(ctx, "A@Example.co", cursor, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Accounts {
			got = append(got, a.Email)
		}
		cursor = page.Cursor
	}
	if strings.Join(got, " ") != "a@example.co a@example.co.uk a@example.com" {
		t.Errorf("found: %v", got)
	}
}

func TestAuthenticateVerifiesThePassword(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	if p, err := authenticate(s.Accounts, "alice.test", "password"); err != nil || p.DID() != alice.DID {
		t.Errorf("the right password: %v, %v", p, err)
	}
	_, wrong := authenticate(s.Accounts, "alice.test", "wrong")
	_, unknown := authenticate(s.Accounts, "nobody.test", "wrong")
	if !errors.Is(wrong, accounts.ErrBadCredentials) || wrong.Error() != unknown.Error() {
		t.Errorf("a wrong password: %v; an unknown account: %v", wrong, unknown)
	}
	if err := s.Accounts.RevokeCredentials(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(s.Accounts, "alice.test", "password"); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("without a password: %v", err)
	}
}

// TestHashesOfTheReferenceServerAreUpgraded at the first login.
func TestHashesOfTheReferenceServerAreUpgraded(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	text := hex.EncodeToString(salt)
	key, err := scrypt.Key([]byte("an old password"), []byte(text), 16384, 8, 1, 64)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(set string) (got string) {
		t.Helper()
		table := storage.Table{Name: "accounts"}
		err := s.Store.Update(ctx, func(tx storage.Tx) error {
			for rec, err := range tx.Scan(table.Name, storage.Range{Entries: true}) {
				if err != nil {
					return err
				}
				_, rest, _ := strings.Cut(string(rec.Value), `"passwordHash":"`)
				got, _, _ = strings.Cut(rest, `"`)
				if set != "" {
					changed := strings.Replace(string(rec.Value), got, set, 1)
					return tx.Put(table.Name, storage.Document{Key: rec.Key, Value: []byte(changed), Entries: rec.Entries})
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	hash(text + ":" + hex.EncodeToString(key))
	// Of several concurrent first logins all succeed, though only one replaces the hash.
	refused := make(chan error, 8)
	for range cap(refused) {
		go func() {
			_, err := s.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: "an old password"})
			refused <- err
		}()
	}
	for range cap(refused) {
		if err := <-refused; err != nil {
			t.Errorf("a concurrent login: %v", err)
		}
	}
	for range 2 {
		if _, err := authenticate(s.Accounts, alice.DID.String(), "an old password"); err != nil {
			t.Fatal(err)
		}
		if got := hash(""); !strings.HasPrefix(got, "$argon2id$") {
			t.Errorf("after a login the hash is %s", got)
		}
	}
}

func TestACodeServesItsPurposeOnly(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	if err := s.Accounts.RequestDelete(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	code := s.Code("alice")
	if err := s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: code, Password: "another password"}); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a code for something else: %v", err)
	}
	if err := s.Accounts.RequestPasswordReset(ctx, "ALICE@example.com"); err != nil {
		t.Fatal(err)
	}
	reset := s.Code("alice")
	if err := s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: reset, Password: "short"}); !errors.Is(err, accounts.ErrInvalidPassword) {
		t.Errorf("a short password: %v", err)
	}
	if err := s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: " " + strings.ToLower(reset) + " ", Password: "another password"}); err != nil {
		t.Errorf("the code in lower case: %v", err)
	}
	if err := s.SignIn.DeleteAccount(ctx, alice.DID, "password", code); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("deleting with the old password: %v", err)
	}
	if err := s.SignIn.DeleteAccount(ctx, alice.DID, "another password", code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a code from before the reset: %v", err)
	}
	if err := s.Accounts.RequestDelete(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	if err := s.SignIn.DeleteAccount(ctx, alice.DID, "another password", s.Code("alice")); err != nil {
		t.Error(err)
	}
	if _, err := s.Accounts.Get(ctx, alice.DID); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestNothingIsLeftOfADeletedAccount in any table.
func TestNothingIsLeftOfADeletedAccount(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Invites.Interval = time.Hour })
	alice := s.SignUp("alice").Account
	if _, _, err := s.AppPasswords.Create(ctx, alice.DID, "app", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Invites.Create(ctx, 2, 1, alice.DID.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accounts.Identity().ReserveSigningKey(ctx, alice.DID); err != nil { // for a rotation that was never made
		t.Fatal(err)
	}
	if err := s.Accounts.Identity().RequestPLCSignature(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.RequestDelete(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	if err := s.SignIn.DeleteAccount(ctx, alice.DID, "password", s.Code("alice")); err != nil {
		t.Fatal(err)
	}
	// The server remembers for 30 days which key the account had, so that what it signed with that
	// key is no proof of control of the DID.
	s.Advance(31 * 24 * time.Hour)
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	tables, err := s.Store.Tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Store.View(ctx, func(tx storage.Tx) error {
		for _, table := range tables {
			if table.Name == "plc_directory" {
				continue // the DID still exists
			}
			for rec, err := range tx.Scan(table.Name, storage.Range{}) {
				if err != nil {
					return err
				}
				for _, trace := range []string{alice.DID.String(), "alice.test", "alice@example.com"} {
					if strings.Contains(string(rec.Value), trace) {
						t.Errorf("table %s: %s", table.Name, rec.Value)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStatusesFollowTakedownsAndDeactivations(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	want := func(status accounts.Status) {
		t.Helper()
		a, err := s.Accounts.Get(ctx, did)
		if err != nil || a.Status() != status || a.Active() != (status == accounts.StatusActive) {
			t.Errorf("the status is %q, %v; want %q", a.Status(), err, status)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(accounts.StatusActive)
	do(s.Accounts.Deactivate(ctx, did, nil))
	want(accounts.StatusDeactivated)
	do(s.Accounts.TakeDown(ctx, did, "ref"))
	want(accounts.StatusTakendown)
	do(s.Accounts.Restore(ctx, did))
	want(accounts.StatusDeactivated)
	do(s.Accounts.Activate(ctx, did))
	want(accounts.StatusActive)
	yes, no := true, false
	do(s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{Takedown: &yes, Ref: "case 3", Deactivated: &yes}))
	want(accounts.StatusTakendown)
	if err := s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{Deactivated: &no}); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("activating an account that is taken down: %v", err)
	}
	do(s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{Takedown: &no}))
	want(accounts.StatusDeactivated)
	do(s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{Deactivated: &no}))
	do(s.Accounts.UpdateStatus(ctx, did, accounts.StatusUpdate{}))
	want(accounts.StatusActive)
	if err := s.Accounts.UpdateStatus(ctx, "did:plc:nobody", accounts.StatusUpdate{}); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	for _, zone := range []int{-1, 1} { // with -1, it is the year 10000 in UTC
		last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", zone*3600))
		if err := s.Accounts.Deactivate(ctx, did, &last); errors.Is(err, accounts.ErrInvalidRequest) != (zone < 0) {
			t.Errorf("deleted after %v: %v", last, err)
		}
	}
	if err := s.Accounts.TakeDown(ctx, "did:plc:nobody", ""); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestASignInCodeIsRedeemedOnce(t *testing.T) {
	s := domaintest.New(t)
	a := s.SignUp("alice").Account
	redeem := func(code string) error {
		var refused error
		err := s.Store.Update(ctx, func(tx storage.Tx) (err error) {
			refused, err = s.Accounts.Emails().RedeemSignInCodeTx(tx, a.DID, code)
			return err
		})
		return errors.Join(refused, err)
	}
	if err := s.Accounts.Emails().SendSignInCode(ctx, a); err != nil {
		t.Fatal(err)
	}
	code := s.Code("alice")
	if err := redeem("AAAAA-AAAAA"); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := redeem(code); err != nil {
		t.Error(err)
	}
	if err := redeem(code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("a used code: %v", err)
	}
}

func TestExpiredCodesAreDeleted(t *testing.T) {
	s := domaintest.New(t)
	did := s.SignUp("alice").Account.DID
	if err := s.Accounts.RequestDelete(ctx, did); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		_ = s.Store.View(ctx, func(tx storage.Tx) error {
			for range tx.Scan("email_codes", storage.Range{}) {
				n++
			}
			return nil
		})
		return n
	}
	for after, want := range map[time.Duration]int{0: 1} {
		s.Advance(after)
		if err := s.Maintain(ctx); err != nil || count() != want {
			t.Errorf("%v, %d codes", err, count())
		}
	}
	s.Advance(25 * time.Hour)
	if err := s.Maintain(ctx); err != nil || count() != 0 {
		t.Errorf("a day later: %v, %d codes", err, count())
	}
}

// TestNoAccountGetsTheHostnameAsHandle: the did:web of the hostname is the server's own.
func TestNoAccountGetsTheHostnameAsHandle(t *testing.T) {
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
			c.Hostname, c.PublicURL, c.DIDs.Method = "gatekeep.test:2583", "http://frontdoor.test", method
		}))
		s := srv.Gatehouse
		for _, name := range []string{"gatekeep", "frontdoor"} {
			if a, err := s.Accounts.Create(ctx, params(name)); !errors.Is(err, handle.ErrNotAvailable) {
				t.Errorf("did:%s: %+v, %v", method, a, err)
			}
			if a, err := s.Accounts.Handles().Available(ctx, name+".test"); a.Available || err != nil {
				t.Errorf("did:%s: available: %+v, %v", method, a, err)
			}
		}
		id := syntax.DID(srv.CreateAccount("alice.test").DID)
		for _, admin := range []bool{false, true} {
			if err := s.Accounts.Identity().UpdateHandle(ctx, id, "gatekeep.test", admin); !errors.Is(err, handle.ErrNotAvailable) {
				t.Errorf("did:%s: a change (by an admin: %t): %v", method, admin, err)
			}
		}
	}
}

// TestReservedKeysOfAccountsDoNotKeepOthersFromBeingDeleted: there are more keys that must be kept
// than a page of the purge holds, and then one that must be deleted.
func TestReservedKeysOfAccountsDoNotKeepOthersFromBeingDeleted(t *testing.T) {
	s := domaintest.New(t)
	for i := range 501 {
		id := syntax.DID("did:web:a" + strconv.Itoa(i) + ".example.org")
		p := params("alice" + strconv.Itoa(i))
		p.DID, p.ProvenDID = id, id
		if _, err := s.Accounts.Create(ctx, p); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Accounts.Identity().ReserveSigningKey(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	s.Advance(time.Hour)
	key, err := s.Accounts.Identity().ReserveSigningKey(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(91 * 24 * time.Hour)
	if err := s.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	err = s.Store.View(ctx, func(tx storage.Tx) error {
		_, err := tx.Get("reserved_keys", key)
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an unused key: %v", err)
	}
	counted := domaintest.Count(s.Store)
	s.Store = counted
	again := s.Another()
	counted.Reset()
	if err := again.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := counted.Reads("reserved_keys"); n != 0 {
		t.Errorf("the next round reads %d keys again", n)
	}
	s.Advance(91 * 24 * time.Hour)
	if err := again.Accounts.DeleteNow(ctx, "did:web:a0.example.org"); err != nil {
		t.Fatal(err)
	}
	if err := again.Accounts.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := records(t, s, "reserved_keys"); n != 500 {
		t.Errorf("%d keys are left, want those of 500 accounts", n)
	}
}

func TestUnusedReservedKeysAreDeletedAfter90Days(t *testing.T) {
	const mover = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	reserve := func(id syntax.DID) string {
		t.Helper()
		key, err := s.Accounts.Identity().ReserveSigningKey(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	nobodys, movers, alices := reserve(""), reserve(mover), reserve(alice)
	s.Advance(89 * 24 * time.Hour)
	late := reserve("")
	left := func(want ...string) {
		t.Helper()
		if err := s.Accounts.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		var got []string
		_ = s.Store.View(ctx, func(tx storage.Tx) error {
			for rec, err := range tx.Scan("reserved_keys", storage.Range{}) {
				if err != nil {
					return err
				}
				got = append(got, rec.Key)
			}
			return nil
		})
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v are left, want %v", got, want)
		}
	}
	left(nobodys, movers, alices, late)
	s.Advance(2 * 24 * time.Hour)
	left(alices, late) // alice's DID may name hers
	if reserve(mover) == movers {
		t.Error("a key that was deleted is reserved again")
	}
}
