package deliver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Open returns the mailer that a specification describes: "dir:PATH", "smtp://…" or "smtps://…"
// (see [NewSMTP]), or "log". The sender's address, from, may include a name.
func Open(spec, from string) (mail.Mailer, error) {
	path, isDir := strings.CutPrefix(spec, "dir:")
	switch {
	case isDir:
		d, err := NewDir(path, from)
		if err != nil {
			return nil, err // d would be a nil *Dir in a non-nil mail.Mailer
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

// redact returns only the scheme of a specification that may contain a password.
func redact(spec string) string {
	if scheme, _, ok := strings.Cut(spec, ":"); ok {
		return scheme + ":…"
	}
	return spec
}
