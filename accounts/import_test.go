package accounts_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/crypto/scrypt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// cheapHash is a hash of the password "password".
const cheapHash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

// arrival returns an account of another server, with the password "password".
func arrival(label string) accounts.Import {
	return accounts.Import{
		DID: syntax.DID("did:plc:" + label), Handle: label + ".test", Email: label + "@example.com",
		PasswordHash: cheapHash, CreatedAt: time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC),
	}
}

// imported imports accounts, and returns what became of them.
func imported(t *testing.T, s *domaintest.Services, list ...accounts.Import) []accounts.Imported {
	t.Helper()
	results, err := s.Accounts.Import(ctx, list)
	if err != nil || len(results) != len(list) {
		t.Fatalf("%d results for %d accounts, %v", len(results), len(list), err)
	}
	for i, r := range results {
		if r.DID != list[i].DID || (r.Account == nil) != (r.Refused != nil) {
			t.Errorf("result %d is %+v, for %+v", i, r, list[i])
		}
	}
	return results
}

// refusals are the errors of results.
func refusals(results []accounts.Imported) []error {
	var all []error
	for _, r := range results {
		all = append(all, r.Refused)
	}
	return all
}

func signInTo(s *domaintest.Services, identifier, password string) error {
	_, err := s.SignIn.SignIn(ctx, signin.Attempt{Identifier: identifier, Password: password})
	return err
}

func TestImport(t *testing.T) {
	s := domaintest.New(t)
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2024, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	stored := time.Date(2024, 1, 2, 2, 4, 5, 678_000_000, time.UTC)

	alice := arrival("alice")
	alice.SigningKey, alice.EmailConfirmedAt, alice.CreatedAt = key, &at, at
	alice.Handle, alice.Email = "Alice.Test", "Alice@Example.com"
	bob := arrival("bob")
	bob.Handle, bob.DeactivatedAt = "bob.elsewhere.example.org", &at
	carol := arrival("carol")
	carol.Takedown = &accounts.Takedown{Ref: "spam", At: at}
	dave := accounts.Import{DID: "did:web:dave.example.org", Handle: "admin.test"} // a reserved word, and no password
	results := imported(t, s, alice, bob, carol, dave)

	for i, want := range []accounts.Account{
		{DID: "did:plc:alice", Handle: "alice.test", Email: "alice@example.com", EmailConfirmedAt: &stored, CreatedAt: stored, SigningKey: public.DIDKey()},
		{DID: "did:plc:bob", Handle: "bob.elsewhere.example.org", Email: "bob@example.com", CreatedAt: arrival("").CreatedAt, DeactivatedAt: &stored},
		{DID: "did:plc:carol", Handle: "carol.test", Email: "carol@example.com", CreatedAt: arrival("").CreatedAt, Takedown: &accounts.Takedown{Ref: "spam", At: stored}},
		{DID: "did:web:dave.example.org", Handle: "admin.test", CreatedAt: s.Now()},
	} {
		a, err := s.Accounts.Get(ctx, want.DID)
		if err != nil || results[i].Refused != nil || results[i].Existed {
			t.Fatalf("%s: %v, %+v", want.DID, err, results[i])
		}
		if !reflect.DeepEqual(a, results[i].Account) {
			t.Errorf("%s is stored as %+v, and reported as %+v", want.DID, a, results[i].Account)
		}
		if want.SigningKey == "" {
			want.SigningKey = a.SigningKey
		}
		if !reflect.DeepEqual(*a, want) {
			t.Errorf("%s is %+v, want %+v", want.DID, *a, want)
		}
		signer, err := s.Accounts.Identity().Signer(ctx, want.DID)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := signer.PublicKey(); err != nil || k.DIDKey() != a.SigningKey {
			t.Errorf("%s signs with %v, %v; want %s", want.DID, k, err, a.SigningKey)
		}
	}
	if err := signInTo(s, "alice.test", "password"); err != nil {
		t.Error(err)
	}
	for name, password := range map[string]string{"alice.test": "passwort", "admin.test": ""} {
		if err := signInTo(s, name, password); !errors.Is(err, accounts.ErrBadCredentials) {
			t.Errorf("%s with a wrong password: %v", name, err)
		}
	}
	if mails := s.Mail.Messages(); len(mails) != 0 {
		t.Errorf("%d e-mails were sent", len(mails))
	}
	if n := records(t, s, "plc_directory"); n != 0 {
		t.Errorf("%d operations were published", n)
	}
}

func TestImportedScryptHashesVerifyAndAreReplaced(t *testing.T) {
	s := domaintest.New(t)
	const salt = "00112233445566778899aabbccddeeff"
	sum, err := scrypt.Key([]byte("an old password"), []byte(salt), 16384, 8, 1, 64)
	if err != nil {
		t.Fatal(err)
	}
	alice := arrival("alice")
	alice.PasswordHash = salt + ":" + hex.EncodeToString(sum)
	imported(t, s, alice)
	for range 2 { // the first login replaces the hash
		if err := signInTo(s, "alice@example.com", "an old password"); err != nil {
			t.Error(err)
		}
	}
	if r := imported(t, s, alice)[0]; !errors.Is(r.Refused, accounts.ErrExists) {
		t.Errorf("the account with its new hash was imported again: %+v", r)
	}
}

// TestImportRefuses: each account is refused for what is wrong with it, and the others are imported.
func TestImportRefuses(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("victim")
	year := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	cases := []struct {
		name   string
		change func(*accounts.Import)
		want   error
	}{
		{"no DID", func(in *accounts.Import) { in.DID = "" }, accounts.ErrInvalidRequest},
		{"a malformed DID", func(in *accounts.Import) { in.DID = "did:plc:a b" }, accounts.ErrInvalidRequest},
		{"a DID with NUL", func(in *accounts.Import) { in.DID = "did:plc:a\x00" }, accounts.ErrInvalidRequest},
		{"a huge DID", func(in *accounts.Import) { in.DID = syntax.DID("did:web:" + strings.Repeat("a", 1100)) }, accounts.ErrInvalidRequest},
		{"the server's DID", func(in *accounts.Import) { in.DID = "did:web:pds.test" }, accounts.ErrInvalidRequest},
		{"the server's DID with a port", func(in *accounts.Import) { in.DID = "did:web:PDS.test%3A2583" }, accounts.ErrInvalidRequest},
		{"no handle", func(in *accounts.Import) { in.Handle = "" }, handle.ErrInvalid},
		{"a malformed handle", func(in *accounts.Import) { in.Handle = "a_b.test" }, handle.ErrInvalid},
		{"the server's name", func(in *accounts.Import) { in.Handle = "PDS.test" }, handle.ErrNotAvailable},
		{"a taken handle", func(in *accounts.Import) { in.Handle = "Victim.test" }, handle.ErrNotAvailable},
		{"a malformed address", func(in *accounts.Import) { in.Email = "x" }, accounts.ErrInvalidEmail},
		{"a taken address", func(in *accounts.Import) { in.Email = "VICTIM@example.com" }, accounts.ErrEmailTaken},
		{"a password instead of a hash", func(in *accounts.Import) { in.PasswordHash = "hunter2" }, accounts.ErrInvalidRequest},
		{"a hash that takes 4 TiB", func(in *accounts.Import) {
			in.PasswordHash = strings.Replace(cheapHash, "m=256", "m=4294967295", 1)
		}, accounts.ErrInvalidRequest},
		{"a hash that takes hours", func(in *accounts.Import) {
			in.PasswordHash = strings.Replace(cheapHash, "t=2", "t=4294967295", 1)
		}, accounts.ErrInvalidRequest},
		{"a year of five digits", func(in *accounts.Import) { in.CreatedAt = year }, accounts.ErrInvalidRequest},
		{"a takedown in such a year", func(in *accounts.Import) { in.Takedown = &accounts.Takedown{At: year} }, accounts.ErrInvalidRequest},
		{"nothing", func(*accounts.Import) {}, nil},
	}
	var list []accounts.Import
	for i, c := range cases {
		in := arrival(fmt.Sprint("user", i))
		c.change(&in)
		list = append(list, in)
	}
	before := records(t, s, "accounts")
	for i, r := range imported(t, s, list...) {
		if !errors.Is(r.Refused, cases[i].want) {
			t.Errorf("%s: %v, want %v", cases[i].name, r.Refused, cases[i].want)
		}
		if r.Refused != nil && strings.Contains(r.Refused.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", cases[i].name, r.Refused)
		}
	}
	if n := records(t, s, "accounts") - before; n != 1 {
		t.Errorf("%d accounts were imported, want 1", n)
	}
}

// TestImportTakesNothingFromAnAccount: neither an account itself, nor its handle, its address, a
// handle that it is about to get, or one that is held for it.
func TestImportTakesNothingFromAnAccount(t *testing.T) {
	s := domaintest.New(t)
	victim := s.SignUp("victim").Account
	if err := s.Accounts.Identity().UpdateHandle(ctx, victim.DID, "sufferer.test", false); err != nil {
		t.Fatal(err)
	}
	victim, err := s.Accounts.Get(ctx, victim.DID)
	if err != nil {
		t.Fatal(err)
	}
	taken := arrival("mallory")
	taken.DID = victim.DID
	same := taken
	same.Handle, same.Email = victim.Handle.String(), victim.Email // only the password differs
	current := arrival("mallory")
	current.Handle = victim.Handle.String()
	held := arrival("mallory")
	held.Handle = "victim.test"
	address := arrival("mallory")
	address.Email = "victim@EXAMPLE.com"
	for i, err := range refusals(imported(t, s, taken, same, current, held, address)) {
		want := []error{accounts.ErrExists, accounts.ErrExists, handle.ErrNotAvailable, handle.ErrNotAvailable, accounts.ErrEmailTaken}[i]
		if !errors.Is(err, want) {
			t.Errorf("attempt %d: %v, want %v", i, err, want)
		}
	}
	if a, err := s.Accounts.Get(ctx, victim.DID); err != nil || !reflect.DeepEqual(a, victim) {
		t.Errorf("the account is %+v, %v; it was %+v", a, err, victim)
	}
	if err := signInTo(s, "sufferer.test", "password"); err != nil {
		t.Error(err)
	}
}

// TestImportAsksNothingOfHandlesButSyntax: that they were good enough was decided elsewhere.
func TestImportAsksNothingOfHandlesButSyntax(t *testing.T) {
	s := domaintest.New(t)
	if err := s.Accounts.Handles().Reserve(ctx, "reserved.test"); err != nil {
		t.Fatal(err)
	}
	for i, h := range []string{"reserved.test", "admin.test", "a.test", "with.dots.test", "averyveryverylonglabel.test", "xn--80ak6aa92e.test"} {
		in := arrival(fmt.Sprint("user", i))
		in.Handle = h
		if r := imported(t, s, in)[0]; r.Refused != nil {
			t.Errorf("%s: %v", h, r.Refused)
		}
	}
}

// TestImportHasAHeldHandleBack: the former owner of a handle may have it, and then it isn't held.
func TestImportHasAHeldHandleBack(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Accounts.Handles.HoldAfterDeletion = 24 * time.Hour })
	id := s.SignUp("alice").Account.DID
	if err := s.Accounts.DeleteNow(ctx, id); err != nil {
		t.Fatal(err)
	}
	alice, mallory := arrival("alice"), arrival("mallory")
	alice.DID, mallory.Handle = id, "alice.test"
	if r := imported(t, s, mallory, alice); !errors.Is(r[0].Refused, handle.ErrNotAvailable) || r[1].Refused != nil {
		t.Errorf("somebody else: %v; the owner: %v", r[0].Refused, r[1].Refused)
	}
	if n := records(t, s, "held_handles"); n != 0 {
		t.Errorf("%d handles are held", n)
	}
}

func TestDuplicatesInAnImport(t *testing.T) {
	s := domaintest.New(t)
	other, sameHandle, sameAddress := arrival("alice"), arrival("bob"), arrival("carol")
	other.Email = "another@example.com"
	sameHandle.Handle = "alice.test"
	sameAddress.Email = "alice@example.com"
	results := imported(t, s, arrival("alice"), arrival("alice"), other, sameHandle, sameAddress)
	for i, want := range []error{nil, nil, accounts.ErrExists, handle.ErrNotAvailable, accounts.ErrEmailTaken} {
		if !errors.Is(results[i].Refused, want) {
			t.Errorf("account %d: %v, want %v", i, results[i].Refused, want)
		}
	}
	if results[0].Existed || !results[1].Existed || results[0].Account.SigningKey != results[1].Account.SigningKey {
		t.Errorf("the same account twice: %+v, %+v", results[0], results[1])
	}
}

// TestATakedownOutlivesAnImport: nobody gets rid of a takedown by moving away and back.
func TestATakedownOutlivesAnImport(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("mallory").Account.DID
	if err := s.Accounts.TakeDown(ctx, id, "spam"); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.DeleteNow(ctx, id); err != nil {
		t.Fatal(err)
	}
	in := arrival("mallory")
	in.DID = id
	if r := imported(t, s, in)[0]; r.Refused != nil || r.Account.Takedown == nil || r.Account.Takedown.Ref != "spam" {
		t.Errorf("%+v", r)
	}
}

// TestImportUsesTheReservedKey of a DID, since the DID may name it already.
func TestImportUsesTheReservedKey(t *testing.T) {
	s := domaintest.New(t)
	key, err := s.Accounts.Identity().ReserveSigningKey(ctx, "did:plc:alice")
	if err != nil {
		t.Fatal(err)
	}
	if r := imported(t, s, arrival("alice"))[0]; r.Refused != nil || r.Account.SigningKey != key {
		t.Errorf("%+v, want the key %s", r, key)
	}
	if n := records(t, s, "reserved_keys"); n != 0 {
		t.Errorf("%d keys are still reserved", n)
	}
}

// TestHooksTakePartInImports: what a hook writes for an account that it then refuses isn't written,
// and the other accounts of the page are imported all the same.
func TestHooksTakePartInImports(t *testing.T) {
	type profile struct{ DID string }
	profiles := storage.NewCollection("profiles", func(p *profile) string { return p.DID })
	s := domaintest.New(t)
	if err := storage.Define(ctx, s.Store, profiles); err != nil {
		t.Fatal(err)
	}
	s.AddHook(func(_ context.Context, tx storage.Tx, c accounts.Change) error {
		switch c.Kind {
		case accounts.Creating:
			return profiles.Insert(tx, &profile{c.Account.DID.String()})
		case accounts.Created:
			if _, err := accounts.GetTx(tx, c.Account.DID); err != nil {
				return err
			}
			if strings.HasPrefix(c.Account.Handle.String(), "bad") {
				return errVeto
			}
		}
		return nil
	})
	list := []accounts.Import{arrival("alice"), arrival("bad1"), arrival("bob"), arrival("bad2"), arrival("carol")}
	for i, err := range refusals(imported(t, s, list...)) {
		if want := strings.HasPrefix(list[i].Handle, "bad"); errors.Is(err, errVeto) != want || (err != nil) != want {
			t.Errorf("%s: %v", list[i].Handle, err)
		}
	}
	if a, p := records(t, s, "accounts"), records(t, s, "profiles"); a != 3 || p != 3 {
		t.Errorf("%d accounts and %d profiles, want 3 of each", a, p)
	}
}

// TestAnImportThatIsCutShortCanBeRepeated: the store fails between two pages.
func TestAnImportThatIsCutShortCanBeRepeated(t *testing.T) {
	s := domaintest.New(t)
	var list []accounts.Import
	for i := range 2500 {
		list = append(list, arrival(fmt.Sprint("user", i)))
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := 0
	s.AddHook(func(_ context.Context, _ storage.Tx, c accounts.Change) error {
		if seen++; seen == 3500 { // in the second page, with two calls for each account
			cancel()
		}
		return nil
	})
	results, err := s.Accounts.Import(limited, list)
	if !errors.Is(err, context.Canceled) || len(results) != 1000 {
		t.Fatalf("%d results, %v; want those of one page", len(results), err)
	}
	if n := records(t, s, "accounts"); n != 1000 {
		t.Fatalf("%d accounts are stored, want those of one page", n)
	}
	for i, r := range imported(t, s, list...) {
		if r.Refused != nil || r.Existed != (i < 1000) {
			t.Fatalf("account %d the second time: %+v", i, r)
		}
	}
	if n := records(t, s, "accounts"); n != 2500 {
		t.Errorf("%d accounts are stored", n)
	}
}

// TestAnAccountThatIsDeletedDuringItsImport isn't stored without a signing key.
func TestAnAccountThatIsDeletedDuringItsImport(t *testing.T) {
	s := domaintest.New(t)
	imported(t, s, arrival("alice"))
	deleting := domaintest.Before(ctx, func() {
		if err := s.Accounts.DeleteNow(ctx, "did:plc:alice"); err != nil {
			t.Error(err)
		}
	})
	results, err := s.Accounts.Import(deleting, []accounts.Import{arrival("alice")})
	if err != nil || !errors.Is(results[0].Refused, accounts.ErrInvalidRequest) {
		t.Errorf("%+v, %v", results, err)
	}
	if n := records(t, s, "accounts"); n != 0 {
		t.Errorf("%d accounts are stored", n)
	}
	if r := imported(t, s, arrival("alice"))[0]; r.Refused != nil || r.Existed || r.Account.SigningKey == "" {
		t.Errorf("the next time: %+v", r)
	}
}

// onlyMakesKeys is a key store that takes no keys from elsewhere.
type onlyMakesKeys struct{ keys.Store }

func TestAKeyStoreNeedNotTakeKeys(t *testing.T) {
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), nil)
	if err != nil {
		t.Fatal(err)
	}
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Keys: gatehouse.Keys{Accounts: onlyMakesKeys{sealed}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	with, without := arrival("alice"), arrival("bob")
	with.SigningKey = key
	results, err := srv.Accounts.Import(ctx, []accounts.Import{with, without})
	if err != nil || !errors.Is(results[0].Refused, accounts.ErrInvalidRequest) || results[1].Refused != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestImportOfNothing(t *testing.T) {
	if results, err := domaintest.New(t).Accounts.Import(ctx, nil); err != nil || len(results) != 0 {
		t.Errorf("%+v, %v", results, err)
	}
}
