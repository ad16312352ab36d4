package device

import (
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

const (
	// rotateAfter is how long a secret is used before it is replaced.
	rotateAfter = 3 * time.Hour
	// grace is how long a secret is taken after its successor was first used.
	grace = time.Minute
	// idle is how long a device is kept on which nobody is signed in.
	idle = time.Hour
	// maxFormer is the most secrets of a device that are remembered beside its current one. There are
	// as many only if somebody signs in as often within the grace period.
	maxFormer = 20
)

// record is a device as it is stored.
type record struct {
	ID string `json:"id"`
	// Secret is the hash of the current secret.
	Secret string `json:"secret"`
	// Former are secrets that were replaced, oldest first.
	Former []former `json:"former,omitempty"`
	// SignIns are the accounts on the device, the oldest sign-in first. Their sessions may have ended.
	SignIns   []entry   `json:"signIns,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// RotatedAt is when the current secret was made.
	RotatedAt time.Time `json:"rotatedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// former is a secret that was replaced.
type former struct {
	Secret string `json:"secret"`
	// Until is when its grace period ends, which begins when its successor is first used; zero until
	// then.
	Until time.Time `json:"until,omitzero"`
	// Void means that the secret was replaced at a sign-in, or before one. It opens nothing, not even
	// in the grace period, in which it is only not taken for stolen.
	Void bool `json:"void,omitempty"`
}

func (f former) ended(now time.Time) bool { return !f.Until.IsZero() && !now.Before(f.Until) }

// entry is a sign-in as it is stored. What else there is to know is in the session.
type entry struct {
	DID        syntax.DID `json:"did"`
	Session    string     `json:"session"`
	Remembered bool       `json:"remembered,omitempty"`
	EndsAt     time.Time  `json:"endsAt"`
}

var table = storage.NewCollection("devices",
	func(r *record) string { return r.ID },
	storage.Ordered("expires", func(r *record) string { return storage.TimeKey(r.ExpiresAt) }),
).OwnedBy(storage.OwnerGatehouse)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

// standing is what a secret is worth.
type standing int

const (
	worthless standing = iota // it opens nothing
	replaced                  // it opens the device, and its successor should be used from now on
	current                   // it opens the device
	copied                    // it comes back when it shouldn't: the device has to end
)

// standing returns what a secret of the device is worth, which is given as a hash.
func (r *record) standing(secret string, now time.Time) standing {
	if token.Equal(secret, r.Secret) {
		return current
	}
	for _, f := range r.Former {
		switch {
		case !token.Equal(secret, f.Secret):
		case f.ended(now):
			return copied
		case f.Void:
			return worthless
		default:
			return replaced
		}
	}
	return copied
}

// unconfirmed reports whether the current secret, which has just been used, wasn't used before.
func (r *record) unconfirmed() bool {
	return slices.ContainsFunc(r.Former, func(f former) bool { return f.Until.IsZero() })
}

// confirm notes that the current secret has been used: the grace periods of those before it begin.
func (r *record) confirm(now time.Time) {
	for i := range r.Former {
		if r.Former[i].Until.IsZero() {
			r.Former[i].Until = now.Add(grace)
		}
	}
}

// rotate replaces the current secret by one of which it is given the hash.
func (r *record) rotate(next string, now time.Time) {
	r.Former = append(r.Former, former{Secret: r.Secret})
	r.Former = slices.DeleteFunc(r.Former, func(f former) bool { return f.ended(now) })
	r.Former = r.Former[max(0, len(r.Former)-maxFormer):]
	r.Secret, r.RotatedAt = next, now
}

// void makes all former secrets worthless.
func (r *record) void() {
	for i := range r.Former {
		r.Former[i].Void = true
	}
}

// due reports whether the secret has been used for long enough.
func (r *record) due(now time.Time) bool { return !now.Before(r.RotatedAt.Add(rotateAfter)) }

// expiring reports whether the device is used and would soon be forgotten.
func (r *record) expiring(now time.Time) bool { return r.ExpiresAt.Before(now.Add(idle / 2)) }

// extend sets the expiry: the device outlives its sign-ins, and whatever is under way on it.
func (r *record) extend(now time.Time) {
	r.ExpiresAt = now.Add(idle)
	for _, e := range r.SignIns {
		if e.EndsAt.After(r.ExpiresAt) {
			r.ExpiresAt = e.EndsAt
		}
	}
}

// device returns what the record says to others, with sign-ins that are in its order.
func (r *record) device(all []SignIn) *Device {
	d := &Device{ID: r.ID, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt}
	for i := len(all) - 1; i >= 0; i-- {
		d.SignIns = append(d.SignIns, all[i])
	}
	return d
}
