package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// entry of a history: a transaction that was committed, with the versions of the documents that it
// has read and written. A version is the number of the transaction that wrote it; 0 is the first.
type committed struct {
	id         int
	began, end int64 // on a clock that all callers share
	read       map[string]int
	wrote      []string // each of which it has read before
}

// version is a document of a history.
type version struct {
	By int `json:"by"`
}

func versionOf(b []byte) (int, error) {
	var v version
	err := json.Unmarshal(b, &v)
	return v.By, err
}

// testHistory lets callers read and write a few documents at random, in every way, and checks that
// there is an order in which their transactions could have run one after the other, and that it
// agrees with the times at which they began and returned.
func testHistory(t *testing.T, f *fixture) {
	interleaved(t, f, func(t *testing.T, f *fixture, run interleave) {
		const callers, each, documents = 6, 25, 5
		f.clear()
		for i := range documents {
			f.put(versioned(i, 0, 0))
		}
		var clock, ids atomic.Int64
		histories := make([][]committed, callers)
		noErrors(t, together(callers, func(c int) error {
			random := rand.New(rand.NewPCG(uint64(c), 16))
			s := f.Store
			if c%2 == 1 {
				s = run.other
			}
			for range each {
				done := committed{id: int(ids.Add(1)), began: clock.Add(1)}
				plan := random.Uint64()
				transaction, writes := s.Update, true
				if random.IntN(4) == 0 {
					transaction, writes = s.View, false
				}
				err := transaction(f.ctx, func(tx storage.Tx) (err error) {
					done.read, done.wrote, err = act(tx, rand.New(rand.NewPCG(plan, 0)), documents, done.id, writes)
					return err
				})
				if err != nil {
					return err
				}
				done.end = clock.Add(1)
				histories[c] = append(histories[c], done)
			}
			return nil
		}))
		if problem := check(slices.Concat(histories...)); problem != "" {
			t.Error(problem)
		}
	})
}

// versioned returns a document of a history, and puts it somewhere in the index kind.
func versioned(i, by, place int) storage.Document {
	return doc(number(i), fmt.Sprintf(`{"by":%d}`, by), "name=n"+number(i), fmt.Sprintf("kind=all %d", place))
}

// act reads some documents in several ways, and writes some of them.
func act(tx storage.Tx, random *rand.Rand, documents, id int, writes bool) (read map[string]int, wrote []string, err error) {
	read = map[string]int{}
	note := func(key string, b []byte) error {
		by, err := versionOf(b)
		if before, again := read[key]; again && before != by {
			return fmt.Errorf("a transaction read version %d of %s, then version %d", before, key, by)
		}
		read[key] = by
		return err
	}
	scan := func(r storage.Range) error {
		for rec, err := range tx.Scan("things", r) {
			if err = errors.Join(err, note(rec.Key, rec.Value)); err != nil {
				return err
			}
		}
		return nil
	}
	for range 1 + random.IntN(3) {
		key := number(random.IntN(documents))
		switch random.IntN(6) {
		case 0, 1:
			b, err := tx.Get("things", key)
			if err = errors.Join(err, note(key, b)); err != nil {
				return nil, nil, err
			}
		case 2:
			b, err := tx.GetBy("things", "name", "n"+key)
			if err = errors.Join(err, note(key, b)); err != nil {
				return nil, nil, err
			}
		case 3:
			err = scan(storage.Under("kind", "all"))
		case 4:
			err = scan(storage.Range{Index: "kind", Prefix: "all", Limit: 2, Reverse: random.IntN(2) == 0})
		case 5:
			err = scan(storage.Range{From: key, Limit: 1 + random.IntN(3)})
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if !writes {
		return read, nil, nil
	}
	for i := range documents {
		if _, seen := read[number(i)]; seen && random.IntN(2) == 0 {
			wrote = append(wrote, number(i))
			if err := tx.Put("things", versioned(i, id, random.IntN(9))); err != nil {
				return nil, nil, err
			}
		}
	}
	return read, wrote, nil
}

// check returns a problem of a history. Every transaction that writes a document has read its
// version before, so the order of the versions is known, and with it who must come before whom.
func check(history []committed) (problem string) {
	type docVersion struct {
		key string
		by  int
	}
	next := map[docVersion]int{} // the transaction that replaced a version
	before := map[int][]int{}    // the transactions that come after one
	for _, c := range history {
		for _, key := range c.wrote {
			v := docVersion{key, c.read[key]}
			if other, twice := next[v]; twice {
				return fmt.Sprintf("transactions %d and %d both replaced version %d of %s", other, c.id, v.by, key)
			}
			next[v] = c.id
		}
	}
	for _, c := range history {
		for key, by := range c.read {
			before[by] = append(before[by], c.id)
			if n, replaced := next[docVersion{key, by}]; replaced && n != c.id {
				before[c.id] = append(before[c.id], n)
			}
		}
		for _, later := range history {
			if c.end < later.began {
				before[c.id] = append(before[c.id], later.id)
			}
		}
	}
	const visiting, visited = 1, 2
	state := map[int]int{}
	var path []int
	var visit func(id int) bool
	visit = func(id int) bool {
		path, state[id] = append(path, id), visiting
		for _, n := range before[id] {
			if state[n] == visiting {
				path = path[slices.Index(path, n):]
				return false
			}
			if state[n] == 0 && !visit(n) {
				return false
			}
		}
		path, state[id] = path[:len(path)-1], visited
		return true
	}
	for _, c := range history {
		if state[c.id] == 0 && !visit(c.id) {
			problem := "there is no order in which these transactions could have run:"
			for _, id := range path {
				for _, c := range history {
					if c.id == id {
						problem += fmt.Sprintf("\n%+v", c)
					}
				}
			}
			return problem
		}
	}
	return ""
}
