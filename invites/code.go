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

// Admin takes the place of a DID in [Code.ForAccount] and [Code.CreatedBy] for codes of the server.
const Admin = "admin"

// Code is an invite code.
type Code struct {
	// Code is the text of the code: the host name of the server, and ten random characters in two
	// groups.
	Code string `json:"code"`
	// Available is how often the code can be used in total, including Used.
	Available int `json:"available"`
	// Used is how often the code has been used.
	Used int `json:"used"`
	// Disabled is set if an admin has disabled the code.
	Disabled bool `json:"disabled,omitempty"`
	// ForAccount is the DID of the account that the code belongs to, which may give it away, or
	// [Admin].
	ForAccount string `json:"forAccount"`
	// CreatedBy is the DID of the account that has earned the code, or [Admin].
	CreatedBy string `json:"createdBy"`
	// CreatedAt is in UTC, to the millisecond.
	CreatedAt time.Time `json:"createdAt"`
	// Uses are the newest uses of the code, newest first: up to 100, and up to 1000 of all codes of an
	// account together. They are stored separately, and filled in when codes are listed.
	Uses []Use `json:"-"`
}

// Use is one use of a code.
type Use struct {
	// UsedBy is the account that signed up with the code.
	UsedBy syntax.DID `json:"usedBy"`
	// UsedAt is in UTC, to the millisecond.
	UsedAt time.Time `json:"usedAt"`
}

// Normalize returns an invite code as it was created from what people type and paste: with letters
// of any case, spaces around it, other dashes, invisible characters, and full-width forms.
func Normalize(code string) string { return typed.Dashes(typed.Lower(typed.Name(code))) }

// usable reports whether the code can be used once more.
func (c *Code) usable() bool { return !c.Disabled && c.Used < c.Available }

var codes = storage.NewCollection("invite_codes",
	func(c *Code) string { return c.Code },
	storage.Ordered("account", func(c *Code) string {
		return storage.Join(c.ForAccount, storage.TimeKey(c.CreatedAt))
	}),
	storage.Ordered("created", func(c *Code) string { return storage.TimeKey(c.CreatedAt) }),
	storage.Ordered("used", func(c *Code) string { return usedKey(c.Used) }),
).OwnedBy(storage.OwnerGatehouse)

// use is a Use as it is stored: in a document of its own, so that the document of a code with many
// uses stays small.
type use struct {
	Code string `json:"code"`
	// Owner is the ForAccount of the code.
	Owner string `json:"owner"`
	// Before is how often the account had used the code before. An account that has moved away and
	// comes back with the same DID may use it again.
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

// usedKey returns an index value that orders codes by their number of uses.
func usedKey(n int) string { return fmt.Sprintf("%010d", n) }
