package postgres

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/nested"
)

// Store is a store in a schema of a PostgreSQL database. It implements [storage.Store].
type Store struct {
	pool    *pgxpool.Pool
	schema  string
	timeout time.Duration
	begins  map[bool][]string // the statements that begin a commit (true) or a snapshot

	// implicit says that statements that are sent together without BEGIN read one snapshot.
	implicit bool

	nested *nested.Guard
	define chan struct{} // holds a token while no Define runs
	tables atomic.Pointer[tables]

	trips, retries atomic.Uint64
	generation     atomic.Int64 // of connections; see distrust

	mu      sync.RWMutex // guards running.Add against Close
	running sync.WaitGroup
	closed  bool
}

// An Option configures a [Store].
type Option func(*options)

type options struct {
	schema  string
	timeout time.Duration
	conns   int32
}

// WithSchema sets the schema of the tables, which is created if it doesn't exist. The default is
// "gatehouse". The parameter gatehouse_schema in the URL overrides it.
func WithSchema(name string) Option { return func(o *options) { o.schema = name } }

// WithTimeout sets how long a statement may take in the database, and how long a transaction waits
// for a free connection, before it fails with [storage.ErrUnavailable]. The default is 10 seconds.
// The parameter statement_timeout in the URL overrides it for the server's side.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithMaxConns sets the maximum number of open connections. The default is 16. The parameter
// pool_max_conns in the URL overrides it.
func WithMaxConns(n int) Option { return func(o *options) { o.conns = int32(n) } }

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Open connects to a database, and creates or upgrades the schema in it. It returns
// [storage.ErrUnavailable] if the database can't be reached.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	o := options{schema: "gatehouse", timeout: 10 * time.Second, conns: 16}
	for _, opt := range opts {
		opt(&o)
	}
	s := &Store{nested: nested.New(), define: make(chan struct{}, 1)}
	s.define <- struct{}{}
	cfg, err := s.configure(url, &o)
	if err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	s.tables.Store(&tables{})
	if err := s.migrate(ctx); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("postgres: preparing schema %s: %w", s.schema, err)
	}
	return s, nil
}

func (s *Store) configure(url string, o *options) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	plain, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if _, given := plain.RuntimeParams["pool_max_conns"]; !given {
		cfg.MaxConns = o.conns
	}
	cc := cfg.ConnConfig
	if name := cc.RuntimeParams["gatehouse_schema"]; name != "" {
		o.schema = name
	}
	delete(cc.RuntimeParams, "gatehouse_schema")
	if !schemaName.MatchString(o.schema) {
		return nil, fmt.Errorf("postgres: %w: bad schema name %q", storage.ErrInvalid, o.schema)
	}
	s.schema, s.timeout = o.schema, o.timeout
	s.limits(cc)

	if cc.ValidateConnect == nil {
		cc.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// A host that doesn't answer must leave time to try the others.
	if cc.ConnectTimeout == 0 || cc.ConnectTimeout > o.timeout/3 {
		cc.ConnectTimeout = o.timeout / 3
	}
	dial := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: c, trips: &s.trips}, nil
	}
	cc.OnNotice = noteWarning
	cfg.PingTimeout = o.timeout / 3
	cfg.MaxConnLifetimeJitter = cfg.MaxConnLifetime / 10
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		c.PgConn().CustomData()[generationKey] = s.generation.Load()
		return nil
	}
	return cfg, nil
}

// limits limits the time of statements, and of abandoned transactions, on the server. Behind a
// pooler, settings of a session would leak to others, so they are made in each transaction.
func (s *Store) limits(cc *pgx.ConnConfig) {
	settings := map[string]string{
		"statement_timeout":                   fmt.Sprintf("%d", s.timeout.Milliseconds()),
		"idle_in_transaction_session_timeout": fmt.Sprintf("%d", 3*s.timeout.Milliseconds()),
	}
	s.begins = map[bool][]string{
		false: {"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		true:  {"BEGIN ISOLATION LEVEL READ COMMITTED"},
	}
	if s.implicit = cc.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement; s.implicit {
		cc.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	}
	for name, value := range settings {
		if given, ok := cc.RuntimeParams[name]; ok {
			value = given
		}
		if s.implicit {
			cc.RuntimeParams[name] = value
			continue
		}
		delete(cc.RuntimeParams, name)
		for i := range s.begins {
			s.begins[i] = append(s.begins[i], "SET LOCAL "+name+" = "+quoteText(value))
		}
	}
}

// begin adds a caller, for which Close will wait.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.running.Add(1)
	return nil
}

// Close implements [storage.Store].
func (s *Store) Close() error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.running.Wait()
		s.pool.Close()
	}
	return nil
}
