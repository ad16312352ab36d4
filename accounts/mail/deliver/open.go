package deliver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Open returns the mailer of a specification: "dir:PATH", "smtp://…", "smtps://…"
// (see [NewSMTP]) or "log". From is the sender's address, which may carry a name.
func Open(spec, from string) (mail.Mailer, error) {
	path, isDir := strings.CutPrefix(spec, "dir:")
	switch {
	case isDir:
		d, err := NewDir(path, from)
		if err != nil {
			return nil, err // not d: a nil *Dir is a mail.Mailer that isn't nil
		}
		return d, nil
	case strings.HasPrefix(spec, "smtp://"), strings.HasPrefix(spec, "smtps://"):
		s, err := NewSMTP(spec, from)
		if err != nil {
			return nil, err
		}
		return s, nil
	case spec == "log":
		return mail.NewLog(nil), nil
	}
	if strings.HasPrefix(spec, `"`) || strings.HasPrefix(spec, "'") {
		return nil, errors.New("deliver: the specification begins with a quotation mark: in files that no shell reads, leave the quotation marks away")
	}
	return nil, fmt.Errorf("deliver: %q is none of dir:PATH, smtp://USER:PASSWORD@HOST:PORT, smtps://…, log", redact(spec))
}

// redact leaves the scheme of what might hold a password.
func redact(spec string) string {
	if scheme, _, ok := strings.Cut(spec, ":"); ok {
		return scheme + ":…"
	}
	return spec
}
