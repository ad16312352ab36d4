package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

var table = storage.Table{Name: "things", Indexes: []storage.Index{{Name: "one"}, {Name: "many", Multi: true}}}

func TestNormalSortsEntriesWithoutRepeats(t *testing.T) {
	given := []storage.Entry{{Index: "one", Value: "x"}, {Index: "many", Value: "b"}, {Index: "many", Value: "a"}, {Index: "many", Value: "b"}, {Index: "one", Value: "x"}}
	before := slices.Clone(given)
	doc, err := Check(table, storage.Document{Key: "k", Value: []byte(`{}`), Entries: given})
	if err != nil {
		t.Fatal(err)
	}
	want := []storage.Entry{{Index: "many", Value: "a"}, {Index: "many", Value: "b"}, {Index: "one", Value: "x"}}
	if !slices.Equal(doc.Entries, want) {
		t.Errorf("entries are %v, want %v", doc.Entries, want)
	}
	if !slices.Equal(given, before) {
		t.Errorf("the caller's entries have changed to %v", given)
	}
}

// FuzzFrame encodes documents and decodes them again.
func FuzzFrame(f *testing.F) {
	f.Add("v", "w", `{"a":1}`)
	f.Add("", "", "")
	f.Add("é", strings.Repeat("x", 300), "{}")
	f.Fuzz(func(t *testing.T, one, many, body string) {
		doc := storage.Document{Value: []byte(body)}
		for _, e := range []storage.Entry{{Index: "many", Value: many}, {Index: "one", Value: one}} {
			if storage.ValidKey(e.Value) == nil {
				doc.Entries = append(doc.Entries, e)
			}
		}
		framed := frame(doc)
		v, err := value(framed)
		if err != nil || string(v) != body {
			t.Errorf("the value is %q, %v; want %q", v, err, body)
		}
		es, err := entriesOf(framed)
		if err != nil || !slices.Equal(es, doc.Entries) {
			t.Errorf("the entries are %v, %v; want %v", es, err, doc.Entries)
		}
	})
}

// FuzzUnframe decodes arbitrary bytes.
func FuzzUnframe(f *testing.F) {
	f.Add(frame(storage.Document{Value: []byte(`{}`), Entries: []storage.Entry{{Index: "one", Value: "v"}}}))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{3, 'a', 0, 'b', '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := value(b)
		if err == nil && !bytes.HasSuffix(b, v) {
			t.Errorf("the value %q is not the end of %q", v, b)
		}
		if es, err := entriesOf(b); err != nil && es != nil {
			t.Errorf("entries with an error: %v", es)
		}
	})
}

// FuzzValidJSON compares validJSON with what encoding/json decodes.
func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"\u0000"}`, `{"a":"\\u0000"}`, `{"a":"\ud83d\ude42"}`, `{"a":"\ud83d"}`, `{"a":"\ud83d\\ude42"}`,
		`{"a":"\ude42\ud83d"}`, `{"a":"\ud83d\ud83d\ude42"}`, `{"\uDe42":1}`, `{"a":"\\\ud83d"}`, "{\"a\":\"\xff\"}", "[]", ` {"a":1} `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := validJSON([]byte(s))
		var object map[string]any
		if json.Unmarshal([]byte(s), &object) != nil || object == nil {
			if err == nil {
				t.Errorf("%q is valid", s)
			}
			return
		}
		if strings.Contains(s, "\ufffd") || strings.Contains(strings.ToLower(s), `\ufffd`) {
			return // Go decodes what it can't hold as this
		}
		bad := false
		for d := json.NewDecoder(strings.NewReader(s)); ; {
			token, err := d.Token()
			if err != nil {
				break
			}
			if text, ok := token.(string); ok && strings.ContainsAny(text, "\x00\ufffd") {
				bad = true
			}
		}
		if bad != (err != nil) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// FuzzPosition decodes arbitrary cursors, which clients may send.
func FuzzPosition(f *testing.F) {
	f.Add("", Cursor("", "key"))
	f.Add("one", Cursor("one", "value\x00key"))
	f.Add("one", Cursor("one", "value"))
	f.Add("one", Cursor("many", "value\x00key"))
	f.Add("", "garbage!")
	f.Fuzz(func(t *testing.T, index, cursor string) {
		pos, err := Position(index, cursor)
		if err != nil {
			if !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("error is %v, want ErrInvalid", err)
			}
			return
		}
		again, err := Position(index, Cursor(index, pos))
		if err != nil || again != pos {
			t.Errorf("the position %q becomes %q, %v", pos, again, err)
		}
		val, key, ok := strings.Cut(pos, "\x00")
		if index == "" {
			val, key, ok = pos, pos, true
		}
		if !ok || storage.ValidKey(val) != nil || storage.ValidKey(key) != nil {
			t.Errorf("the position %q doesn't consist of keys", pos)
		}
	})
}
