package storage_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A ticket is what an embedding program might keep beside the accounts.
type ticket struct {
	ID     string    `json:"id"`
	Owner  string    `json:"owner"`
	Seat   string    `json:"seat"`
	Bought time.Time `json:"bought"`
}

// The collection declares how tickets are found: by ID, by seat (one ticket each), and by owner in
// the order of purchase.
var tickets = storage.NewCollection("tickets", func(t *ticket) string { return t.ID },
	storage.Unique("seat", func(t *ticket) string { return t.Seat }),
	storage.Ordered("owner", func(t *ticket) string { return storage.Join(t.Owner, storage.TimeKey(t.Bought)) }),
)

func Example() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, tickets); err != nil {
		fmt.Println(err)
		return
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	buy := func(t *ticket) error {
		return store.Update(ctx, func(tx storage.Tx) error { return tickets.Insert(tx, t) })
	}
	fmt.Println(buy(&ticket{"t1", "alice", "A1", noon.Add(time.Hour)}))
	fmt.Println(buy(&ticket{"t2", "alice", "A2", noon}))
	err := buy(&ticket{"t3", "bob", "A1", noon})
	fmt.Println(err, errors.Is(err, storage.ErrConflict))

	err = store.View(ctx, func(tx storage.Tx) error {
		for t, err := range tickets.Scan(tx, storage.Range{Index: "owner", Prefix: "alice "}) {
			if err != nil {
				return err
			}
			fmt.Println(t.ID, t.Seat)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// storage: conflict: tickets: unique index seat true
	// t2 A2
	// t1 A1
	// <nil>
}

// A door counts the wrong codes that were tried, though each of them is refused.
func ExampleDecide() {
	type door struct {
		ID, Code string
		Wrong    int
	}
	doors := storage.NewCollection("doors", func(d *door) string { return d.ID })
	errWrongCode := errors.New("wrong code")
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	err := storage.Define(ctx, store, doors)
	if err == nil {
		err = store.Update(ctx, func(tx storage.Tx) error { return doors.Put(tx, &door{ID: "front", Code: "1234"}) })
	}
	fmt.Println(err)
	open := func(code string) error {
		return storage.Decide(ctx, store, func(tx storage.Tx) (refusal, err error) {
			d, err := doors.Get(tx, "front")
			if err != nil || d.Code == code {
				return nil, err
			}
			d.Wrong++
			return errWrongCode, doors.Put(tx, d)
		})
	}
	fmt.Println(open("1111"))
	fmt.Println(open("2222"))
	fmt.Println(open("1234"))
	err = store.View(ctx, func(tx storage.Tx) error {
		d, err := doors.Get(tx, "front")
		if err == nil {
			fmt.Println(d.Wrong, "wrong codes")
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// wrong code
	// wrong code
	// <nil>
	// 2 wrong codes
	// <nil>
}

func ExampleCollection_Page() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	err := storage.Define(ctx, store, tickets)
	if err == nil {
		err = store.Update(ctx, func(tx storage.Tx) error {
			for i := range 5 {
				if err := tickets.Put(tx, &ticket{ID: fmt.Sprint("t", i)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	r := storage.Range{Limit: 2}
	for more := true; err == nil && more; more = r.After != "" {
		err = store.View(ctx, func(tx storage.Tx) error {
			page, cursor, err := tickets.Page(tx, r)
			fmt.Print(len(page), " from ", page[0].ID, "\n")
			r.After = cursor
			return err
		})
	}
	fmt.Println(err)
	// Output:
	// 2 from t0
	// 2 from t2
	// 1 from t4
	// <nil>
}

func ExampleCheck() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	err := storage.Define(ctx, store, tickets)
	if err == nil { // a document written past its collection, without its entries
		err = store.Update(ctx, func(tx storage.Tx) error {
			return tx.Put("tickets", storage.Document{Key: "t1", Value: []byte(`{"_v":1,"id":"t1","seat":"A1"}`)})
		})
	}
	fmt.Println(err)
	problems, err := storage.Check(ctx, store, tickets)
	for _, p := range problems {
		fmt.Println(p)
	}
	fmt.Println(err)
	// Output:
	// <nil>
	// table tickets, document "t1": its index entries are [], want [{owner  0001-01-01T00:00:00.000Z} {seat A1}]
	// <nil>
}

func ExampleCopy() {
	ctx := context.Background()
	from, to := memory.New(), memory.New()
	defer from.Close()
	defer to.Close()
	err := storage.Define(ctx, from, tickets)
	if err == nil {
		err = from.Update(ctx, func(tx storage.Tx) error { return tickets.Put(tx, &ticket{ID: "t1"}) })
	}
	fmt.Println(err)
	report, err := storage.Copy(ctx, to, from, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range report.Tables {
		fmt.Println(t.Name, t.Documents)
	}
	_, err = storage.Copy(ctx, to, from, nil)
	fmt.Println(errors.Is(err, storage.ErrNotEmpty))
	// Output:
	// <nil>
	// tickets 1
	// true
}

func ExampleLeases() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	leases, err := storage.NewLeases(ctx, store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(leases.Acquire(ctx, "sweeping", "process 1", time.Minute))
	fmt.Println(leases.Acquire(ctx, "sweeping", "process 2", time.Minute))
	fmt.Println(leases.Release(ctx, "sweeping", "process 1"))
	fmt.Println(leases.Acquire(ctx, "sweeping", "process 2", time.Minute))
	// Output:
	// true <nil>
	// false <nil>
	// <nil>
	// true <nil>
}
