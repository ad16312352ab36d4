package bolt_test

import "testing"

// A killed process loses nothing that the kernel has; only a power cut would show a commit that was
// not flushed.
func TestCommitsAreFlushed(t *testing.T) {
	if !openNotes(t).Synced() {
		t.Error("commits are acknowledged before they are on disk")
	}
}
