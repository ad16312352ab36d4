package domaintest

import (
	"context"
	"fmt"
	"strings"
)

// PricedHasher is an accounts.PasswordHasher whose hashes say what they cost, and that notes the
// work that is asked for.
type PricedHasher struct {
	Cost  int64 // of new hashes
	Asked int64 // by the last Verify or Dummy
}

// Hash returns the password with its cost.
func (p *PricedHasher) Hash(_ context.Context, password string) (string, error) {
	return fmt.Sprintf("%d:%s", p.Cost, password), nil
}

// Verify compares passwords.
func (p *PricedHasher) Verify(_ context.Context, encoded, password string, work int64) (ok, rehash bool, err error) {
	p.Asked = work
	_, want, _ := strings.Cut(encoded, ":")
	return want == password, false, nil
}

// Dummy only notes the work.
func (p *PricedHasher) Dummy(_ context.Context, _ string, work int64) error {
	p.Asked = work
	return nil
}

// Work returns the cost that a hash says.
func (p *PricedHasher) Work(encoded string) (work int64) {
	_, _ = fmt.Sscanf(encoded, "%d:", &work)
	return work
}
