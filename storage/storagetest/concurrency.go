package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// together runs n functions at once and returns their errors.
func together(n int, call func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			errs[i] = call(i)
		}()
	}
	close(start)
	wg.Wait()
	return errs
}

func noErrors(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// refused returns how many of the errors are refusals, and checks that there are no others.
func refused(t *testing.T, errs []error) (n int) {
	t.Helper()
	for _, err := range errs {
		if errors.Is(err, errRefused) {
			n++
		} else if err != nil {
			t.Error(err)
		}
	}
	return n
}

type counter struct {
	N int `json:"n"`
}

func readCounter(tx storage.Tx, key string) (int, error) {
	b, err := tx.Get("things", key)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return counterOf(b)
}

func counterOf(b []byte) (int, error) {
	var c counter
	err := json.Unmarshal(b, &c)
	return c.N, err
}

func writeCounter(tx storage.Tx, key string, n int) error {
	return tx.Put("things", doc(key, fmt.Sprintf(`{"n":%d}`, n)))
}

func add(tx storage.Tx, key string, by int) error {
	n, err := readCounter(tx, key)
	if err != nil {
		return err
	}
	return writeCounter(tx, key, n+by)
}

func wantCounter(t *testing.T, f *fixture, key string, want int) {
	t.Helper()
	f.view(func(tx storage.Tx) error {
		n, err := readCounter(tx, key)
		if err == nil && n != want {
			t.Errorf("%s is %d, want %d", key, n, want)
		}
		return err
	})
}

func testIncrements(t *testing.T, f *fixture) {
	f.define(things)
	const callers, each = 8, 25
	noErrors(t, together(callers, func(int) error {
		for range each {
			if err := f.Update(f.ctx, func(tx storage.Tx) error { return add(tx, "n", 1) }); err != nil {
				return err
			}
		}
		return nil
	}))
	wantCounter(t, f, "n", callers*each)
}

func testLostUpdate(t *testing.T, f *fixture) {
	f.define(things)
	// Two Updates that each read before the other writes conflict, if the backend runs them at the
	// same time.
	f.update(func(tx storage.Tx) error { return writeCounter(tx, "n", 0) })
	for range 10 {
		noErrors(t, together(2, func(int) error {
			return f.Update(f.ctx, func(tx storage.Tx) error { return add(tx, "n", 1) })
		}))
	}
	wantCounter(t, f, "n", 20)
}

func testWriteSkew(t *testing.T, f *fixture) {
	f.define(things)
	for round := range 10 {
		a, b := fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)
		f.update(func(tx storage.Tx) error {
			return errors.Join(writeCounter(tx, a, 1), writeCounter(tx, b, 1))
		})
		// Each caller may set its own to 0 as long as the other is 1.
		errs := together(2, func(i int) error {
			return f.Update(f.ctx, func(tx storage.Tx) error {
				x, err := readCounter(tx, a)
				if err != nil {
					return err
				}
				y, err := readCounter(tx, b)
				if err != nil {
					return err
				}
				if x+y < 2 {
					return errRefused
				}
				return writeCounter(tx, []string{a, b}[i], 0)
			})
		})
		if n := refused(t, errs); n != 1 {
			t.Fatalf("%d of 2 were refused, want 1", n)
		}
	}
}

func testUniquePhantom(t *testing.T, f *fixture) {
	f.define(things)
	for round := range 5 {
		name := fmt.Sprintf("name=N%d", round)
		errs := together(8, func(i int) error {
			return f.Update(f.ctx, func(tx storage.Tx) error {
				return tx.Insert("things", doc(fmt.Sprintf("%d-%d", round, i), `{}`, name))
			})
		})
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantConflict(t, err, "things", "name")
			}
		}
		if won != 1 {
			t.Errorf("%d of 8 got the unique value, want 1", won)
		}
	}
	// Updates that look first find the winner's document, and don't get a conflict.
	for round := range 5 {
		name := fmt.Sprintf("L%d", round)
		errs := together(8, func(i int) error {
			return f.Update(f.ctx, func(tx storage.Tx) error {
				switch _, err := tx.GetBy("things", "name", name); {
				case err == nil:
					return errRefused
				case !errors.Is(err, storage.ErrNotFound):
					return err
				}
				return tx.Insert("things", doc(fmt.Sprintf("l%d-%d", round, i), `{}`, "name="+name))
			})
		})
		oneWins(t, errs, "got the unique value that they had looked for")
	}
	// The same with a range that is empty when it is read.
	errs := together(8, func(i int) error {
		return f.Update(f.ctx, func(tx storage.Tx) error {
			got, err := keys(tx, storage.Exactly("kind", "phantom"))
			if err != nil {
				return err
			}
			if len(got) > 0 {
				return errRefused
			}
			return tx.Insert("things", doc(fmt.Sprintf("p%d", i), `{}`, "kind=phantom"))
		})
	})
	oneWins(t, errs, "found the range empty")
}

// oneWins checks that exactly one of several callers succeeded and the others were refused.
func oneWins(t *testing.T, errs []error, what string) {
	t.Helper()
	if won := len(errs) - refused(t, errs); won != 1 {
		t.Errorf("%d of %d %s, want 1", won, len(errs), what)
	}
}

func testNeighbours(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("taken", `{}`, "name=taken"))
	errs := together(30, func(i int) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = errRefused
			}
		}()
		return f.Update(f.ctx, func(tx storage.Tx) error {
			if err := tx.Insert("things", doc("doc"+number(i), `{}`)); err != nil {
				return err
			}
			switch i % 5 {
			case 1:
				return errRefused
			case 2:
				return tx.Put("things", doc("x"+number(i), `{}`, "name=taken"))
			case 3:
				panic("in a neighbour")
			}
			return nil
		})
	})
	for i, err := range errs {
		if bad := i%5 >= 1 && i%5 <= 3; bad != (err != nil) {
			t.Errorf("caller %d: %v", i, err)
		}
	}
	f.view(func(tx storage.Tx) error {
		got, err := keys(tx, storage.Range{Prefix: "doc"})
		if len(got) != 12 {
			t.Errorf("%d documents were written, want 12", len(got))
		}
		return err
	})
}

func testSnapshot(t *testing.T, f *fixture) {
	f.define(things)
	f.update(func(tx storage.Tx) error {
		return errors.Join(writeCounter(tx, "a", 500), writeCounter(tx, "b", 500))
	})
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Add(1)
	go func() {
		defer writers.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := f.Update(f.ctx, func(tx storage.Tx) error {
				return errors.Join(add(tx, "a", i%7), add(tx, "b", -(i%7)))
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 100 {
		f.view(func(tx storage.Tx) error {
			a, err := readCounter(tx, "a")
			if err != nil {
				return err
			}
			b, err := readCounter(tx, "b")
			if err != nil {
				return err
			}
			if a+b != 1000 {
				t.Errorf("a View saw %d and %d, which never existed together", a, b)
			}
			return nil
		})
	}
	// A View that stays open keeps its snapshot and blocks nobody.
	f.view(func(tx storage.Tx) error {
		before, err := readCounter(tx, "a")
		if err != nil {
			return err
		}
		errs := together(1, func(int) error {
			return f.Update(f.ctx, func(tx storage.Tx) error { return writeCounter(tx, "c", 1) })
		})
		if errs[0] != nil {
			return errs[0]
		}
		if n, err := readCounter(tx, "c"); err != nil || n != 0 {
			t.Errorf("the View sees a later write: %d, %v", n, err)
		}
		after, err := readCounter(tx, "a")
		if after != before {
			t.Errorf("the View saw %d, then %d", before, after)
		}
		return err
	})
	close(stop)
	writers.Wait()
}

func testViewSeesUpdates(t *testing.T, f *fixture) {
	f.define(things)
	noErrors(t, together(4, func(i int) error {
		key := fmt.Sprintf("k%d", i)
		for n := range 20 {
			if err := f.Update(f.ctx, func(tx storage.Tx) error { return writeCounter(tx, key, n) }); err != nil {
				return err
			}
			err := f.View(f.ctx, func(tx storage.Tx) error {
				got, err := readCounter(tx, key)
				if err == nil && got != n {
					err = fmt.Errorf("a View after the Update to %d sees %d", n, got)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
