package storage

import "context"

// Decide runs fn in an Update that is committed even if fn refuses, and then returns the refusal.
// It is for refusals that have to be recorded, such as a wrong guess that counts. If fn returns an
// error, or the commit fails, nothing is written, and Decide returns that error in place of any
// refusal.
//
//	err := storage.Decide(ctx, store, func(tx storage.Tx) (refusal, err error) {
//		c, err := codes.Get(tx, id)
//		if err != nil {
//			return nil, err // nothing is written
//		}
//		if c.Secret != guess {
//			c.Guesses++
//			return ErrWrongCode, codes.Put(tx, c) // the count is written
//		}
//		return nil, codes.Delete(tx, id)
//	})
//
// Like every closure of an Update, fn may run more than once; the refusal is that of the run that
// was committed.
func Decide(ctx context.Context, s Store, fn func(Tx) (refusal, err error)) error {
	var refusal error
	err := s.Update(ctx, func(tx Tx) (err error) {
		refusal, err = fn(tx)
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}
