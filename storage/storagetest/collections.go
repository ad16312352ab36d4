package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

type person struct {
	ID    string   `json:"id"`
	Email string   `json:"email,omitempty"`
	Age   int      `json:"age"`
	Tags  []string `json:"tags,omitempty"`
}

func people() *storage.Collection[person] {
	return storage.NewCollection("people", func(p *person) string { return p.ID },
		storage.Unique("email", func(p *person) string { return p.Email }),
		storage.Ordered("age", func(p *person) string { return number(p.Age) }),
		storage.IndexOf[person]{Name: "tags", Multi: true, Values: func(p *person) []string { return p.Tags }},
	)
}

func testCollections(t *testing.T, f *fixture) {
	c := people()
	f.define(c.Table())
	f.update(func(tx storage.Tx) error {
		for i, p := range []*person{{ID: "a", Email: "a@x.org", Tags: []string{"x", "y"}}, {ID: "b"}, {ID: "c", Email: "c@x.org", Tags: []string{"y"}}} {
			p.Age = 30 - i
			if err := c.Insert(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	wantConflict(t, f.Update(f.ctx, func(tx storage.Tx) error { return c.Insert(tx, &person{ID: "a"}) }), "people", "")
	wantConflict(t, f.Update(f.ctx, func(tx storage.Tx) error { return c.Put(tx, &person{ID: "d", Email: "a@x.org"}) }), "people", "email")
	f.view(func(tx storage.Tx) error {
		p, err := c.GetBy(tx, "email", "c@x.org")
		if err != nil {
			return err
		}
		if p.ID != "c" || p.Age != 28 || len(p.Tags) != 1 {
			t.Errorf("GetBy = %+v", p)
		}
		for _, missing := range []string{"", "nobody", strings.Repeat("x", 5000), "nul\x00"} {
			_, err = c.Get(tx, missing)
			wantError(t, "Get of a missing document", err, storage.ErrNotFound)
			_, err = c.GetBy(tx, "email", missing)
			wantError(t, "GetBy of a missing value", err, storage.ErrNotFound)
		}
		var ids []string
		for p, err := range c.Scan(tx, storage.Range{Index: "age"}) {
			if err != nil {
				return err
			}
			ids = append(ids, p.ID)
		}
		if got := strings.Join(ids, ""); got != "cba" {
			t.Errorf("Scan by age = %s, want cba", got)
		}
		return nil
	})
	f.update(func(tx storage.Tx) error {
		n, err := c.DeleteAll(tx, storage.Range{Index: "tags"})
		if err == nil && n != 2 {
			t.Errorf("DeleteAll removed %d, want 2", n)
		}
		return err
	})
	f.view(func(tx storage.Tx) error {
		left, err := c.All(tx, storage.Range{})
		if len(left) != 1 || left[0].ID != "b" {
			t.Errorf("remaining documents are %v", left)
		}
		return err
	})
}

func testVersions(t *testing.T, f *fixture) {
	old := people()
	f.define(old.Table())
	f.update(func(tx storage.Tx) error { return old.Put(tx, &person{ID: "a", Age: 1}) })
	upgraded := people().Versioned(2, func(version int, doc []byte) ([]byte, error) {
		var p person
		if err := json.Unmarshal(doc, &p); err != nil {
			return nil, err
		}
		p.Tags = []string{fmt.Sprintf("from version %d", version)}
		return json.Marshal(p)
	})
	read := func(c *storage.Collection[person]) (p *person, err error) {
		err = f.View(f.ctx, func(tx storage.Tx) error { p, err = c.Get(tx, "a"); return err })
		return p, err
	}
	p, err := read(upgraded)
	if err != nil || len(p.Tags) != 1 || p.Tags[0] != "from version 1" {
		t.Fatalf("upgraded: %+v, %v", p, err)
	}
	if err := upgraded.Rebuild(f.ctx, f); err != nil {
		t.Fatal(err)
	}
	f.view(func(tx storage.Tx) error {
		got, err := upgraded.All(tx, storage.Exactly("tags", "from version 1"))
		if len(got) != 1 {
			t.Errorf("%d documents in the index after Rebuild, want 1", len(got))
		}
		return err
	})
	if p, err := read(old); err == nil {
		t.Errorf("a document of a newer version was read as %+v", p)
	}
}

// testPurge removes more documents than fit in one page. Each is in the index twice.
func testPurge(t *testing.T, f *fixture) {
	c := people()
	f.define(c.Table())
	f.update(func(tx storage.Tx) error {
		for i := range 1200 {
			p := &person{ID: number(i), Tags: []string{"old " + number(i), "older " + number(i)}}
			if i%100 == 0 {
				p.Tags = []string{"young"}
			}
			if err := c.Insert(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err := c.Purge(f.ctx, f, storage.Range{Index: "tags", Prefix: "old"}); err != nil {
		t.Fatal(err)
	}
	f.view(func(tx storage.Tx) error {
		left, err := keysOf(tx, "people", storage.Range{})
		if len(left) != 12 || left[1] != number(100) {
			t.Errorf("remaining documents are %v", left)
		}
		return err
	})
}

// testPurgeFunc removes some documents, rewrites some and keeps some, in pages of several sizes.
func testPurgeFunc(t *testing.T, f *fixture) {
	c := people()
	f.define(c.Table())
	for _, size := range []int{0, 1, 7, 40, 1000} {
		f.update(func(tx storage.Tx) error {
			for i := range 40 {
				if err := c.Put(tx, &person{ID: number(i), Age: i, Tags: []string{"a " + number(i), "b " + number(i)}}); err != nil {
					return err
				}
			}
			return nil
		})
		decide := func(tx storage.Tx, p *person) (bool, error) {
			switch p.Age % 4 {
			case 0:
				return true, nil
			case 1: // leaves the range
				p.Tags = []string{"rewritten"}
				return false, c.Put(tx, p)
			case 2: // removed by fn itself
				return false, c.Delete(tx, p.ID)
			}
			return false, nil
		}
		if err := c.PurgeFunc(f.ctx, f, storage.Range{Index: "tags", To: "c", Limit: size}, decide); err != nil {
			t.Fatal(err)
		}
		f.view(func(tx storage.Tx) error {
			kept, err := keysOf(tx, "people", storage.Range{})
			if len(kept) != 20 || kept[0] != number(1) || kept[1] != number(3) {
				t.Errorf("in pages of %d: kept %v", size, kept)
			}
			rewritten, err2 := keysOf(tx, "people", storage.Exactly("tags", "rewritten"))
			if len(rewritten) != 10 {
				t.Errorf("in pages of %d: rewrote %v", size, rewritten)
			}
			return errors.Join(err, err2)
		})
	}

	// An error rolls back its page, but not the pages before it.
	err := c.PurgeFunc(f.ctx, f, storage.Range{Limit: 6}, func(_ storage.Tx, p *person) (bool, error) {
		if p.ID == number(19) { // the tenth
			return false, errRefused
		}
		return true, nil
	})
	wantError(t, "PurgeFunc", err, errRefused)
	f.view(func(tx storage.Tx) error {
		left, err := keysOf(tx, "people", storage.Range{})
		if len(left) != 14 || left[0] != number(13) {
			t.Errorf("after an error in the second page, %v remain", left)
		}
		return err
	})
}

func testUnder(t *testing.T, f *fixture) {
	c := people()
	f.define(c.Table())
	f.update(func(tx storage.Tx) error {
		for _, p := range []*person{
			{ID: "a", Tags: []string{"did:x:1 app"}},
			{ID: "b", Tags: []string{"did:x:1 app two"}},
			{ID: "c", Tags: []string{"did:x:1"}}, // exactly the part
			{ID: "d", Tags: []string{"did:x:11 app"}},
			{ID: "e", Tags: []string{"did:x:1", "did:x:2 web"}},
			{ID: "did:x:1 key"},
		} {
			if err := c.Put(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	f.view(func(tx storage.Tx) error {
		for _, w := range []struct {
			r    storage.Range
			want string
		}{
			{storage.Under("tags", "did:x:1"), "a b"},
			{storage.Under("tags", "did:x:1", "app"), "b"},
			{storage.Under("tags", "did:x:2"), "e"},
			{storage.Under("tags", "did:x"), ""},
			{storage.Under("tags", ""), ""},
			{storage.Under("", "did:x:1"), "did:x:1 key"},
			{storage.Under("tags"), "c e a b d e"},
		} {
			got, err := keysOf(tx, "people", w.r)
			if err != nil {
				return err
			}
			if strings.Join(got, " ") != w.want {
				t.Errorf("%+v holds %v, want %s", w.r, got, w.want)
			}
		}
		return nil
	})
}

func testRebuild(t *testing.T, f *fixture) {
	before := storage.NewCollection("people", func(p *person) string { return p.ID })
	f.define(before.Table())
	f.update(func(tx storage.Tx) error {
		for i := range 1200 {
			if err := before.Insert(tx, &person{ID: number(i), Age: i}); err != nil {
				return err
			}
		}
		return nil
	})
	c := people()
	f.define(c.Table())
	count := func() (n int) {
		f.view(func(tx storage.Tx) error {
			all, err := keysOf(tx, "people", storage.Range{Index: "age"})
			n = len(all)
			return err
		})
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("a new index holds %d documents before Rebuild", n)
	}
	if err := c.Rebuild(f.ctx, f); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1200 {
		t.Errorf("the index holds %d documents after Rebuild, want 1200", n)
	}
}

func keysOf(tx storage.Tx, table string, r storage.Range) (out []string, err error) {
	for rec, err := range tx.Scan(table, r) {
		if err != nil {
			return nil, err
		}
		out = append(out, rec.Key)
	}
	return out, nil
}

func testPages(t *testing.T, f *fixture) {
	c := people()
	f.define(c.Table())
	f.update(func(tx storage.Tx) error {
		for i := range 10 {
			if err := c.Insert(tx, &person{ID: number(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, size := range []int{1, 3, 5, 10, 11} {
		var got []string
		r := storage.Range{Limit: size}
		for {
			var cursor string
			f.view(func(tx storage.Tx) error {
				page, next, err := c.Page(tx, r)
				if len(page) > size {
					t.Errorf("a page of %d has %d", size, len(page))
				}
				for _, p := range page {
					got = append(got, p.ID)
				}
				cursor = next
				return err
			})
			if cursor == "" {
				break
			}
			r.After = cursor
		}
		if len(got) != 10 || got[0] != number(0) || got[9] != number(9) {
			t.Errorf("in pages of %d: %v", size, got)
		}
	}
}
