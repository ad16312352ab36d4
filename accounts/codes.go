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

// resendLeft is how much of its life a code must have left to be mailed again in place of a new
// one. Were each request to void the code before, a stranger could keep an owner from ever using
// one.
const resendLeft = 5 * time.Minute

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
	// Nonce is what the code was made from, with CodeSecret, so that the same one can be mailed
	// again.
	Nonce string `json:"nonce,omitempty"`
}

var codesTable = storage.NewCollection("email_codes",
	func(c *emailCode) string { return codeKey(c.DID, c.Purpose) },
	storage.Unique("selector", func(c *emailCode) string { return storage.Join(string(c.Purpose), c.Selector) }),
	storage.Ordered("expires", func(c *emailCode) string { return storage.TimeKey(c.ExpiresAt) }),
).OwnedBy(storage.OwnerGatehouse)

func codeKey(did syntax.DID, purpose mail.Kind) string {
	return storage.Join(did.String(), string(purpose))
}

var (
	errCodeInvalid = refusal.New(ErrInvalidToken, "Token is invalid")
	errCodeExpired = refusal.New(ErrExpiredToken, "Token is expired")
)

func (s *Service) hashCode(purpose mail.Kind, code string) (selector, whole string) {
	return token.Hash(s.cfg.CodeSecret, "selector", string(purpose), code[:selectorLength]),
		token.Hash(s.cfg.CodeSecret, "code", string(purpose), code)
}

// makeCode makes the code of a nonce.
func (s *Service) makeCode(did syntax.DID, purpose mail.Kind, nonce string) string {
	code := token.Derive(s.cfg.CodeSecret, 2*selectorLength, "make", did.String(), string(purpose), nonce)
	return strings.ToUpper(code[:selectorLength] + "-" + code[selectorLength:])
}

// newCode makes and stores a code for an account, or finds the one that is still good for a while,
// and returns it for sending with the account as it was then: an address given up before must not
// get a code that is good after.
func (s *Service) newCode(ctx context.Context, did syntax.DID, purpose mail.Kind) (a *Account, code string, life time.Duration, err error) {
	for {
		nonce, err := token.Base32(s.cfg.Rand, 26)
		if err != nil {
			return nil, "", 0, err
		}
		err = s.store.Update(ctx, func(tx storage.Tx) error {
			r, err := get(tx, did)
			if err != nil {
				return err
			}
			if r.Email == "" {
				return errNoEmail
			}
			a = &r.Account
			now := s.now()
			old, err := codesTable.Get(tx, codeKey(did, purpose))
			switch {
			case err == nil && old.Nonce != "" && old.ExpiresAt.Sub(now) >= resendLeft:
				code, life = s.makeCode(did, purpose, old.Nonce), old.ExpiresAt.Sub(now)
				return nil
			case err != nil && !errors.Is(err, storage.ErrNotFound):
				return err
			}
			code, life = s.makeCode(did, purpose, nonce), s.cfg.CodeLifetime
			selector, whole := s.hashCode(purpose, code)
			return codesTable.Put(tx, &emailCode{
				DID: did, Purpose: purpose, Selector: selector, Code: whole, ExpiresAt: now.Add(life), Nonce: nonce,
			})
		})
		switch {
		case err == nil:
			return a, code, life, nil
		case !errors.Is(err, storage.ErrConflict):
			return nil, "", 0, err
		}
		// Once in a long while two live codes begin alike: take another.
	}
}

// redeem checks a code and, if it is right, uses it up and runs then in the same
// transaction. Without a DID the code itself says whose it is. With a nil then the code is
// only checked, and stays. A text that isn't of the form of a code doesn't count as a guess.
func (s *Service) redeem(ctx context.Context, purpose mail.Kind, did syntax.DID, typed string, then func(storage.Tx, *record) error) error {
	code, ok := normalCode(typed)
	if !ok {
		return errCodeInvalid
	}
	selector, whole := s.hashCode(purpose, code)
	// A refusal must not undo the transaction, which counts the wrong guess.
	var verdict error
	err := s.update(ctx, func(tx storage.Tx) error {
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
	return codesTable.Purge(ctx, s.store, storage.Range{Index: "expires", To: storage.TimeKey(s.now().Add(-24 * time.Hour))})
}

// message makes an e-mail about an account.
func (s *Service) message(a *Account, to string, kind mail.Kind, d mail.Data) (mail.Message, error) {
	d.To, d.Handle, d.ServiceName = to, a.Handle.String(), s.cfg.ServiceName
	return s.cfg.Templates.Render(kind, d)
}

var errNoEmail = refusal.New(ErrInvalidRequest, "account does not have an email address")

// codeMessage makes a code for an account, and the message that carries it.
func (s *Service) codeMessage(ctx context.Context, a *Account, purpose mail.Kind) (mail.Message, error) {
	now, code, life, err := s.newCode(ctx, a.DID, purpose)
	if err != nil {
		return mail.Message{}, err
	}
	return s.message(now, now.Email, purpose, mail.Data{Code: code, Page: s.cfg.MailPages[purpose], Expires: life})
}

// sendCode makes a code for an account and mails it. Beyond the budgets of recipient and client it is
// a [ratelimit.ErrLimited].
func (s *Service) sendCode(ctx context.Context, a *Account, purpose mail.Kind) error {
	if a.Email == "" {
		return errNoEmail
	}
	if err := s.chargeMail(ctx, a.Email); err != nil {
		return err
	}
	m, err := s.codeMessage(ctx, a, purpose)
	if err != nil {
		return err
	}
	return s.send(ctx, a.DID, m)
}

// send waits until a message has left.
func (s *Service) send(ctx context.Context, did syntax.DID, m mail.Message) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.MailTimeout) // to wait for a sender, and for the delivery
	defer cancel()
	err := s.queue.Send(ctx, m)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "e-mail not delivered", "kind", m.Kind, "did", did, "error", err)
	}
	return err
}
