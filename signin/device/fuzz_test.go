package device_test

import (
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
)

// FuzzCookie gives anything for a cookie: only one that was issued opens a device, and nothing else
// harms it.
func FuzzCookie(f *testing.F) {
	s := domaintest.New(f)
	s.SignUp("alice")
	signIn := func(cookie string) string {
		_, _, renewed, err := s.Devices.SignIn(ctx, cookie, signin.Attempt{Identifier: "alice.test", Password: "password"}, true)
		if err != nil {
			f.Fatal(err)
		}
		return renewed
	}
	former := signIn("")
	cookie, other := signIn(former), signIn("")
	for _, c := range madeUp(cookie, other) {
		if len(c) < 1<<10 {
			f.Add(c)
		}
	}
	f.Add(cookie)
	f.Add(former)
	f.Fuzz(func(t *testing.T, text string) {
		d, renewed, err := s.Devices.Find(ctx, text)
		if err != nil || renewed != "" || (d != nil) != (text == cookie || text == other) {
			t.Errorf("Find(%q): %+v, %q, %v", text, d, renewed, err)
		}
		if d, _, err := s.Devices.Find(ctx, cookie); err != nil || d == nil || len(d.SignIns) != 1 {
			t.Errorf("after Find(%q): %+v, %v", text, d, err)
		}
	})
}
