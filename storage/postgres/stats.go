package postgres

import (
	"net"
	"sync/atomic"
)

// Stats are counters of a [Store], from when it was opened.
type Stats struct {
	RoundTrips uint64 // exchanges with the database, of any kind
	Retries    uint64 // transactions that were run again
	Conns      int    // open connections
	Busy       int    // open connections in use
	MaxConns   int    // maximum number of open connections
}

// Stats returns counters for monitoring.
func (s *Store) Stats() Stats {
	p := s.pool.Stat()
	return Stats{
		RoundTrips: s.trips.Load(),
		Retries:    s.retries.Load(),
		Conns:      int(p.TotalConns()),
		Busy:       int(p.AcquiredConns()),
		MaxConns:   int(p.MaxConns()),
	}
}

// countedConn counts round trips: something is written, then something is read.
type countedConn struct {
	net.Conn
	trips *atomic.Uint64
	asked atomic.Bool
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(b)
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.asked.CompareAndSwap(true, false) {
		c.trips.Add(1)
	}
	return n, err
}
