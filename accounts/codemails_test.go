package accounts

import (
	"slices"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// TestEachPurposeHasItsKindOfMail: there are as many kinds of e-mails with codes as purposes of
// codes.
func TestEachPurposeHasItsKindOfMail(t *testing.T) {
	var want, got []mail.Kind
	for _, kind := range mail.Kinds() {
		if kind.HasCode() {
			want = append(want, kind)
		}
	}
	for _, kind := range codeMails {
		got = append(got, kind)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("e-mails with codes are %v, and there are %v", got, want)
	}
}
