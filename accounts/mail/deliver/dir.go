package deliver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Dir is a mailer for development that writes each message as an .eml file into a directory.
type Dir struct {
	path  string
	from  string
	now   func() time.Time
	count atomic.Uint64
}

// NewDir returns a Dir for the messages of a sender, whose address may include a name. It creates
// the directory with mode 0700 if it doesn't exist.
func NewDir(path, from string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("deliver: the path of dir: is required")
	}
	if err := checkFrom(from); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	return &Dir{path: path, from: from, now: time.Now}, nil
}

// Send implements [mail.Mailer]. The names of files sort by time and contain the recipient's
// address.
func (d *Dir) Send(ctx context.Context, m mail.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	now := d.now().UTC()
	msg, err := compose(d.from, m, now)
	if err != nil {
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	name := fmt.Sprintf("%s-%06d-%s.eml", now.Format("20060102T150405.000"), d.count.Add(1), fileName(m.To))
	// The file is renamed when it is complete, so that nobody reads a part of it.
	f, err := os.CreateTemp(d.path, ".new-*")
	if err != nil {
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	_, err = msg.WriteTo(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(d.path, name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	return nil
}

// String describes where messages go.
func (d *Dir) String() string { return "files in " + d.path + ", which reach nobody" }

// fileName makes an address a part of a file name that all file systems accept.
func fileName(address string) string {
	address = address[:min(len(address), 64)]
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("@.-_+", r):
			return r
		}
		return '_'
	}, address)
}
