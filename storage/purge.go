package storage

import "context"

// pageSize is the number of documents that Purge, PurgeFunc and Rebuild handle in one transaction.
const pageSize = 500

// Purge removes all documents of a range, in pages: each page is an Update of its own, of up to
// r.Limit documents, or 500 if that is 0. If Purge returns an error, it may have removed some
// pages.
func (c *Collection[T]) Purge(ctx context.Context, s Store, r Range) error {
	r.KeysOnly = true
	return c.pages(ctx, s, r, func(tx Tx, rec Record) error { return tx.Delete(c.name, rec.Key) })
}

// PurgeFunc is like [Collection.Purge], but calls fn for each document of the range, in order and
// in the transaction of the page, to decide what becomes of it. The document is removed if fn
// returns true; if fn returns false it stays, unchanged or as fn itself has rewritten it. An error
// of fn rolls back its page and ends the purge.
//
// fn gets each document as it was when the page began, and may be called more than once for it:
// when the transaction is run again, when a Multi index has several values of the document in the
// range, and when fn gives the document a later value that is still in the range.
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

// Rebuild writes every document again, 500 in each Update: indexes that were added since hold all
// documents afterwards, and documents of older versions are stored in the current version.
func (c *Collection[T]) Rebuild(ctx context.Context, s Store) error {
	return c.pages(ctx, s, Range{}, func(tx Tx, rec Record) error {
		t, err := c.decode(rec.Value)
		if err != nil {
			return err
		}
		return c.Put(tx, t)
	})
}

// pages calls fn for the documents of a range, a page in each Update. Within a page, fn is called
// once for each document.
func (c *Collection[T]) pages(ctx context.Context, s Store, r Range, fn func(Tx, Record) error) error {
	if r.Limit == 0 {
		r.Limit = pageSize
	}
	for {
		n, cursor := 0, ""
		err := s.Update(ctx, func(tx Tx) error {
			n, cursor = 0, ""
			seen := map[string]bool{} // a Multi index can yield a document twice
			for rec, err := range c.records(tx, r) {
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
