package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-at/gatehouse/storage"
)

// kind says how to react to a failed exchange with the database.
type kind int

const (
	final     kind = iota // report it
	contended             // run it again, in its turn: another transaction has changed what it relies on
	uncovered             // run it again: it has read what it hadn't locked
	lost                  // run it again on another connection: this one was lost before COMMIT was sent
	stale                 // run it again with the current definitions: another process has changed them
)

// failure is an error of the database, converted to an error of the contract.
type failure struct {
	kind kind
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail converts an error of an exchange. unknown says that the exchange included a COMMIT that the
// server may have executed.
func (s *Store) fail(ctx context.Context, err error, unknown bool) *failure {
	if cause := ctx.Err(); cause != nil {
		if unknown {
			return &failure{final, fmt.Errorf("%w: interrupted while committing: %w", storage.ErrUnavailable, cause)}
		}
		return &failure{final, cause}
	}
	unavailable := func(k kind) *failure {
		if unknown {
			return &failure{final, fmt.Errorf("%w: whether the transaction was committed is unknown: %w", storage.ErrUnavailable, err)}
		}
		return &failure{k, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)}
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return unavailable(lost)
	}
	switch pg.Code {
	case changed,
		"40001", "40P01": // serialization failure, deadlock: rolled back, even if COMMIT reports it
		return &failure{contended, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)}
	case "23505":
		if e := s.tables.Load().conflict(pg); e != nil {
			return &failure{final, e} // the transaction has found all that it relies on unchanged before
		}
	case "25006", // read-only: this server is no longer the primary
		"57P01", "57P02", "57P03", "57P05", // the server is stopping or starting
		"25P03": // idle too long within the transaction
		return unavailable(lost)
	case "57014", "55P03", "40003": // statement timeout, lock timeout, completion unknown
		return unavailable(final)
	}
	if pg.Code == outdated {
		return &failure{stale, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)}
	}
	switch pg.Code[:2] {
	case "08": // connection, and all errors of pgbouncer
		return unavailable(lost)
	case "53", "58": // resources, system error
		return unavailable(final)
	case "22", "54": // data, program limit
		return &failure{final, fmt.Errorf("%w: %w", storage.ErrInvalid, err)}
	}
	return &failure{final, fmt.Errorf("postgres: %w", err)}
}

// before reports whether an error proves that the server failed a statement before COMMIT: it
// answers in order, and skips the statements after an error. The errors of a pooler (class 08)
// don't prove that.
func before(err error, answered, commit int) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code[:2] != "08" && answered < commit
}

const (
	generationKey = "gatehouse.generation"
	warnedKey     = "gatehouse.warned"
)

// distrust closes all connections of the generation of this one, if its server is stopping or is no
// longer the primary. Connections in use are closed when they are released.
func (s *Store) distrust(c *pgxpool.Conn, err error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return
	}
	switch pg.Code {
	case "25006", "57P01", "57P02", "57P03":
		g, ok := c.Conn().PgConn().CustomData()[generationKey].(int64)
		if ok && s.generation.CompareAndSwap(g, g+1) {
			s.pool.Reset()
		}
	}
}

// noteWarning marks a connection when the server sends a warning. If the server stops waiting for
// the standby servers to confirm a commit, it reports success with just a warning.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warnedKey] = n.Message
	}
}
