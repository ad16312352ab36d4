package device_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// browser keeps a cookie, and does with it what it is told.
type browser struct {
	t      *testing.T
	s      *domaintest.Services
	cookie string
}

func newBrowser(t *testing.T, s *domaintest.Services) *browser { return &browser{t: t, s: s} }

// copied returns another browser with the same cookie.
func (b *browser) copied() *browser { c := *b; return &c }

// find sends the cookie and keeps what it gets.
func (b *browser) find() *device.Device {
	b.t.Helper()
	d, renewed, err := b.s.Devices.Find(ctx, b.cookie)
	must(b.t, err)
	if renewed != "" {
		b.cookie = renewed
	}
	return d
}

// who returns the labels of the accounts that are signed in, the latest sign-in first.
func (b *browser) who() string {
	b.t.Helper()
	d := b.find()
	if d == nil {
		return "no device"
	}
	var labels []string
	for _, si := range d.SignIns {
		labels = append(labels, strings.TrimSuffix(si.Account.Handle.String(), ".test"))
	}
	return strings.Join(labels, " ")
}

func (b *browser) check(what, want string) {
	b.t.Helper()
	if got := b.who(); got != want {
		b.t.Errorf("%s: signed in: %q, want %q", what, got, want)
	}
}

// signIn signs LABEL.test in, and keeps the cookie.
func (b *browser) signIn(label string, remember bool) *device.SignIn {
	b.t.Helper()
	_, si, cookie, err := b.s.Devices.SignIn(ctx, b.cookie, password(label), remember)
	must(b.t, err)
	b.cookie = cookie
	return si
}

func password(label string) signin.Attempt {
	return signin.Attempt{Identifier: label + ".test", Password: "password"}
}

func didOf(t *testing.T, s *domaintest.Services, label string) syntax.DID {
	t.Helper()
	a, err := s.Accounts.Find(ctx, label+".test")
	must(t, err)
	return a.DID
}

// browserSessions returns the number of sessions that an account has on browsers.
func browserSessions(t *testing.T, s *domaintest.Services, label string) int {
	t.Helper()
	all, err := s.Sessions.List(ctx, didOf(t, s, label))
	must(t, err)
	return len(slices.DeleteFunc(all, func(k *sessions.Session) bool { return k.Device == "" }))
}

func TestASignInOnABrowser(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	b := newBrowser(t, s)
	d, cookie, err := s.Devices.Create(ctx)
	must(t, err)
	b.cookie = cookie
	if got := b.find(); got == nil || got.ID != d.ID || len(got.SignIns) != 0 || !got.KeepUntil().IsZero() {
		t.Errorf("a new device: %+v", got)
	}
	si := b.signIn("alice", true)
	if si.Account.DID != alice || !si.At.Equal(s.Now()) || !si.Remembered || si.Session.Device != d.ID ||
		si.Session.Method != signin.MethodPassword || si.Session.Scope != "" {
		t.Errorf("the sign-in: %+v, %+v", si, si.Session)
	}
	got := b.find()
	if got.ID != d.ID || len(got.SignIns) != 1 || got.SignedIn(alice) == nil || got.SignedIn("did:plc:other") != nil {
		t.Errorf("the device: %+v", got)
	}
	if want := s.Now().Add(7 * 24 * time.Hour); !got.KeepUntil().Equal(want) || !si.Session.ExpiresAt.Equal(want) {
		t.Errorf("kept until %v, and the session until %v", got.KeepUntil(), si.Session.ExpiresAt)
	}
	must(t, s.Devices.SignOut(ctx, b.cookie, alice))
	b.check("after the sign-out", "")
	if n := browserSessions(t, s, "alice"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	must(t, s.Devices.SignOut(ctx, b.cookie, alice)) // again
}

// TestSignInsEnd after their time, however much they are used.
func TestSignInsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		remember bool
		lifetime time.Duration
	}{
		"remembered":     {true, 7 * 24 * time.Hour},
		"not remembered": {false, 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			s.SignUp("alice")
			b := newBrowser(t, s)
			b.signIn("alice", c.remember)
			if kept := b.find().KeepUntil(); kept.IsZero() == c.remember {
				t.Errorf("the browser keeps the cookie until %v", kept)
			}
			const steps = 100
			for range steps - 1 {
				s.Advance(c.lifetime / steps)
				b.check("before the end", "alice")
			}
			s.Advance(c.lifetime / steps)
			if who := b.who(); who != "" && who != "no device" {
				t.Errorf("at the end %q is signed in", who)
			}
		})
	}
}

func TestSeveralAccounts(t *testing.T) {
	s := domaintest.New(t)
	for _, label := range []string{"alice", "bob"} {
		s.SignUp(label)
	}
	b := newBrowser(t, s)
	first := b.signIn("alice", true)
	s.Advance(time.Second)
	b.signIn("bob", false)
	b.check("both", "bob alice")
	s.Advance(time.Second)
	second := b.signIn("alice", true)
	b.check("alice again", "alice bob")
	if first.Session.ID == second.Session.ID || browserSessions(t, s, "alice") != 1 {
		t.Errorf("the second sign-in of an account doesn't replace the first")
	}
	s.Advance(15 * time.Minute)
	b.check("after bob's time", "alice")
	b.signIn("bob", true)
	must(t, s.Devices.End(ctx, b.cookie))
	b.check("after the end of the device", "no device")
	must(t, s.Maintain(ctx)) // bob's first session has expired
	if n := browserSessions(t, s, "alice") + browserSessions(t, s, "bob"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestTwentyAccountsOnABrowser: the next one takes the place of the one that signed in first.
func TestTwentyAccountsOnABrowser(t *testing.T) {
	s := domaintest.New(t)
	b := newBrowser(t, s)
	for i := range 21 {
		label := fmt.Sprintf("user%d", i)
		s.SignUp(label)
		b.signIn(label, true)
		s.Advance(time.Second)
	}
	d := b.find()
	if len(d.SignIns) != 20 || d.SignedIn(didOf(t, s, "user0")) != nil || d.SignedIn(didOf(t, s, "user1")) == nil {
		t.Errorf("%d accounts are signed in: %s", len(d.SignIns), b.who())
	}
	if n := browserSessions(t, s, "user0"); n != 0 {
		t.Errorf("the first account has %d sessions", n)
	}
}

// TestWhatEndsSessionsSignsBrowsersOut at once, and the other account stays signed in.
func TestWhatEndsSessionsSignsBrowsersOut(t *testing.T) {
	for name, end := range map[string]func(*domaintest.Services, syntax.DID, *device.SignIn) error{
		"a new password": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return s.Accounts.SetPassword(ctx, id, "another password")
		},
		"revoked credentials": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return s.Accounts.RevokeCredentials(ctx, id)
		},
		"a takedown": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return s.Accounts.TakeDown(ctx, id, "")
		},
		"a takedown that is over": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return errors.Join(s.Accounts.TakeDown(ctx, id, ""), s.Accounts.Restore(ctx, id))
		},
		"a deletion": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return s.Accounts.DeleteNow(ctx, id)
		},
		"a sign-out everywhere": func(s *domaintest.Services, id syntax.DID, _ *device.SignIn) error {
			return s.Sessions.EndAll(ctx, id)
		},
		"the end of the one session": func(s *domaintest.Services, id syntax.DID, si *device.SignIn) error {
			return s.Sessions.Revoke(ctx, id, si.Session.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			alice, bob := s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
			b := newBrowser(t, s)
			b.signIn("bob", true)
			si := b.signIn("alice", true)
			must(t, end(s, alice, si))
			b.check("after it", "bob")
			must(t, s.Store.View(ctx, func(tx storage.Tx) error {
				if _, err := s.Devices.SignedInTx(tx, si.Session.Device, alice); !errors.Is(err, device.ErrNotSignedIn) {
					t.Errorf("alice, in a transaction: %v", err)
				}
				if in, err := s.Devices.SignedInTx(tx, si.Session.Device, bob); err != nil || in.Account.DID != bob {
					t.Errorf("bob, in a transaction: %+v, %v", in, err)
				}
				if _, err := s.Devices.SignedInTx(tx, "unknown", bob); !errors.Is(err, device.ErrNotSignedIn) {
					t.Errorf("bob, on another device: %v", err)
				}
				return nil
			}))
			s.Advance(4 * time.Hour) // the record is written again
			b.check("later", "bob")
		})
	}
}

// TestADeactivatedAccountStaysSignedIn, so that its owner can reactivate it.
func TestADeactivatedAccountStaysSignedIn(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	b := newBrowser(t, s)
	b.signIn("alice", true)
	must(t, s.Accounts.Deactivate(ctx, alice, nil))
	b.check("deactivated", "alice")
	if d := b.find(); d.SignIns[0].Account.DeactivatedAt == nil {
		t.Error("the account isn't shown as deactivated")
	}
}

// TestFresh: what is dangerous asks for a recent sign-in, which a remembered browser doesn't have.
func TestFresh(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	b := newBrowser(t, s)
	b.signIn("alice", true)
	fresh := func() bool { return b.find().SignedIn(alice).Fresh(s.Now(), 10*time.Minute) }
	if !fresh() {
		t.Error("just signed in, it isn't fresh")
	}
	s.Advance(10 * time.Minute)
	if fresh() {
		t.Error("ten minutes later it is fresh")
	}
	b.signIn("alice", true)
	if !fresh() {
		t.Error("after another sign-in it isn't fresh")
	}
}

// TestDevicesAreForgotten when nobody has used them for an hour and nobody is signed in.
func TestDevicesAreForgotten(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	used, unused, signedIn := newBrowser(t, s), newBrowser(t, s), newBrowser(t, s)
	for _, b := range []*browser{used, unused} {
		_, cookie, err := s.Devices.Create(ctx)
		must(t, err)
		b.cookie = cookie
	}
	signedIn.signIn("alice", true)
	for range 3 {
		s.Advance(40 * time.Minute)
		used.check("used", "")
	}
	unused.check("unused", "no device")
	signedIn.check("signed in", "alice")
	must(t, s.Maintain(ctx))
	if n := devices(t, s); n != 2 {
		t.Errorf("%d devices are kept", n)
	}
	s.Advance(8 * 24 * time.Hour)
	must(t, s.Maintain(ctx))
	if n := devices(t, s); n != 0 {
		t.Errorf("%d devices are kept after a week", n)
	}
	signedIn.check("after a week", "no device")
}

// devices returns the number of devices that are stored.
func devices(t *testing.T, s *domaintest.Services) int {
	t.Helper()
	n := 0
	must(t, s.Store.View(ctx, func(tx storage.Tx) error {
		n = 0
		for _, err := range tx.Scan(device.Tables()[0].Table().Name, storage.Range{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}))
	return n
}

// TestNoSecretIsStored: neither the cookie nor its secret is in the record.
func TestNoSecretIsStored(t *testing.T) {
	s := domaintest.New(t)
	s.SignUp("alice")
	b := newBrowser(t, s)
	b.signIn("alice", true)
	before := b.cookie
	s.Advance(4 * time.Hour)
	b.check("later", "alice")
	must(t, s.Store.View(ctx, func(tx storage.Tx) error {
		for rec, err := range tx.Scan("devices", storage.Range{}) {
			if err != nil {
				return err
			}
			for _, cookie := range []string{before, b.cookie} {
				_, secret, _ := strings.Cut(cookie, ".")
				for _, part := range []string{secret, secret[:43], secret[43:]} {
					if strings.Contains(string(rec.Value), part) {
						t.Errorf("the record has a secret: %s", rec.Value)
					}
				}
			}
		}
		return nil
	}))
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	s := domaintest.New(t)
	if _, err := device.New(ctx, s.Store, s.Sessions, s.SignIn, device.Config{Secret: make([]byte, 31)}); err == nil {
		t.Error("a short secret is taken")
	}
}

// TestErrorsOfTheStoreAreReturned, as they are by a context that has ended.
func TestErrorsOfTheStoreAreReturned(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	b := newBrowser(t, s)
	b.signIn("alice", true)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _, find := s.Devices.Find(ended, b.cookie)
	_, _, create := s.Devices.Create(ended)
	_, _, _, signIn := s.Devices.SignIn(ended, b.cookie, password("alice"), true)
	for what, err := range map[string]error{
		"Find": find, "Create": create, "SignIn": signIn,
		"SignOut": s.Devices.SignOut(ended, b.cookie, alice), "End": s.Devices.End(ended, b.cookie),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.check("after all that", "alice")
}

// all runs a function n times at once.
func all(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
