package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// maxName is the maximum length of a name in PostgreSQL, in bytes.
const maxName = 63

// name joins the parts of a name within a schema. Names of tables and indexes don't contain "$".
func name(parts ...string) string {
	n := strings.Join(parts, "$")
	if len(n) <= maxName {
		return n
	}
	sum := sha256.Sum256([]byte(n))
	return n[:maxName-17] + "$" + hex.EncodeToString(sum[:8])
}

var systemColumns = []string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

// column returns the quoted name of the column of an index.
func column(index string) string {
	if slices.Contains(systemColumns, index) {
		index += "$"
	}
	return quote(index)
}

// quote quotes a name as an identifier. Names don't contain quotes.
func quote(name string) string { return `"` + name + `"` }

// quoteText quotes a string as a constant.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
