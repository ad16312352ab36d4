package accounts

import (
	"slices"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Each kind of e-mail that carries a code carries those of one purpose.
func TestEachPurposeHasItsMail(t *testing.T) {
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
