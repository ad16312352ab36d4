// Package codes keeps the one-time codes that a server e-mails to the owners of accounts: it
// issues, checks, redeems and voids them.
//
// It knows a code by the DID of its account and by its [Purpose], and nothing else of accounts or
// of mail. Its methods work inside transactions that their callers own, so that whatever a code
// allows happens together with its use. Those that judge a code return a refusal beside the error,
// since a wrong guess has to be counted although it is refused: [storage.Decide] commits the count.
package codes

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The errors of codes. Test for them with [errors.Is].
var (
	// ErrInvalid is returned when a code is wrong, was used or voided, or is for another account or
	// purpose. Clients are answered 400 InvalidToken.
	ErrInvalid = errors.New("codes: invalid code")
	// ErrExpired is returned when a code is right, but too old. Clients are answered 400
	// ExpiredToken.
	ErrExpired = errors.New("codes: expired code")
)

var (
	errInvalid = refusal.New(ErrInvalid, "Token is invalid")
	errExpired = refusal.New(ErrExpired, "Token is expired")
)

// Purpose is what a code allows. A code of one purpose is invalid for every other.
type Purpose string

// The purposes. Their values are stored with the codes.
const (
	// ResetPassword sets a new password (com.atproto.server.resetPassword).
	ResetPassword Purpose = "reset_password"
	// DeleteAccount deletes the account (com.atproto.server.deleteAccount).
	DeleteAccount Purpose = "delete_account"
	// ConfirmEmail confirms that the account's address receives mail
	// (com.atproto.server.confirmEmail).
	ConfirmEmail Purpose = "confirm_email"
	// UpdateEmail replaces a confirmed address (com.atproto.server.updateEmail).
	UpdateEmail Purpose = "update_email"
	// SignPLCOperation signs an operation for the account's DID
	// (com.atproto.identity.signPlcOperation).
	SignPLCOperation Purpose = "plc_operation"
	// SignIn completes a login (com.atproto.server.createSession).
	SignIn Purpose = "sign_in"
)

// A code is ten random characters. The first five are its selector, which only serves to find the
// code where nothing else says which account it is for. The other five have to be known, and
// maxGuesses wrong guesses at them void the code.
const (
	selectorLength = 5
	maxGuesses     = 10
)

const (
	// resendLeft is how much of its lifetime a code must have left to be issued again instead of a
	// new one. If each request voided the code before it, a stranger could keep an owner from ever
	// using one.
	resendLeft = 5 * time.Minute
	// keptAfterExpiry is how long an expired code is kept, so that it is called expired, not
	// invalid.
	keptAfterExpiry = 24 * time.Hour
)

// Config configures a [Book].
type Config struct {
	// Secret keys the codes and the hashes under which they are stored. It is required, and at
	// least 32 bytes long. Codes that were issued with another secret are invalid.
	Secret []byte
	// Lifetime is how long a code is good for. Default 15 minutes.
	Lifetime time.Duration
	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// Book issues codes and judges them. Its methods are safe for concurrent use.
type Book struct{ cfg Config }

// New returns a book of codes. The store in whose transactions it is used must have the collections
// of [Tables].
func New(cfg Config) (*Book, error) {
	switch {
	case len(cfg.Secret) < 32:
		return nil, errors.New("codes: Config.Secret is shorter than 32 bytes")
	case cfg.Lifetime < 0:
		return nil, errors.New("codes: Config.Lifetime must be positive")
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 15 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Book{cfg}, nil
}

// record is a code as it is stored. An account has at most one for each purpose: a newer code
// replaces the older.
type record struct {
	DID     syntax.DID `json:"did"`
	Purpose Purpose    `json:"purpose"`
	// Selector and Hash are keyed hashes of the selector and of the whole code.
	Selector  string    `json:"selector"`
	Hash      string    `json:"code"`
	ExpiresAt time.Time `json:"expiresAt"`
	// Guesses counts the wrong ones.
	Guesses int `json:"guesses,omitempty"`
	// Nonce is what the code was derived from, with the secret, so that it can be issued again.
	Nonce string `json:"nonce,omitempty"`
}

var table = storage.NewCollection("email_codes",
	func(r *record) string { return key(r.DID, r.Purpose) },
	storage.Unique("selector", func(r *record) string { return storage.Join(string(r.Purpose), r.Selector) }),
	storage.Ordered("expires", func(r *record) string { return storage.TimeKey(r.ExpiresAt) }),
).OwnedBy(storage.OwnerGatehouse)

func key(did syntax.DID, purpose Purpose) string { return storage.Join(did.String(), string(purpose)) }

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

// Nonce returns the randomness of one code, for [Book.Issue]. It is to be called outside the
// transaction, whose function may run more than once.
func (b *Book) Nonce() (string, error) { return token.Base32(b.cfg.Rand, 26) }

// Issued is a code that can be sent to the owner of its account.
type Issued struct {
	Code Code
	// Left is how long the code is still good for.
	Left time.Duration
}

// Issue returns the code of an account for a purpose. While the present code has five minutes left
// it is issued again, with the wrong guesses that were made at it; otherwise a new one, made from
// the nonce, takes its place.
//
// The transaction fails with a [storage.ErrConflict] if a code of another account has the same
// selector, a chance of one in 33 million for each: the caller then tries again with another nonce.
func (b *Book) Issue(tx storage.Tx, did syntax.DID, purpose Purpose, nonce string) (Issued, error) {
	if nonce == "" { // it would be the same code every time
		return Issued{}, errors.New("codes: a nonce is required")
	}
	now := b.now()
	present, err := table.Get(tx, key(did, purpose))
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return Issued{}, err
	case present.Nonce != "" && present.ExpiresAt.Sub(now) >= resendLeft:
		return Issued{Code: b.derive(did, purpose, present.Nonce), Left: present.ExpiresAt.Sub(now)}, nil
	}
	code := b.derive(did, purpose, nonce)
	err = table.Put(tx, &record{
		DID: did, Purpose: purpose, Selector: b.hashSelector(purpose, code), Hash: b.hash(purpose, code),
		ExpiresAt: now.Add(b.cfg.Lifetime), Nonce: nonce,
	})
	return Issued{Code: code, Left: b.cfg.Lifetime}, err
}

// Owner returns the account to which a code may belong, found by the selector that is part of it.
// It doesn't check the code: [Book.Check] and [Book.Redeem] do. The error is an [ErrInvalid] if
// there is no such account.
func (b *Book) Owner(tx storage.Tx, purpose Purpose, code Code) (syntax.DID, error) {
	r, err := table.GetBy(tx, "selector", storage.Join(string(purpose), b.hashSelector(purpose, code)))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return "", errInvalid
	case err != nil:
		return "", err
	}
	return r.DID, nil
}

// Check judges a code without using it up. The refusal, an [ErrInvalid] or an [ErrExpired], is nil
// if the code is right. A wrong code counts as a guess, and the tenth voids the code of the
// account: that is written in the transaction, which has to be committed with the refusal.
func (b *Book) Check(tx storage.Tx, did syntax.DID, purpose Purpose, code Code) (refusal, err error) {
	r, err := table.Get(tx, key(did, purpose))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return errInvalid, nil
	case err != nil:
		return nil, err
	case !token.Equal(r.Hash, b.hash(purpose, code)):
		return errInvalid, countGuess(tx, r)
	case !b.now().Before(r.ExpiresAt):
		return errExpired, nil
	}
	return nil, nil
}

// Redeem is [Book.Check] that uses the code up if it is right. If the transaction is rolled back,
// the code stays as it was.
func (b *Book) Redeem(tx storage.Tx, did syntax.DID, purpose Purpose, code Code) (refusal, err error) {
	refusal, err = b.Check(tx, did, purpose, code)
	if refusal != nil || err != nil {
		return refusal, err
	}
	return nil, table.Delete(tx, key(did, purpose))
}

// countGuess counts a wrong guess, and voids the code with the last that is allowed.
func countGuess(tx storage.Tx, r *record) error {
	r.Guesses++
	if r.Guesses >= maxGuesses {
		return table.Delete(tx, key(r.DID, r.Purpose))
	}
	return table.Put(tx, r)
}

// Void removes all codes of an account.
func Void(tx storage.Tx, did syntax.DID) error {
	_, err := table.DeleteAll(tx, storage.Under("", did.String()))
	return err
}

// Purge removes the codes that expired a day ago or earlier. Call it periodically.
func (b *Book) Purge(ctx context.Context, store storage.Store) error {
	return table.Purge(ctx, store, storage.Range{Index: "expires", To: storage.TimeKey(b.now().Add(-keptAfterExpiry))})
}

// derive makes the code of a nonce.
func (b *Book) derive(did syntax.DID, purpose Purpose, nonce string) Code {
	text := strings.ToUpper(token.Derive(b.cfg.Secret, 2*selectorLength, "make", did.String(), string(purpose), nonce))
	return Code(text[:selectorLength] + "-" + text[selectorLength:])
}

func (b *Book) hashSelector(purpose Purpose, code Code) string {
	selector := code[:min(selectorLength, len(code))]
	return token.Hash(b.cfg.Secret, "selector", string(purpose), string(selector))
}

func (b *Book) hash(purpose Purpose, code Code) string {
	return token.Hash(b.cfg.Secret, "code", string(purpose), string(code))
}

// now is the time in UTC, to the millisecond: what a document can hold.
func (b *Book) now() time.Time { return b.cfg.Now().UTC().Truncate(time.Millisecond) }
