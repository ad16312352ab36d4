package accounts

import "context"

// RecoverChanges does the part of [Service.Maintain] that ends interrupted changes.
func (s *Service) RecoverChanges(ctx context.Context) error { return s.recoverChanges(ctx) }
