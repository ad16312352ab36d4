package postgres

import (
	"net"
	"sync/atomic"
)

// Stats counts since the store was opened.
type Stats struct {
	RoundTrips uint64 // times that the database was sent something and answered, all included
	Retries    uint64 // transactions that were run again
	Conns      int    // connections that are open now
	Busy       int    // those of them that are in use now
	MaxConns   int    // the most that may be open at once
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

// countedConn counts the turns of a conversation: something was written, then something was read.
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
