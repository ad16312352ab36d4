package storage

import "context"

// Ping checks that a store answers, by reading from it. It is meant for health checks; the context
// should have a deadline.
func Ping(ctx context.Context, s Store) error {
	tables, err := s.Tables(ctx)
	if err != nil || len(tables) == 0 {
		return err
	}
	return s.View(ctx, func(tx Tx) error {
		for _, err := range tx.Scan(tables[0].Name, Range{Limit: 1}) {
			return err
		}
		return nil
	})
}
