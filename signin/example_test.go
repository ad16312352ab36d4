package signin_test

import (
	"context"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// company is a directory of people, which knows them by their e-mail addresses. A real one asks an
// LDAP server.
type company struct{}

func (company) Name() string { return "ldap" }

func (company) Prove(_ context.Context, a signin.Attempt) (*signin.Proof, error) {
	account := a.Account()
	if account == nil || account.Email != "alice@example.com" || a.Password != "of the directory" {
		return nil, accounts.ErrBadCredentials
	}
	return &signin.Proof{DID: account.DID}, nil
}

// A way of the embedding program takes the place of account passwords.
func ExampleWay() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"},
		SignIn: gatehouse.SignIn{Ways: []signin.Way{company{}}, NoAccountPasswords: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", NoPassword: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := srv.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: "of the directory"})
	fmt.Println(tokens.Session.Method, err)
	fmt.Println(srv.Accounts.RequestPasswordReset(ctx, "alice@example.com"))
	// Output:
	// ldap <nil>
	// This server doesn't use account passwords
}

// What an attempt has proved may be used for something else than a session.
func ExamplePass_Use() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	_, err = srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	pass, err := srv.SignIn.Prove(ctx, signin.Attempt{Identifier: "alice.test", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = pass.Use(ctx, func(tx storage.Tx, a *accounts.Account) error {
		fmt.Println(a.Handle, "agrees, by", pass.Grant().Method)
		return nil
	})
	fmt.Println(err)
	// Output:
	// alice.test agrees, by password
	// <nil>
}
