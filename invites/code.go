package invites

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Admin stands in [Code.ForAccount] and [Code.CreatedBy] where no account does.
const Admin = "admin"

// Code is an invite code.
type Code struct {
	Code string `json:"code"`
	// Available is how often the code can be used in all, uses made included.
	Available int `json:"available"`
	// Used is how often it was.
	Used     int  `json:"used"`
	Disabled bool `json:"disabled,omitempty"`
	// ForAccount is the DID of the account that may give the code away, or [Admin].
	ForAccount string `json:"forAccount"`
	// CreatedBy is the same DID if the code was earned, or [Admin].
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	// Uses are the uses made, newest first. They are kept apart from the code, and filled in
	// when codes are listed.
	Uses []Use `json:"-"`
}

// Use is one use of a code.
type Use struct {
	UsedBy syntax.DID `json:"usedBy"`
	UsedAt time.Time  `json:"usedAt"`
}

// Normalize returns an invite code in the form in which it was made, from what people type and
// paste: in any case of letters, with spaces around it, and with other dashes, invisible characters
// and full-width forms in it.
func Normalize(code string) string { return typed.Dashes(typed.Lower(typed.Name(code))) }

// usable reports whether the code lets one more account in.
func (c *Code) usable() bool { return !c.Disabled && c.Used < c.Available }

var codes = storage.NewCollection("invite_codes",
	func(c *Code) string { return c.Code },
	storage.Ordered("account", func(c *Code) string {
		return storage.Join(c.ForAccount, storage.TimeKey(c.CreatedAt))
	}),
	storage.Ordered("created", func(c *Code) string { return storage.TimeKey(c.CreatedAt) }),
	storage.Ordered("used", func(c *Code) string { return usedKey(c.Used) }),
).OwnedBy(storage.OwnerGatehouse)

// use is a use as it is stored: a document of its own, so that a code with
// many uses stays small.
type use struct {
	Code string `json:"code"`
	// Owner is the code's ForAccount.
	Owner string `json:"owner"`
	// Before is how often the account had used the code before: one that left and
	// comes back with its DID may use it again.
	Before int `json:"before,omitempty"`
	Use
}

func (u *use) key() string {
	key := storage.Join(u.Code, u.UsedBy.String())
	if u.Before > 0 {
		key = storage.Join(key, strconv.Itoa(u.Before))
	}
	return key
}

// usesBy counts the uses of a code by an account.
func usesBy(tx storage.Tx, code string, did syntax.DID) (int, error) {
	for u := (&use{Code: code, Use: Use{UsedBy: did}}); ; u.Before++ {
		switch _, err := uses.Get(tx, u.key()); {
		case errors.Is(err, storage.ErrNotFound):
			return u.Before, nil
		case err != nil:
			return 0, err
		}
	}
}

var uses = storage.NewCollection("invite_uses",
	(*use).key,
	storage.Ordered("code", func(u *use) string { return storage.Join(u.Code, storage.TimeKey(u.UsedAt)) }),
	storage.Ordered("owner", func(u *use) string { return storage.Join(u.Owner, storage.TimeKey(u.UsedAt)) }),
	storage.Ordered("used_by", func(u *use) string { return u.UsedBy.String() }),
).OwnedBy(storage.OwnerGatehouse)

// usedKey orders codes by their number of uses.
func usedKey(n int) string { return fmt.Sprintf("%010d", n) }
