package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Background work is done by one process at a time: the one that holds the lease, which it renews
// with each round. If that process is killed, another takes over once the lease has expired.
const (
	maintenanceLease    = "maintenance"
	maintenanceInterval = time.Minute
	leaseLifetime       = maintenanceInterval + 30*time.Second
	leaseInterval       = 10 * time.Second // between attempts to acquire the lease
)

// Maintain does one round of background work: it finishes or undoes sign-ups and changes of handles
// and keys that were interrupted, and removes what has expired. The Server calls it once a minute,
// unless NoMaintenance of the [Config] leaves that to the program. It is safe for concurrent use,
// also by several processes on one store.
func (s *Server) Maintain(ctx context.Context) error {
	var failed error
	for _, d := range domains {
		if d.maintain == nil {
			continue
		}
		if err := d.maintain(s)(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("maintaining %s: %w", d.name, err))
		}
	}
	return failed
}

// maintain calls Maintain at once and then periodically, while this process holds the lease. It
// returns when ctx ends.
func (s *Server) maintain(ctx context.Context) {
	defer s.running.Done()
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	var last time.Time
	for {
		if time.Since(last) >= maintenanceInterval {
			held, err := s.leases.Acquire(ctx, maintenanceLease, s.process, leaseLifetime)
			if held {
				last = time.Now()
				err = s.Maintain(ctx)
			}
			if err != nil && ctx.Err() == nil {
				s.cfg.Logger.ErrorContext(ctx, "maintenance failed", "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// releaseLease releases the lease, so that another process can take over without waiting for it to
// expire.
func (s *Server) releaseLease() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.leases.Release(ctx, maintenanceLease, s.process); err != nil {
		s.cfg.Logger.WarnContext(ctx, "lease not released", "error", err)
	}
}
