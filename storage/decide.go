package storage

import "context"

// Decide runs fn in an Update and keeps what fn wrote even if its verdict is a refusal: "commit,
// then refuse". It is for the refusals that leave a trace, such as a wrong guess that has to be
// counted. The refusal of the run that was committed is returned. An error rolls everything back
// and is returned in place of the refusal, as is an error of the commit.
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
// Like every closure of an Update, fn may run more than once.
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
