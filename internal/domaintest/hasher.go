package domaintest

import (
	"context"
	"fmt"
	"strings"
)

// PricedHasher is an accounts.PasswordHasher whose hashes contain their costs. It doesn't do any
// work, but remembers how much it was asked for.
type PricedHasher struct {
	Cost  int64 // of new hashes
	Asked int64 // the work that the last Verify or Dummy asked for
}

// Hash returns the cost and the password as text.
func (p *PricedHasher) Hash(_ context.Context, password string) (string, error) {
	return fmt.Sprintf("%d:%s", p.Cost, password), nil
}

// Verify compares a password with that in a hash.
func (p *PricedHasher) Verify(_ context.Context, encoded, password string, work int64) (ok, rehash bool, err error) {
	p.Asked = work
	_, want, _ := strings.Cut(encoded, ":")
	return want == password, false, nil
}

// Dummy only remembers the work.
func (p *PricedHasher) Dummy(_ context.Context, _ string, work int64) error {
	p.Asked = work
	return nil
}

// Work returns the cost of a hash.
func (p *PricedHasher) Work(encoded string) (work int64) {
	_, _ = fmt.Sscanf(encoded, "%d:", &work)
	return work
}
