package bolt_test

import "testing"

// TestCommitsAreFlushed checks the configuration, since only a power cut would show a commit that
// was not flushed: a killed process loses nothing that the kernel has.
func TestCommitsAreFlushed(t *testing.T) {
	if !openNotes(t).Synced() {
		t.Error("commits are not flushed to the disk")
	}
}
