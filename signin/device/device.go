package device

import (
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// Device is a browser.
type Device struct {
	// ID names the device. It stays the same for its life, and isn't secret.
	ID string
	// SignIns are the accounts that are signed in on the browser, the latest sign-in first.
	SignIns   []SignIn
	CreatedAt time.Time
	// ExpiresAt is when the server forgets the device, unless it is used or signed in on before.
	ExpiresAt time.Time
}

// SignedIn returns the sign-in of an account on the browser, or nil.
func (d *Device) SignedIn(did syntax.DID) *SignIn {
	for i := range d.SignIns {
		if d.SignIns[i].Account.DID == did {
			return &d.SignIns[i]
		}
	}
	return nil
}

// KeepUntil returns how long the browser should keep the cookie: until its last remembered sign-in
// ends. The zero time means that it should forget the cookie when it is closed.
func (d *Device) KeepUntil() time.Time {
	var until time.Time
	for _, si := range d.SignIns {
		if si.Remembered && si.Session.ExpiresAt.After(until) {
			until = si.Session.ExpiresAt
		}
	}
	return until
}

// SignIn is an account that is signed in on a browser.
type SignIn struct {
	Account *accounts.Account
	// Session is the session of the sign-in. It has no tokens. [sessions.Service.Revoke] signs the
	// account out.
	Session *sessions.Session
	// At is when somebody last proved, on this browser, to be the owner of the account.
	At time.Time
	// Remembered is whether the sign-in outlives the time for which the browser is open.
	Remembered bool
}

// Fresh reports whether somebody has proved to be the owner of the account within a time that has
// just passed. What is dangerous should ask for that, and for another sign-in if it isn't so.
func (si SignIn) Fresh(now time.Time, within time.Duration) bool {
	return now.Before(si.At.Add(within))
}
