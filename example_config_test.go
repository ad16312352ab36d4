package gatehouse_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// staff is a way of signing in of the program's own. A real one would ask an LDAP server.
type staff struct{}

func (staff) Name() string { return "ldap" }

func (staff) Prove(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
	account := a.Account()
	if account == nil || account.Email != "carol@example.com" || a.Password != "her password at work" {
		return nil, accounts.ErrBadCredentials
	}
	return &signin.Proof{DID: account.DID}, nil
}

// noWellKnownPassword refuses a password that everybody knows.
func noWellKnownPassword(_ context.Context, password string, _ accounts.PasswordOwner) error {
	if password == "correct horse" {
		return accounts.Refuse(accounts.ErrInvalidPassword, "Choose a password that isn't in a comic")
	}
	return nil
}

// production returns the configuration of a public server that runs in several processes. Its
// secrets, which a real program reads from its environment, are kept apart from the store.
func production(ctx context.Context, store storage.Store) (gatehouse.Config, error) {
	rotationKey, err := did.ParseRotationKey(strings.Repeat("01", 32))
	if err != nil {
		return gatehouse.Config{}, err
	}
	keyStore, err := keys.NewSealed([]byte(strings.Repeat("k", keys.KeySize)), nil)
	if err != nil {
		return gatehouse.Config{}, err
	}
	mailer, err := deliver.NewSMTP("smtps://user:password@smtp.example.com", "Example <no-reply@example.com>")
	if err != nil {
		return gatehouse.Config{}, err
	}
	limiter, err := ratelimit.NewShared(ctx, store, ratelimit.Config{})
	if err != nil {
		return gatehouse.Config{}, err
	}
	return gatehouse.Config{
		Hostname:      "pds.example.com",
		HandleDomains: []string{".example.com"},
		Admins:        xrpc.Passwords{"carol": "the password of carol", "dave": "the password of dave"},
		SignUp:        gatehouse.SignUp{Mode: gatehouse.SignUpInvites},
		SignIn:        gatehouse.SignIn{Ways: []signin.Way{staff{}}},
		Handles:       gatehouse.Handles{Policy: handle.NotReserved(append(handle.ReservedWords(), "our-brand")...)},
		DIDs:          gatehouse.DIDs{RotationKey: rotationKey}, // in the public directory, by default
		Keys: gatehouse.Keys{
			Accounts: keyStore,
			Tokens: []sessions.Key{
				{ID: "2026-02", Secret: []byte("the secret of this month")}, // signs
				{ID: "2026-01", Secret: []byte("the secret before it")},     // only verifies
			},
		},
		Passwords: gatehouse.Passwords{MinLength: 10, Policy: noWellKnownPassword},
		Mail:      gatehouse.Mail{Mailer: mailer},
		Limits:    gatehouse.Limits{Limiter: limiter, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}, nil
}

func ExampleConfig() {
	ctx := context.Background()
	store := memory.New() // postgres.Open(ctx, "postgres://…")
	defer store.Close()
	cfg, err := production(ctx, store)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	fmt.Println(srv.ServiceDID())

	// All mistakes are reported at once, each with the name of its field.
	cfg.Hostname = "https://pds.example.com"
	cfg.Keys.Tokens = append(cfg.Keys.Tokens, cfg.Keys.Tokens[0])
	cfg.SignUp.InviteInterval = -1
	_, err = gatehouse.New(ctx, memory.New(), cfg)
	fmt.Println(err)
	// Output:
	// did:web:pds.example.com
	// gatehouse: Config.Hostname: "https://pds.example.com" is a URL, not a host name
	// gatehouse: Config.SignUp.InviteInterval: must not be negative
	// gatehouse: Config.Keys.Tokens: sessions: two keys have the ID "2026-02"
}
