package storage

import "context"

// Ping reads a document of the store, if it has any, and returns the error of that: it is nil if
// the store answers. It is what a health check asks. Set the context's deadline to how long the
// store may take.
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
