package sessions_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func Example() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	first, _ := srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})

	// One refresh token has one successor, however often it is used in its grace period.
	a, _ := srv.Sessions.Refresh(ctx, first.RefreshJWT)
	b, _ := srv.Sessions.Refresh(ctx, first.RefreshJWT)
	fmt.Println(a.Session.ID == b.Session.ID)

	// A session that has ended has ended everywhere, at once.
	_ = srv.Sessions.EndAll(ctx, first.Account.DID)
	_, err = srv.Sessions.Verify(ctx, sessions.Bearer(a.AccessJWT))
	fmt.Println(errors.Is(err, sessions.ErrExpiredToken), err)
	// Output:
	// true
	// true Token has been revoked
}
