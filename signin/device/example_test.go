package device_test

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
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
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	devices, err := device.New(ctx, store, srv.Sessions, srv.SignIn, device.Config{Secret: secret})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Somebody signs in on a browser that has no cookie yet, and it gets one.
	attempt := signin.Attempt{Identifier: "alice.test", Password: "correct horse"}
	_, _, cookie, err := devices.SignIn(ctx, "", attempt, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	d, _, _ := devices.Find(ctx, cookie)
	fmt.Println(d.SignIns[0].Account.Handle, "by", d.SignIns[0].Session.Method)

	// A new password signs the browser out.
	_ = srv.Accounts.SetPassword(ctx, first.Account.DID, "battery staple")
	d, _, _ = devices.Find(ctx, cookie)
	fmt.Println(len(d.SignIns))
	// Output:
	// alice.test by password
	// 0
}
