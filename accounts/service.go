package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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

// Errors that several methods return. Test for them with [errors.Is].
var (
	// ErrNotFound is returned when there is no such account. Clients are answered 400
	// AccountNotFound.
	ErrNotFound = errors.New("accounts: account not found")
	// ErrInvalidPassword is returned when a new password is too short, or when the [PasswordPolicy]
	// refuses it. Clients are answered 400 InvalidPassword.
	ErrInvalidPassword = errors.New("accounts: unsuitable password")
	// ErrInvalidRequest is returned when an argument, or the state of the account, doesn't permit
	// what was asked for. Clients are answered 400 InvalidRequest.
	ErrInvalidRequest = errors.New("accounts: invalid request")
	// ErrBadCredentials is returned when an identifier and a secret don't belong together. It
	// doesn't say whether the account exists. Clients are answered 401 AuthenticationRequired.
	ErrBadCredentials = errors.New("accounts: invalid identifier or password")
	// ErrEmailTaken is returned when another account has the e-mail address. Clients are answered
	// 400 InvalidRequest.
	ErrEmailTaken = errors.New("accounts: e-mail address taken")
	// ErrMissingAuth is returned when a sign-up brings an existing DID without proof that the
	// caller controls it. Clients are answered 401 AuthenticationRequired.
	ErrMissingAuth = errors.New("accounts: no proof for the DID")
	// ErrDirectory is returned when the DID directory can't be reached or refuses an operation.
	// Clients are answered 502 UpstreamFailure.
	ErrDirectory = errors.New("accounts: DID directory failed")
)

// PasswordHasher hashes account passwords. Its methods must be safe for concurrent use, bound the
// work that is done at once, and return the error of a context that ends while they wait.
type PasswordHasher interface {
	// Hash returns the encoded hash of a password.
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether the password is the hashed one, and if so, whether the hash should be
	// replaced because it is weaker than those that Hash makes. If the password is wrong, verifying
	// it costs at least the given work.
	Verify(ctx context.Context, encoded, password string, work int64) (ok, rehash bool, err error)
	// Dummy does the given work, or that of a new hash if that is more, for an account that doesn't
	// exist or has no password.
	Dummy(ctx context.Context, password string, work int64) error
	// Work returns the work of verifying a hash, in a unit of the hasher's own.
	Work(encoded string) int64
}

// Config configures a [Service]. The fields without a default are required.
type Config struct {
	// Handles configures which handles accounts may have.
	Handles handle.Config
	// SignUp says who may sign up. Default [SignUpOpen].
	SignUp SignUpMode
	// CheckSignUp is called before a sign-up, after all other checks and before the password is
	// hashed, outside of transactions; [ratelimit.FromContext] returns the client's address. If it
	// returns an error, no account is created and nothing of the attempt is kept: no ticket is
	// used. Clients of the HTTP API are shown the text of an error with a method PublicMessage()
	// string. Optional.
	CheckSignUp func(context.Context, Applicant) error
	// Gate decides which tickets, such as invite codes, permit a sign-up. Without one, sign-ups
	// need no ticket, and tickets are ignored. Optional.
	Gate Gate
	// Hooks take part in every change of an account, in this order: first what follows from it in
	// other packages, such as the end of its sessions, then what the embedding program does.
	Hooks []Hook
	// MinPasswordLength is the least number of characters of a new password. Default 8.
	MinPasswordLength int
	// PasswordPolicy can refuse new passwords that are neither too short nor too long. Optional.
	PasswordPolicy PasswordPolicy
	// NoPasswords is set if owners sign in with other credentials than account passwords: new
	// accounts get no password, those that have one can't use it, and none can be set or reset.
	NoPasswords bool
	// ServiceName is the name of the server in e-mails.
	ServiceName string

	// DIDs creates and changes the DIDs of accounts. Required.
	DIDs *did.Registrar
	// Resolver resolves DIDs to their documents. Without one, sessions are answered without a
	// document, and accounts whose DID is neither a did:plc nor hosted here can't be activated.
	// Optional.
	Resolver *did.Resolver
	// PublicURL is where clients and other servers reach this server, as its accounts' DID
	// documents name it: scheme and host, without a slash at the end.
	PublicURL string
	// Keys generates and unseals the signing keys of accounts. Required.
	Keys keys.Store
	// Passwords hashes account passwords. Required.
	Passwords PasswordHasher
	// MinDeletionDelay is the least time between a deactivation and the deletion that an owner has
	// scheduled with it. Default 72 hours.
	MinDeletionDelay time.Duration
	// EmailPolicy can refuse e-mail addresses that are well formed. Default [DefaultEmailPolicy].
	EmailPolicy EmailPolicy

	// Mailer delivers the e-mails. Required.
	Mailer mail.Mailer
	// Templates render the e-mails. Default: those of package mail.
	Templates *mail.Templates
	// MailPages are the URLs of pages where people enter mailed codes, by kind of e-mail; see
	// [mail.CheckPage]. For a kind without a page, people enter the code in the app that asked for
	// it.
	MailPages map[mail.Kind]string
	// MailTimeout bounds a delivery, and so the request that waits for it. Default 15 seconds.
	MailTimeout time.Duration
	// MuteNotices are kinds of notices that are not sent; see [mail.Notices].
	MuteNotices []mail.Kind
	// Codes issues and redeems the codes that are e-mailed to the owners of accounts. Required.
	Codes *codes.Book

	// Limits counts e-mails, password hashes, and answers that reveal whether an address has an
	// account. The zero value limits nothing.
	Limits ratelimit.Meter

	// Now returns the current time. Default [time.Now].
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
	// process identifies this process in the changes that it stores, and alone is true if no other
	// process can have the store open.
	process string
	alone   bool

	known     *storage.Cache[record] // for [Service.ReadTx]
	handles   *handle.Service
	queue     *mail.Queue
	reminding sync.Map      // DIDs of accounts whose owners are being reminded of a deletion
	changes   atomic.Uint64 // transactions of this process that may have changed accounts

	work struct { // of password hashes, in the hasher's unit
		sync.Mutex
		max       int64     // of the costliest hash
		unindexed int64     // of the costliest hash that isn't in the index
		until     time.Time // when max has to be read again
	}
}

// New returns a service on a store, in which it defines [Tables]. It returns an error if a required
// field of the Config is missing, or another is invalid.
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
	s := &Service{store: store, cfg: cfg, known: storage.NewCache(accountsTable, cachedAccounts), handles: handles}
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

// Tables returns the collections of this package and of package codes.
func Tables() []storage.Definer {
	return append(codes.Tables(), accountsTable, didChanges, reservedTable, formerTable)
}

// PublicURL returns the PublicURL of the [Config].
func (s *Service) PublicURL() string { return s.cfg.PublicURL }

// Maintain does one round of background work: it finishes or undoes sign-ups and changes of handles
// and signing keys that were interrupted, deletes the accounts whose deletion is due, reminds the
// owners of those that are due soon, and removes what has expired. Call it at start and
// periodically; several processes on one store may do so at the same time.
func (s *Service) Maintain(ctx context.Context) error {
	return errors.Join(
		s.recoverChanges(ctx),
		s.deleteDue(ctx),
		s.cfg.Codes.Purge(ctx, s.store),
		s.purgeReservedKeys(ctx),
		s.purgeFormer(ctx),
	)
}

// Close waits until the e-mails that are under way have been sent. If ctx ends first, it drops the
// others and returns the error of ctx.
func (s *Service) Close(ctx context.Context) error { return s.queue.Close(ctx) }

// update runs an Update that changes accounts.
func (s *Service) update(ctx context.Context, fn func(storage.Tx) error) error {
	defer s.changes.Add(1) // also when it failed: it may have happened all the same
	return s.store.Update(ctx, fn)
}

// decide is update with [storage.Decide]: what fn wrote is committed even if it refuses.
func (s *Service) decide(ctx context.Context, fn func(storage.Tx) (refusal, err error)) error {
	defer s.changes.Add(1) // also when it failed: it may have happened all the same
	return storage.Decide(ctx, s.store, fn)
}

// Changes returns a number that differs whenever this process may have changed an account in
// between. As long as it is the same, what a caller has cached of accounts is current, apart from
// changes by other processes.
func (s *Service) Changes() uint64 { return s.changes.Load() }

// now returns the time in UTC, to the millisecond, as documents store it.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
