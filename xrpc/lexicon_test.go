package xrpc

import (
	"bytes"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/lexicons"
)

// TestLexiconsAreThoseOfIndigo shows that lexicons.json says what the lexicons in the indigo module
// of go.mod say of the methods in the table.
func TestLexiconsAreThoseOfIndigo(t *testing.T) {
	catalog, err := lexicons.Load()
	if err != nil {
		t.Fatal(err)
	}
	want, err := catalog.Extract(Methods()...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(lexiconsJSON, want) {
		t.Error("lexicons.json is out of date: run go generate ./xrpc")
	}
}
