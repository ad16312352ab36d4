package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/traffic"
)

// ErrUnknownFormat is returned when a stored hash is not of a form that this package knows, or
// would cost more than it accepts. Clients are answered 500 InternalServerError.
var ErrUnknownFormat = errors.New("password: unknown hash format")

// Params are the costs of an argon2id hash (source: RFC 9106).
type Params struct {
	// Time is the number of passes over the memory.
	Time uint32
	// Memory is the memory in KiB.
	Memory uint32
	// Threads is the number of lanes that are filled at the same time.
	Threads uint8
}

// DefaultParams take 19 MiB and two passes in one thread, which OWASP recommends for a server that
// also does other things. A hash takes some tens of milliseconds.
var DefaultParams = Params{Time: 2, Memory: 19 * 1024, Threads: 1}

// CheapParams take microseconds. They are for tests, and don't protect passwords.
var CheapParams = Params{Time: 1, Memory: 8, Threads: 1}

// Config configures a [Hasher]. The zero value is a good choice for a server.
type Config struct {
	// Params are the costs of new hashes. Default [DefaultParams].
	Params Params
	// Workers is how many hashes are computed at the same time. Each takes a processor and the
	// memory of Params. Default: the number of processors, of which the last is used only while
	// there are no other requests according to Traffic, so that many logins at once leave room for
	// everything else.
	Workers int
	// Queue is how many callers may wait for a worker. Beyond that, callers of the network address
	// with the most waiters get an [ErrBusy]. Default: 64 for each worker that is always used.
	Queue int
	// Traffic counts the requests that hash no password. Nil: the default of Workers is one less
	// than the number of processors, and at least 1.
	Traffic *traffic.Meter
	// Now returns the time. Nil: [time.Now].
	Now func() time.Time
	// Rand is the source of salts. Default [rand.Reader].
	Rand io.Reader
}

// Hasher hashes and verifies passwords. Its methods are safe for concurrent use.
type Hasher struct {
	params Params
	rand   io.Reader
	queue  *queue
	spent  func(work int64) // called with the cost of each derivation, for tests
}

// New returns a Hasher. It returns an error if a number in the configuration is negative, or Params
// are not acceptable.
func New(cfg Config) (*Hasher, error) {
	if cfg.Params == (Params{}) {
		cfg.Params = DefaultParams
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	always, last := cfg.Workers, (*spare)(nil)
	if cfg.Workers == 0 {
		processors := runtime.GOMAXPROCS(0)
		always = max(1, processors-1)
		cfg.Workers = always
		if cfg.Traffic != nil && processors > 1 {
			cfg.Workers, last = processors, &spare{others: cfg.Traffic.Others, now: cfg.Now}
		}
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64 * always
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Workers < 0 {
		return nil, fmt.Errorf("password: Config.Workers is %d", cfg.Workers)
	}
	if cfg.Queue < 0 {
		return nil, fmt.Errorf("password: Config.Queue is %d", cfg.Queue)
	}
	if err := cfg.Params.Check(); err != nil {
		return nil, fmt.Errorf("password: Config.Params: %w", err)
	}
	return &Hasher{
		params: cfg.Params,
		rand:   cfg.Rand,
		queue:  newQueue(cfg.Workers, cfg.Queue, last),
	}, nil
}

// Hash returns the encoded hash of a password with a new salt. Errors: [ErrBusy] if too many
// callers wait, and the context's error if that ends before the work begins.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("password: reading a salt: %w", err)
	}
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.queue.leave()
	v := &argon2Hash{Params: h.params, salt: salt, size: hashSize}
	var err error
	if v.sum, err = h.derive(v, password); err != nil {
		return "", err
	}
	return v.String(), nil
}

// Verify reports whether a password is the one that was hashed and, if so, whether the hash should
// be replaced by a new one because its form or its parameters differ from the configuration. An
// encoded hash that can't be used is an [ErrUnknownFormat]; the other errors are those of
// [Hasher.Hash].
//
// A wrong password costs at least the given work and that of the configuration, so that it takes as
// long as for an account that doesn't exist (see [Hasher.Dummy]). A right one costs what its own
// hash does. The work to give is the highest that [Hasher.Work] returns for a hash in use.
func (h *Hasher) Verify(ctx context.Context, encoded, password string, work int64) (ok, rehash bool, err error) {
	v, err := parse(encoded)
	if err != nil {
		return false, false, err
	}
	if ok, err = h.try(ctx, v, password, work); err != nil || !ok {
		return false, false, err
	}
	a, isArgon2 := v.(*argon2Hash)
	return true, !isArgon2 || a.Params != h.params || len(a.salt) < saltSize || a.size < hashSize, nil
}

// Dummy does the work of verifying a wrong password, and waits in the same line, so that a login to
// an account that doesn't exist takes as long as one to an account that does. The work is that of
// [Hasher.Verify], and the errors are those of [Hasher.Hash].
func (h *Hasher) Dummy(ctx context.Context, password string, work int64) error {
	_, err := h.try(ctx, &argon2Hash{Params: h.params, salt: make([]byte, saltSize), size: hashSize}, password, work)
	return err
}

// Work returns what it costs to verify a password against an encoded hash, as the number of passes
// of argon2id over one KiB of memory. It is 0 if the hash can't be used.
func (h *Hasher) Work(encoded string) int64 {
	v, err := parse(encoded)
	if err != nil {
		return 0
	}
	return v.work()
}

// verifier is a stored hash.
type verifier interface {
	// derive hashes a password in the way of the stored hash.
	derive(password string) ([]byte, error)
	// want returns what derive returns for the right password.
	want() []byte
	// work returns the cost of derive in the unit of [Hasher.Work].
	work() int64
}

func parse(encoded string) (verifier, error) {
	if strings.HasPrefix(encoded, "$") {
		return parseArgon2(encoded)
	}
	return parseScrypt(encoded)
}

// enter waits for the caller's turn.
func (h *Hasher) enter(ctx context.Context) error {
	traffic.Hashes(ctx)
	return h.queue.enter(ctx, ratelimit.FromContext(ctx).Address)
}

// try waits for the caller's turn, and reports whether a password is the one of a hash. If it
// isn't, the rest of the given work is done too.
func (h *Hasher) try(ctx context.Context, v verifier, password string, work int64) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.queue.leave()
	sum, err := h.derive(v, password)
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare(sum, v.want()) == 1 {
		return true, nil
	}
	// The context isn't checked again: a caller who gives up must not learn from how long the
	// worker stays busy which hash it was either.
	if rest := h.rest(h.missing(v.work(), work)); rest != nil {
		_, err = h.derive(rest, password)
	}
	return false, err
}

// missing returns how much work is left after some of it is done, so that it is at least the given
// work and that of the configuration. The given work counts only up to the highest cost of a stored
// hash.
func (h *Hasher) missing(done, work int64) int64 {
	return max(min(work, maxWork), h.params.work()) - done
}

// derive hashes a password in the way of a stored hash.
func (h *Hasher) derive(v verifier, password string) ([]byte, error) {
	if h.spent != nil {
		h.spent(v.work())
	}
	return v.derive(password)
}

// rest returns a verifier that costs about so much work, or nil if that is too little for a hash.
// It uses the memory of the configuration in several passes rather than more memory in one pass: a
// pass over memory that was never used before costs more for each KiB than that of hashes in use.
// The work is rounded down by less than one KiB for each pass, and argon2 rounds the memory to 4
// KiB for each lane.
func (h *Hasher) rest(work int64) verifier {
	if work < minMemory {
		return nil
	}
	configured := int64(h.params.Memory)
	passes := min((work+configured-1)/configured, work/minMemory)
	memory := work / passes
	return &argon2Hash{
		Params: Params{
			Time:    uint32(passes),
			Memory:  uint32(memory),
			Threads: uint8(min(int64(h.params.Threads), memory/minMemory)),
		},
		salt: make([]byte, saltSize),
		size: hashSize,
	}
}
