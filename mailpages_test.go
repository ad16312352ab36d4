package gatehouse_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

func TestMailPagesAreCheckedAtStart(t *testing.T) {
	for _, c := range []struct {
		kind mail.Kind
		page string
		want string // in the error
	}{
		{mail.ResetPassword, "https://pds.example.com/reset?lang=en", ""},
		{mail.PLCOperation, "http://localhost:8080", ""},
		{mail.KeysChanged, "https://pds.example.com/keys", `the kind "keys_changed" have no code`},
		{mail.Notice, "https://pds.example.com/notice", `the kind "notice" have no code`},
		{"reset", "https://pds.example.com/reset", `the kind "reset" have no code`},
		{mail.SignIn, "", "the page of sign_in is not of the form https://HOST/PATH"},
		{mail.SignIn, "/in", "the page of sign_in is not of the form"},
		{mail.SignIn, "javascript:alert(1)", "the page of sign_in is not of the form"},
		{mail.SignIn, "https://pds.example.com/#/in", "has a fragment"},
		{mail.SignIn, "https://pds.example.com/sign in", "has to be percent-encoded"},
	} {
		_, err := start(t, gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, Mail: gatehouse.Mail{Pages: map[mail.Kind]string{c.kind: c.page}},
		})
		message := fmt.Sprint(err)
		if c.want == "" && err != nil || c.want != "" && (!strings.Contains(message, "Config.Mail.Pages: ") || !strings.Contains(message, c.want)) {
			t.Errorf("%s at %q: %v; want %q", c.kind, c.page, err, c.want)
		}
	}
}
