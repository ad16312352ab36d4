package gatehouse_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// The first key signs tokens and all of them verify tokens, so a key can be replaced without ending
// sessions.
func ExampleKeys() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	serve := func(tokenKeys ...sessions.Key) (*gatehouse.Server, error) {
		return gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, Keys: gatehouse.Keys{Tokens: tokenKeys},
		})
	}
	january := sessions.Key{ID: "2026-01", Secret: []byte("a secret for HS256")}
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		fmt.Println(err)
		return
	}
	february := sessions.Key{ID: "2026-02", Private: private} // for ES256K

	before, err := serve(january)
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := before.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	before.Close()

	during, err := serve(february, january)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = during.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT))
	fmt.Println("a token of the old key:", err)
	tokens, err = during.Sessions.Refresh(ctx, tokens.RefreshJWT)
	if err != nil {
		fmt.Println(err)
		return
	}
	during.Close()

	after, err := serve(february)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer after.Close()
	_, err = after.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT))
	fmt.Println("a token of the new key:", err)
	// Output:
	// a token of the old key: <nil>
	// a token of the new key: <nil>
}

// vault stands for a hardware module: it makes keys and signs with them, and private keys never
// leave it.
type vault struct {
	mu   sync.Mutex
	keys map[string]*atcrypto.PrivateKeyP256
}

func (v *vault) Generate(context.Context) (keys.Key, error) {
	private, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		return keys.Key{}, err
	}
	public, err := private.PublicKey()
	if err != nil {
		return keys.Key{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys[public.DIDKey()] = private
	return keys.Key{Public: public.DIDKey(), Sealed: []byte("slot of " + public.DIDKey())}, nil
}

func (v *vault) Signer(_ context.Context, k keys.Key) (keys.Signer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	private, ok := v.keys[k.Public]
	if !ok {
		return nil, keys.ErrUnsealable
	}
	return private, nil
}

// The signing keys of accounts can be kept elsewhere than in the store.
func ExampleKeys_hardwareModule() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	hsm := &vault{keys: map[string]*atcrypto.PrivateKeyP256{}}
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Keys: gatehouse.Keys{Accounts: hsm},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, ok := hsm.keys[alice.SigningKey]
	fmt.Println("the key of alice.test is in the module:", ok)
	// Output: the key of alice.test is in the module: true
}

// A public server with a DID directory of its own, whose rotation key is kept apart from the store.
func ExampleDIDs() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	directory, err := did.NewLocal(ctx, store, nil) // or did.NewClient, for a directory elsewhere
	if err != nil {
		fmt.Println(err)
		return
	}
	rotationKey, err := did.ParseRotationKey(strings.Repeat("01", 32)) // hexadecimal
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "pds.example.com", HandleDomains: []string{".example.com"},
		SignUp: gatehouse.SignUp{Mode: gatehouse.SignUpInvites},
		DIDs:   gatehouse.DIDs{Directory: directory, RotationKey: rotationKey},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{
		Handle: "alice.example.com", Email: "alice@example.com", Password: "correct horse", Admit: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	public, err := rotationKey.PublicKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := directory.Log(ctx, alice.DID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(log[0].RotationKeys[0] == public.DIDKey(), log[0].Services["atproto_pds"].Endpoint)
	// Output: true https://pds.example.com
}

// E-mails with a code contain a link to a page of the operator's.
func ExampleMail() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	mails := mail.NewMemory() // package deliver has mailers that reach people
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"},
		Mail: gatehouse.Mail{
			Mailer:      mails,
			Pages:       map[mail.Kind]string{mail.ResetPassword: "https://example.com/reset"},
			MuteNotices: []mail.Kind{mail.PasswordChanged},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := srv.Accounts.RequestPasswordReset(ctx, "alice@example.com"); err != nil {
		fmt.Println(err)
		return
	}
	m, err := mails.TakeCode(ctx, "alice@example.com")
	fmt.Println(strings.Contains(m.Text, "https://example.com/reset#code="+m.Code), err)
	// Output: true <nil>
}

// oneAdmin lets one admin in. A real one would ask a directory of people.
type oneAdmin struct{ name, password string }

func (a oneAdmin) Admin(_ context.Context, name, password string) bool {
	right := subtle.ConstantTimeCompare([]byte(name), []byte(a.name))
	right &= subtle.ConstantTimeCompare([]byte(password), []byte(a.password))
	return right == 1
}

// Who is an admin can be decided by the program, in place of the passwords of an xrpc.Passwords.
func ExampleConfig_admins() {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Admins: oneAdmin{"carol", "the password of carol"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	for _, password := range []string{"a guess", "the password of carol"} {
		r := httptest.NewRequest("GET", "/xrpc/com.atproto.admin.getInviteCodes", nil)
		r.SetBasicAuth("carol", password)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 401 {"error":"AuthenticationRequired","message":"Authentication Required"}
	// 200 {"codes":[]}
}

// visit is a document of the program's own, which exists as long as its account does.
type visit struct {
	DID   string `json:"did"`
	Count int    `json:"count"`
}

var visits = storage.NewCollection("visits", func(v *visit) string { return v.DID })

// A hook writes the program's own documents in the transaction that changes an account, and its
// error is a veto.
func ExampleConfig_hooks() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, visits); err != nil {
		fmt.Println(err)
		return
	}
	keepVisits := func(_ context.Context, tx storage.Tx, c accounts.Change) error {
		switch c.Kind {
		case accounts.Creating:
			if c.Account.Email == "" {
				return accounts.Refuse(accounts.ErrInvalidEmail, "An address is required")
			}
		case accounts.Created:
			return visits.Insert(tx, &visit{DID: c.Account.DID.String()})
		case accounts.Deleted:
			return visits.Delete(tx, c.Account.DID.String())
		}
		return nil
	}
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Hooks: []accounts.Hook{keepVisits},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	count := func() (n int) {
		_ = store.View(ctx, func(tx storage.Tx) error {
			all, err := visits.All(tx, storage.Range{})
			n = len(all)
			return err
		})
		return n
	}
	alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("with the account:", count())
	if err := srv.Accounts.DeleteNow(ctx, alice.DID); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("without it:", count())
	// Output:
	// with the account: 1
	// without it: 0
}

// The handler of a program without routes of its own.
func ExampleServer_Handler() {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{Hostname: "pds.test", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	for _, url := range []string{"http://pds.test/xrpc/_health", "http://pds.test/robots.txt", "http://alice.test/robots.txt"} {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		fmt.Println(url, w.Code == http.StatusOK)
	}
	// Output:
	// http://pds.test/xrpc/_health true
	// http://pds.test/robots.txt true
	// http://alice.test/robots.txt false
}
