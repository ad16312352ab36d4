package kv

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gatehouse-at/gatehouse/storage"
)

// frame encodes a document: the length of its index entries, "index NUL value NUL" for each of
// them, and its JSON. Whoever replaces a document finds the entries to remove there.
func frame(doc storage.Document) []byte {
	n := 0
	for _, e := range doc.Entries {
		n += len(e.Index) + len(e.Value) + 2
	}
	b := make([]byte, 0, binary.MaxVarintLen32+n+len(doc.Value))
	b = binary.AppendUvarint(b, uint64(n))
	for _, e := range doc.Entries {
		b = append(append(b, e.Index...), 0)
		b = append(append(b, e.Value...), 0)
	}
	return append(b, doc.Value...)
}

// unframe splits a stored document into its JSON and its encoded entries.
func unframe(b []byte) (value, entries []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, errors.New("storage: a stored document is damaged")
	}
	end := w + int(n)
	return b[end:], b[w:end], nil
}

// value returns the JSON of a stored document.
func value(b []byte) ([]byte, error) {
	v, _, err := unframe(b)
	return v, err
}

// entriesOf decodes the entries of a stored document, sorted by index, then value.
func entriesOf(b []byte) ([]storage.Entry, error) {
	_, enc, err := unframe(b)
	if err != nil {
		return nil, err
	}
	var es []storage.Entry
	for len(enc) > 0 {
		index, rest, ok1 := bytes.Cut(enc, []byte{0})
		val, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok1 || !ok2 {
			return nil, errors.New("storage: the index entries of a stored document are damaged")
		}
		es = append(es, storage.Entry{Index: string(index), Value: string(val)})
		enc = rest
	}
	return es, nil
}

// Check checks a document against the definition of its table, and returns it with its entries
// sorted and without duplicates.
func Check(t storage.Table, doc storage.Document) (storage.Document, error) {
	if err := storage.ValidKey(doc.Key); err != nil {
		return doc, err
	}
	if err := validJSON(doc.Value); err != nil {
		return doc, fmt.Errorf("%w: table %s: %w", storage.ErrInvalid, t.Name, err)
	}
	es := slices.Clone(doc.Entries)
	slices.SortFunc(es, compareEntries)
	es = slices.Compact(es)
	for i, e := range es {
		if err := storage.ValidKey(e.Value); err != nil {
			return doc, fmt.Errorf("index %s of table %s: %w", e.Index, t.Name, err)
		}
		ix := indexOf(t, e.Index)
		switch {
		case ix == nil:
			return doc, fmt.Errorf("%w: table %s has no index %q", storage.ErrInvalid, t.Name, e.Index)
		case !ix.Multi && i > 0 && es[i-1].Index == e.Index:
			return doc, fmt.Errorf("%w: index %s of table %s allows one value", storage.ErrInvalid, e.Index, t.Name)
		}
	}
	doc.Entries = es
	return doc, nil
}

func compareEntries(a, b storage.Entry) int {
	if c := strings.Compare(a.Index, b.Index); c != 0 {
		return c
	}
	return strings.Compare(a.Value, b.Value)
}

// validJSON checks that a value is one JSON object, without text that some backends can't hold.
func validJSON(v []byte) error {
	trimmed := bytes.TrimLeft(v, " \t\r\n")
	switch {
	case len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(v):
		return errors.New("a document must be one JSON object")
	case !utf8.Valid(v): // json.Valid accepts it
		return errors.New("a document must be UTF-8")
	case bytes.Contains(v, []byte(`\u`)) && hasBadEscape(v):
		return errors.New("a document must not contain NUL or half a surrogate pair")
	}
	return nil
}

// hasBadEscape reports whether valid JSON contains an escape that some backends can't hold: NUL, or
// half a surrogate pair.
func hasBadEscape(v []byte) bool {
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' {
			continue
		}
		r := escape(v[i:])
		switch {
		case r < 0:
			i++ // skip the escaped character
		case r == 0:
			return true
		case utf16.IsSurrogate(r):
			if utf16.DecodeRune(r, escape(v[i+6:])) == utf8.RuneError {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}

// escape returns the rune of an escape such as \u00e9 at the start of v, or -1.
func escape(v []byte) rune {
	if len(v) < 6 || v[0] != '\\' || v[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(v[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
