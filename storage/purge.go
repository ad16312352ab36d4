package storage

import "context"

// pageSize is how many documents Purge, PurgeFunc and Rebuild take in one transaction.
const pageSize = 500

// Purge removes every document of a range, however many there are, in pages: each page is an Update
// of its own. A page has r.Limit documents, or 500 if that is 0. When Purge returns an error, the
// pages before it have been removed.
func (c *Collection[T]) Purge(ctx context.Context, s Store, r Range) error {
	return c.pages(ctx, s, r, func(tx Tx, rec Record) error { return tx.Delete(c.name, rec.Key) })
}

// PurgeFunc is [Collection.Purge] for documents that can't be told by a range alone. For each
// document of the range, in order, fn decides in the transaction of the page: true removes the
// document; false keeps it, as it is or as fn has just written it. An error of fn rolls the page
// back and ends the purge.
//
// fn gets each document as it was when its page began. Like every closure of an Update it may run
// more than once. A document is seen again later if fn gives it an index value further on in the
// range, or if a Multi index has several of its values in the range.
func (c *Collection[T]) PurgeFunc(ctx context.Context, s Store, r Range, fn func(Tx, *T) (remove bool, err error)) error {
	return c.pages(ctx, s, r, func(tx Tx, rec Record) error {
		t, err := c.decode(rec.Value)
		if err != nil {
			return err
		}
		remove, err := fn(tx, t)
		if err != nil || !remove {
			return err
		}
		return tx.Delete(c.name, rec.Key)
	})
}

// Rebuild writes every document again, 500 in each Update, so that indexes declared after the
// documents were written hold them, and documents of older versions are stored in the current one.
func (c *Collection[T]) Rebuild(ctx context.Context, s Store) error {
	return c.pages(ctx, s, Range{}, func(tx Tx, rec Record) error {
		t, err := c.decode(rec.Value)
		if err != nil {
			return err
		}
		return c.Put(tx, t)
	})
}

// pages calls fn for the documents of a range, a page in each Update, and once for each document of
// a page.
func (c *Collection[T]) pages(ctx context.Context, s Store, r Range, fn func(Tx, Record) error) error {
	if r.Limit == 0 {
		r.Limit = pageSize
	}
	for {
		n, cursor := 0, ""
		err := s.Update(ctx, func(tx Tx) error {
			n, cursor = 0, ""
			seen := map[string]bool{} // a Multi index can yield a document twice
			for rec, err := range tx.Scan(c.name, r) {
				if err != nil {
					return err
				}
				n, cursor = n+1, rec.Cursor
				if seen[rec.Key] {
					continue
				}
				seen[rec.Key] = true
				if err := fn(tx, rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n < r.Limit {
			return err
		}
		r.After = cursor
	}
}
