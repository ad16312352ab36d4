package device

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Config configures a [Service].
type Config struct {
	// Secret keys the hashes of cookies. It has at least 32 bytes, and is required. With another
	// secret all browsers are signed out.
	Secret []byte
	// Now returns the time. Default: [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default: [rand.Reader].
	Rand io.Reader
	// Logger is told of devices that ended because their cookie was copied. Default: none.
	Logger *slog.Logger
}

// Service knows the browsers on which people are signed in. Its methods are safe for concurrent
// use.
type Service struct {
	store    storage.Store
	sessions *sessions.Service
	door     *signin.Service
	cfg      Config
}

// New returns a service on a store, whose tables it defines.
func New(ctx context.Context, store storage.Store, s *sessions.Service, door *signin.Service, cfg Config) (*Service, error) {
	if len(cfg.Secret) < 32 {
		return nil, errors.New("device: Config.Secret is shorter than 32 bytes")
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
		return nil, fmt.Errorf("device: %w", err)
	}
	return &Service{store: store, sessions: s, door: door, cfg: cfg}, nil
}

// Maintain deletes the devices that have expired. Call it periodically.
func (s *Service) Maintain(ctx context.Context) error {
	return table.Purge(ctx, s.store, storage.Range{Index: "expires", To: storage.TimeKey(s.now())})
}

// Create makes a device for a browser that has none, and returns it with the value of its cookie.
// Nobody is signed in on it. It is kept for an hour from its last use, and for longer only once
// somebody signs in. The caller limits how many somebody may create.
func (s *Service) Create(ctx context.Context) (*Device, string, error) {
	c, err := s.newCookie()
	if err != nil {
		return nil, "", fmt.Errorf("device: %w", err)
	}
	r := s.newRecord(c)
	r.extend(s.now())
	if err := s.store.Update(ctx, func(tx storage.Tx) error { return table.Insert(tx, r) }); err != nil {
		return nil, "", err
	}
	return r.device(nil), s.format(c), nil
}

func (s *Service) newRecord(c cookie) *record {
	now := s.now()
	return &record{ID: c.id, Secret: s.hash(c), CreatedAt: now, RotatedAt: now}
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
