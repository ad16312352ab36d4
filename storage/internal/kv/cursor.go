package kv

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Cursor returns the cursor of a position in a scan: a key, or "value NUL key" in an index.
func Cursor(index, pos string) string {
	var plain, encoded [256]byte // one for each record of a scan: they stay on the stack
	text := append(append(append(plain[:0], index...), ':'), pos...)
	return string(base64.RawURLEncoding.AppendEncode(encoded[:0], text))
}

// Position returns the position of a cursor.
func Position(index, cursor string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	pos, ok := strings.CutPrefix(string(b), index+":")
	key := pos
	if index != "" && ok {
		var val string
		val, key, ok = strings.Cut(pos, "\x00")
		ok = ok && storage.ValidKey(val) == nil
	}
	if err != nil || !ok || storage.ValidKey(key) != nil {
		return "", fmt.Errorf("%w: bad cursor", storage.ErrInvalid)
	}
	return pos, nil
}
