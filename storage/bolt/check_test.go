package bolt_test

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse/storage"
)

type tool struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Kind string   `json:"kind"`
	Uses []string `json:"uses"`
}

var tools = storage.NewCollection("tools", func(t *tool) string { return t.ID },
	storage.Unique("name", func(t *tool) string { return t.Name }),
	storage.Ordered("kind", func(t *tool) string { return t.Kind }),
	storage.IndexOf[tool]{Name: "uses", Multi: true, Values: func(t *tool) []string { return t.Uses }},
)

// TestCheckFindsDamage damages a file in ways that the store can't.
func TestCheckFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(bucket func(name string) *bbolt.Bucket) error{
		"nothing":                nil,
		"a document is gone":     func(b func(string) *bbolt.Bucket) error { return b("tools").Delete([]byte("2")) },
		"a document is damaged":  func(b func(string) *bbolt.Bucket) error { return b("tools").Put([]byte("2"), []byte{0xff}) },
		"a document is cut off":  func(b func(string) *bbolt.Bucket) error { return b("tools").Put([]byte("2"), []byte("\x00{")) },
		"an entry is gone":       func(b func(string) *bbolt.Bucket) error { return b("tools.kind").Delete([]byte("hand\x002")) },
		"a unique entry is gone": func(b func(string) *bbolt.Bucket) error { return b("tools.name").Delete([]byte("saw\x002")) },
		"one of several is gone": func(b func(string) *bbolt.Bucket) error { return b("tools.uses").Delete([]byte("wood\x002")) },
		"an old entry is left":   func(b func(string) *bbolt.Bucket) error { return b("tools.kind").Put([]byte("machine\x002"), nil) },
		"one of several is left": func(b func(string) *bbolt.Bucket) error { return b("tools.uses").Put([]byte("ice\x002"), nil) },
		"an entry leads nowhere": func(b func(string) *bbolt.Bucket) error { return b("tools.kind").Put([]byte("hand\x007"), nil) },
		"a name has two tools":   func(b func(string) *bbolt.Bucket) error { return b("tools.name").Put([]byte("axe\x002"), nil) },
		"a value is another, in the same place": func(b func(string) *bbolt.Bucket) error {
			if err := b("tools.uses").Delete([]byte("wood\x002")); err != nil {
				return err
			}
			return b("tools.uses").Put([]byte("woof\x002"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path)
			if err := storage.Define(ctx, s, tools); err != nil {
				t.Fatal(err)
			}
			err := s.Update(ctx, func(tx storage.Tx) error {
				for _, one := range []*tool{
					{"1", "axe", "hand", []string{"wood"}}, {"2", "saw", "hand", []string{"metal", "wood"}}, {"3", "lathe", "machine", nil},
				} {
					if err := tools.Insert(tx, one); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if damage != nil {
				db, err := bbolt.Open(path, 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				err = db.Update(func(tx *bbolt.Tx) error {
					return damage(func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) })
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, path)
			defer s.Close()
			for _, collections := range [][]storage.Definer{{tools}, nil} { // with and without the collection
				problems, err := storage.Check(ctx, s, collections...)
				if err != nil {
					t.Fatal(err)
				}
				if (damage != nil) != (len(problems) > 0) {
					t.Errorf("Check = %v", problems)
				}
			}
		})
	}
}
