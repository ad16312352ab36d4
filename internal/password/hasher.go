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

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// ErrUnknownFormat says that a stored hash is in no form that this package
// knows, or asks for more work than it is willing to do.
var ErrUnknownFormat = errors.New("password: unknown hash format")

// Params are the costs of an argon2id hash (source: RFC 9106).
type Params struct {
	// Time is the number of passes over the memory.
	Time uint32
	// Memory is in KiB.
	Memory uint32
	// Threads is how many lanes are filled at the same time.
	Threads uint8
}

// DefaultParams take 19 MiB and two passes in one thread: what OWASP recommends
// for a server that is also doing other things. A hash takes some tens of milliseconds.
var DefaultParams = Params{Time: 2, Memory: 19 * 1024, Threads: 1}

// CheapParams hash in microseconds. They protect nothing: they are for tests.
var CheapParams = Params{Time: 1, Memory: 8, Threads: 1}

// Config configures a [Hasher]. The zero value is a good choice for a server.
type Config struct {
	// Params are the costs of new hashes. Default [DefaultParams].
	Params Params
	// Workers is how many hashes are computed at once. Each takes a processor and the
	// memory of Params. Default: one processor fewer than there are, so that
	// a rush of logins leaves room for everything else; at least 1.
	Workers int
	// Queue is how many callers may wait for a worker. Beyond it those of the network addresses
	// with the most waiters get [ErrBusy]. Default: 64 for each worker.
	Queue int
	// Rand is the source of salts. Default [rand.Reader].
	Rand io.Reader
}

// Hasher hashes and verifies passwords. Its methods are safe for concurrent use.
type Hasher struct {
	params Params
	rand   io.Reader
	queue  *queue
}

// New returns a Hasher.
func New(cfg Config) (*Hasher, error) {
	if cfg.Params == (Params{}) {
		cfg.Params = DefaultParams
	}
	if cfg.Workers == 0 {
		cfg.Workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64 * cfg.Workers
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
	if err := cfg.Params.check(); err != nil {
		return nil, fmt.Errorf("password: Config.Params: %w", err)
	}
	return &Hasher{
		params: cfg.Params,
		rand:   cfg.Rand,
		queue:  newQueue(cfg.Workers, cfg.Queue),
	}, nil
}

// Hash returns the encoded hash of a password, with a new salt. It returns [ErrBusy] if too many
// callers wait, and the context's error if that ends before the work begins.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("password: reading a salt: %w", err)
	}
	v := &argon2Hash{Params: h.params, salt: salt, size: hashSize}
	sum, err := h.compute(ctx, v, password)
	if err != nil {
		return "", err
	}
	v.sum = sum
	return v.String(), nil
}

// Verify reports whether a password is the one that was hashed and, if so,
// whether the hash should be replaced by a new one because it has another form
// or other costs than those of the configuration. An encoded hash that can't be
// used is an [ErrUnknownFormat]; the other errors are those of Hash.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (ok, rehash bool, err error) {
	var v verifier
	if strings.HasPrefix(encoded, "$") {
		v, err = parseArgon2(encoded)
	} else {
		v, err = parseScrypt(encoded)
	}
	if err != nil {
		return false, false, err
	}
	sum, err := h.compute(ctx, v, password)
	if err != nil {
		return false, false, err
	}
	if subtle.ConstantTimeCompare(sum, v.want()) != 1 {
		return false, false, nil
	}
	a, isArgon2 := v.(*argon2Hash)
	return true, !isArgon2 || a.Params != h.params || len(a.salt) < saltSize || a.size < hashSize, nil
}

// Dummy does the work of verifying a password against a hash of the configured
// costs, and waits in the same line, so that a login to an account that doesn't exist
// takes as long as one to an account that does.
func (h *Hasher) Dummy(ctx context.Context, password string) error {
	v := &argon2Hash{Params: h.params, salt: make([]byte, saltSize), size: hashSize, sum: make([]byte, hashSize)}
	sum, err := h.compute(ctx, v, password)
	if err != nil {
		return err
	}
	subtle.ConstantTimeCompare(sum, v.want())
	return nil
}

// verifier is a stored hash.
type verifier interface {
	// derive hashes a password as the stored one was.
	derive(password string) ([]byte, error)
	// want is what derive should give.
	want() []byte
}

// compute derives a hash when it is the caller's turn.
func (h *Hasher) compute(ctx context.Context, v verifier, password string) ([]byte, error) {
	if err := h.queue.enter(ctx, ratelimit.FromContext(ctx).Address); err != nil {
		return nil, err
	}
	defer h.queue.leave()
	return v.derive(password)
}
