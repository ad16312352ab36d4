package accounts

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// A code is ten random characters, of which the first five only serve to find it
// again where nothing else says whose it is (a password reset). The other five
// have to be known, and wrong guesses at them are counted against the account.
const (
	selectorLength = 5
	maxGuesses     = 10
)

// emailCode is a code that was e-mailed. There is one for an account and a
// purpose: a newer code voids the older.
type emailCode struct {
	DID     syntax.DID `json:"did"`
	Purpose mail.Kind  `json:"purpose"`
	// Selector and Code are keyed hashes of the first half and of the whole.
	Selector  string    `json:"selector"`
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expiresAt"`
	Guesses   int       `json:"guesses,omitempty"`
}

var codesTable = storage.NewCollection("email_codes",
	func(c *emailCode) string { return codeKey(c.DID, c.Purpose) },
	storage.Unique("selector", func(c *emailCode) string { return storage.Join(string(c.Purpose), c.Selector) }),
	storage.Ordered("expires", func(c *emailCode) string { return storage.TimeKey(c.ExpiresAt) }),
)

func codeKey(did syntax.DID, purpose mail.Kind) string {
	return storage.Join(did.String(), string(purpose))
}

var (
	errCodeInvalid = refusal.New(ErrInvalidToken, "Token is invalid")
	errCodeExpired = refusal.New(ErrExpiredToken, "Token is expired")
)

// normalCode brings a code as typed into the form in which it was sent.
func normalCode(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }

func (s *Service) hashCode(purpose mail.Kind, code string) (selector, whole string) {
	return token.Hash(s.cfg.CodeSecret, "selector", string(purpose), code[:selectorLength]),
		token.Hash(s.cfg.CodeSecret, "code", string(purpose), code)
}

// newCode makes and stores a code for an account, and returns it for sending with the account as
// it was then: an address given up before must not get a code that is good after.
func (s *Service) newCode(ctx context.Context, did syntax.DID, purpose mail.Kind) (*Account, string, error) {
	for {
		code, err := token.Grouped(s.cfg.Rand, 2, 5)
		if err != nil {
			return nil, "", err
		}
		code = normalCode(code)
		selector, whole := s.hashCode(purpose, code)
		var r *record
		err = s.store.Update(ctx, func(tx storage.Tx) (err error) {
			if r, err = get(tx, did); err != nil {
				return err
			}
			if r.Email == "" {
				return errNoEmail
			}
			return codesTable.Put(tx, &emailCode{
				DID: did, Purpose: purpose, Selector: selector, Code: whole,
				ExpiresAt: s.now().Add(s.cfg.CodeLifetime),
			})
		})
		switch {
		case err == nil:
			return &r.Account, code, nil
		case !errors.Is(err, storage.ErrConflict):
			return nil, "", err
		}
		// Once in a long while two live codes begin alike: take another.
	}
}

// redeem checks a code and, if it is right, uses it up and runs then in the same
// transaction. Without a DID the code itself says whose it is. With a nil then the code is
// only checked, and stays.
func (s *Service) redeem(ctx context.Context, purpose mail.Kind, did syntax.DID, typed string, then func(storage.Tx, *record) error) error {
	code := normalCode(typed)
	if len(code) <= selectorLength {
		return errCodeInvalid
	}
	selector, whole := s.hashCode(purpose, code)
	// A refusal must not undo the transaction, which counts the wrong guess.
	var verdict error
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		verdict = nil
		var c *emailCode
		var err error
		if did != "" {
			c, err = codesTable.Get(tx, codeKey(did, purpose))
		} else {
			c, err = codesTable.GetBy(tx, "selector", storage.Join(string(purpose), selector))
		}
		switch {
		case errors.Is(err, storage.ErrNotFound):
			verdict = errCodeInvalid
			return nil
		case err != nil:
			return err
		case !token.Equal(c.Code, whole):
			verdict = errCodeInvalid
			if c.Guesses++; c.Guesses >= maxGuesses {
				return voidCode(tx, c.DID, c.Purpose)
			}
			return codesTable.Put(tx, c)
		case !s.now().Before(c.ExpiresAt):
			verdict = errCodeExpired
			return nil
		case then == nil:
			return nil
		}
		r, err := get(tx, c.DID)
		if err != nil {
			return err
		}
		if err := voidCode(tx, c.DID, c.Purpose); err != nil {
			return err
		}
		return then(tx, r)
	})
	if err != nil {
		return err
	}
	return verdict
}

// voidCodes removes all codes of an account.
func voidCodes(tx storage.Tx, did syntax.DID) error {
	_, err := codesTable.DeleteAll(tx, storage.Range{Prefix: did.String() + " "})
	return err
}

func voidCode(tx storage.Tx, did syntax.DID, purpose mail.Kind) error {
	return codesTable.Delete(tx, codeKey(did, purpose))
}

// PurgeCodes removes codes that expired a day ago or longer. It is housekeeping, to be run
// now and then.
func (s *Service) PurgeCodes(ctx context.Context) error {
	for {
		n := 0
		err := s.store.Update(ctx, func(tx storage.Tx) (err error) {
			n, err = codesTable.DeleteAll(tx, storage.Range{
				Index: "expires", To: storage.TimeKey(s.now().Add(-24 * time.Hour)), Limit: 500,
			})
			return err
		})
		if err != nil || n < 500 {
			return err
		}
	}
}

// deliver mails an account a message of a kind.
func (s *Service) deliver(ctx context.Context, a *Account, kind mail.Kind, d mail.Data) error {
	d.To, d.Handle, d.ServiceName = a.Email, a.Handle.String(), s.cfg.ServiceName
	m, err := s.cfg.Templates.Render(kind, d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.MailTimeout)
	defer cancel()
	if err := s.cfg.Mailer.Send(ctx, m); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "e-mail not delivered", "kind", kind, "did", a.DID, "error", err)
		return err
	}
	return nil
}

var errNoEmail = refusal.New(ErrInvalidRequest, "account does not have an email address")

// sendCode makes a code for an account and mails it.
func (s *Service) sendCode(ctx context.Context, did syntax.DID, purpose mail.Kind) error {
	a, code, err := s.newCode(ctx, did, purpose)
	if err != nil {
		return err
	}
	return s.deliver(ctx, a, purpose, mail.Data{Code: code, Expires: s.cfg.CodeLifetime})
}
