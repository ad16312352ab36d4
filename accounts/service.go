package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors of this package, beside those that speak of handles and addresses. Test
// for them with [errors.Is].
var (
	// ErrNotFound says that there is no such account.
	ErrNotFound = errors.New("accounts: account not found")
	// ErrInvalidPassword is returned when a new password is too short, or when the [PasswordPolicy]
	// refuses it. Clients are answered 400 InvalidPassword.
	ErrInvalidPassword = errors.New("accounts: unsuitable password")
	// ErrInvalidRequest says that an argument can't be used as it is.
	ErrInvalidRequest = errors.New("accounts: invalid request")
	// ErrBadCredentials is returned when an identifier and a secret don't belong together. It doesn't
	// say whether the account exists. Clients are answered 401 AuthenticationRequired.
	ErrBadCredentials = errors.New("accounts: invalid identifier or password")
	// ErrEmailTaken says that the e-mail address belongs to an account.
	ErrEmailTaken = errors.New("accounts: e-mail address taken")
	// ErrMissingAuth says that bringing a DID needs a proof that it is the caller's.
	ErrMissingAuth = errors.New("accounts: no proof for the DID")
	// ErrDirectory says that the DID directory could not be reached or refused.
	ErrDirectory = errors.New("accounts: DID directory")
)

// PasswordHasher hashes account passwords. Its methods are safe for concurrent
// use, bound the work done at once, and return the context's error when it ends
// while they wait.
type PasswordHasher interface {
	// Hash returns the encoded hash of a password.
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether the password is the hashed one, and whether the hash should be
	// replaced because it is weaker than those that Hash makes. If it isn't, it costs at least so
	// much work.
	Verify(ctx context.Context, encoded, password string, work int64) (ok, rehash bool, err error)
	// Dummy does so much work, and at least that of a new hash, for an account that doesn't exist.
	Dummy(ctx context.Context, password string, work int64) error
	// Work tells what verifying a hash costs, in a unit of its own.
	Work(encoded string) int64
}

// Config configures a [Service]. The fields without a default are required.
type Config struct {
	// Handles says which handles accounts may have.
	Handles handle.Config
	// SignUp says who may sign up. Default [SignUpOpen].
	SignUp SignUpMode
	// CheckSignUp is a gate before sign-up. It is called after all other checks, outside of
	// transactions and before the password is hashed; [ratelimit.FromContext] has the client's
	// address. If it returns an error there is no account, and nothing of the attempt is kept: no
	// ticket is used. Clients of the HTTP API are shown the text of an error with a method
	// PublicMessage() string. Optional.
	CheckSignUp func(context.Context, Applicant) error
	// Gate stands before sign-up. Without one tickets are ignored.
	Gate Gate
	// Hooks take part in every change of an account, in this order: first what follows from it in
	// other packages, such as sessions that end, then what the embedding program does.
	Hooks []Hook
	// MinPasswordLength is the fewest characters of a new password. Default 8.
	MinPasswordLength int
	// PasswordPolicy refuses new passwords beyond those that are too short or too long. Optional.
	PasswordPolicy PasswordPolicy
	// NoPasswords is set if owners prove who they are in other ways than by an account password:
	// accounts get none, those that have one can't use it, and none can be set or reset.
	NoPasswords bool
	// ServiceName is what e-mails call the server.
	ServiceName string

	// DIDs makes and changes the DIDs of accounts.
	DIDs *did.Registrar
	// Resolver finds their documents. Without it sessions come without one.
	Resolver *did.Resolver
	// PublicURL is where clients and other servers reach this server, as its accounts' DID documents
	// name it: scheme and host, without a slash at the end.
	PublicURL string
	// Keys keeps the signing keys of accounts.
	Keys keys.Store
	// Passwords hashes account passwords.
	Passwords PasswordHasher
	// MinDeletionDelay is the least time between a deactivation and the deletion that its owner
	// wished for with it. Default 72 hours.
	MinDeletionDelay time.Duration
	// EmailPolicy refuses e-mail addresses beyond those that are malformed. Default
	// [DefaultEmailPolicy].
	EmailPolicy EmailPolicy

	// Mailer delivers the e-mails.
	Mailer mail.Mailer
	// Templates makes the e-mails. Default: those of package mail.
	Templates *mail.Templates
	// MailPages are the URLs of pages where people enter mailed codes, by kind of e-mail; see
	// [mail.CheckPage]. Without one they enter the code in the app that asked for it.
	MailPages map[mail.Kind]string
	// MailTimeout bounds a delivery, and so the request that waits for it. Default 15 seconds.
	MailTimeout time.Duration
	// MuteNotices are kinds of notices that are not sent; see [mail.Notices].
	MuteNotices []mail.Kind
	// Codes keeps the codes that are e-mailed to the owners of accounts.
	Codes *codes.Book

	// Limits counts what anybody may try: guesses at passwords, e-mails, hashes. The zero value
	// limits nothing.
	Limits ratelimit.Meter

	// Now tells the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
	// Logger receives what operators should know. Default: none.
	Logger *slog.Logger
}

// Service keeps the accounts of a server. Its methods are safe for concurrent use.
type Service struct {
	store storage.Store
	cfg   Config
	// process names this process in what it stores, and alone is true if no other process can have the
	// store open.
	process string
	alone   bool

	handles   *handle.Service
	queue     *mail.Queue
	reminding sync.Map      // the DIDs whose owners are being reminded of a deletion
	changes   atomic.Uint64 // transactions of this process that may have changed accounts

	work struct { // of password hashes, in the hasher's unit
		sync.Mutex
		max       int64     // of the costliest hash
		unindexed int64     // of the costliest hash that the index doesn't have
		until     time.Time // when max is to be read again
	}
}

// New returns a service on a store, whose tables it defines.
func New(ctx context.Context, store storage.Store, cfg Config) (*Service, error) {
	switch {
	case cfg.DIDs == nil:
		return nil, errors.New("accounts: Config.DIDs is missing")
	case cfg.Keys == nil:
		return nil, errors.New("accounts: Config.Keys is missing")
	case cfg.Passwords == nil:
		return nil, errors.New("accounts: Config.Passwords is missing")
	case cfg.Mailer == nil:
		return nil, errors.New("accounts: Config.Mailer is missing")
	case cfg.Codes == nil:
		return nil, errors.New("accounts: Config.Codes is missing")
	}
	switch cfg.SignUp {
	case "":
		cfg.SignUp = SignUpOpen
	case SignUpOpen, SignUpMigrations, SignUpClosed:
	default:
		return nil, fmt.Errorf("accounts: Config.SignUp is %q", cfg.SignUp)
	}
	cfg.MailPages = maps.Clone(cfg.MailPages)
	for kind, page := range cfg.MailPages {
		if err := mail.CheckPage(kind, page); err != nil {
			return nil, fmt.Errorf("accounts: Config.MailPages: %w", err)
		}
	}
	if cfg.MinPasswordLength == 0 {
		cfg.MinPasswordLength = 8
	}
	if cfg.MailTimeout == 0 {
		cfg.MailTimeout = 15 * time.Second
	}
	if cfg.EmailPolicy == nil {
		cfg.EmailPolicy = DefaultEmailPolicy
	}
	if cfg.MinDeletionDelay == 0 {
		cfg.MinDeletionDelay = 72 * time.Hour
	}
	if cfg.Templates == nil {
		t, err := mail.NewTemplates(nil)
		if err != nil {
			return nil, err
		}
		cfg.Templates = t
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	if cfg.Handles.Now == nil {
		cfg.Handles.Now = cfg.Now
	}
	handles, err := handle.New(ctx, store, handleOwners{cfg.DIDs}, cfg.Handles)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	s := &Service{store: store, cfg: cfg, handles: handles}
	_, s.alone = store.(storage.SingleProcess)
	if s.process, err = token.Base32(cfg.Rand, 16); err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	if err := s.adoptSignUps(ctx); err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	s.queue = mail.NewQueue(mail.QueueConfig{Mailer: cfg.Mailer, Timeout: cfg.MailTimeout, Logger: cfg.Logger})
	return s, nil
}

// Tables are the collections of this package, and those of its codes.
func Tables() []storage.Definer {
	return slices.Concat(codes.Tables(), handle.Tables(), []storage.Definer{accountsTable, didChanges, reservedTable, formerTable})
}

// PublicURL returns the PublicURL of the [Config].
func (s *Service) PublicURL() string { return s.cfg.PublicURL }

// Maintain does one round of background work: it ends what was cut short, deletes the accounts whose
// time has come, and removes what has expired. It is to be called periodically.
func (s *Service) Maintain(ctx context.Context) error {
	return errors.Join(
		s.recoverChanges(ctx),
		s.deleteDue(ctx),
		s.cfg.Codes.Purge(ctx, s.store),
		s.purgeReservedKeys(ctx),
		s.purgeFormer(ctx),
	)
}

// Close waits for e-mails that are on their way, until ctx ends; then it gives
// them up.
func (s *Service) Close(ctx context.Context) error { return s.queue.Close(ctx) }

// update changes accounts.
func (s *Service) update(ctx context.Context, fn func(storage.Tx) error) error {
	defer s.changes.Add(1) // also when it failed: it may have happened all the same
	return s.store.Update(ctx, fn)
}

// decide changes accounts, and commits what fn wrote even if it refuses, as [storage.Decide] does.
func (s *Service) decide(ctx context.Context, fn func(storage.Tx) (refusal, err error)) error {
	defer s.changes.Add(1) // also when it failed: it may have happened all the same
	return storage.Decide(ctx, s.store, fn)
}

// Changes is another number whenever this process may have changed an account since. What is
// remembered of accounts while it is the same is as good as read again, but for the changes of
// other processes.
func (s *Service) Changes() uint64 { return s.changes.Load() }

// now is the time in UTC, to the millisecond: what a document can hold.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
