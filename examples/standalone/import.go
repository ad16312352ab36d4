package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
)

type importCmd struct {
	File string `arg:"" help:"File with an account on each line, as JSON; - for the standard input."`
}

// importBatch is how many accounts are read before they are imported.
const importBatch = 10_000

// maxImportLine is the most bytes of a line.
const maxImportLine = 64 << 10

// importedLine is a line of the file.
type importedLine struct {
	DID              syntax.DID `json:"did"`
	Handle           string     `json:"handle"`
	Email            string     `json:"email"`
	EmailConfirmedAt *time.Time `json:"emailConfirmedAt"`
	PasswordHash     string     `json:"passwordHash"`
	CreatedAt        time.Time  `json:"createdAt"`
	DeactivatedAt    *time.Time `json:"deactivatedAt"`
	// TakedownRef is set if the account is taken down.
	TakedownRef *string `json:"takedownRef"`
	// SigningKey is a private key: a K-256 key in hexadecimal, or any in multibase.
	SigningKey string `json:"signingKey"`
}

// Run imports the accounts into the configured store, and prints those that are refused.
func (c importCmd) Run(ctx context.Context, s *Settings) (err error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	addr, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	store, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	mailer, err := s.mailer()
	if err != nil {
		return err
	}
	cfg, err := s.config(ctx, store, mailer, s.logger(), addr, rand.Text())
	if err != nil {
		return err
	}
	cfg.NoMaintenance = true
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	return importLines(ctx, srv.Accounts, in, os.Stdout)
}

// importLines imports accounts that are lines of JSON. It stops at a line that it can't read, and has
// imported those before it then.
func importLines(ctx context.Context, service *accounts.Service, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxImportLine)
	var batch []accounts.Import
	var numbers []int // of the lines of the batch
	imported, existed, refused := 0, 0, 0
	flush := func() error {
		results, err := service.Import(ctx, batch)
		for i, r := range results {
			switch {
			case r.Refused != nil:
				refused++
				fmt.Fprintf(out, "line %d: %s: %v\n", numbers[i], r.DID, r.Refused)
			case r.Existed:
				existed++
			default:
				imported++
			}
		}
		batch, numbers = batch[:0], numbers[:0]
		return err
	}
	var failed error
	for n := 1; failed == nil && lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		account, err := parseLine(lines.Bytes())
		if err != nil {
			failed = fmt.Errorf("line %d: %w", n, err)
			break
		}
		batch, numbers = append(batch, account), append(numbers, n)
		if len(batch) == importBatch {
			failed = flush()
		}
	}
	failed = errors.Join(failed, lines.Err(), flush())
	fmt.Fprintf(out, "%d imported, %d were there already, %d refused\n", imported, existed, refused)
	if failed == nil && refused > 0 {
		failed = fmt.Errorf("%d accounts were refused", refused)
	}
	return failed
}

// parseLine reads a line. Its errors don't contain the line, which has secrets in it.
func parseLine(line []byte) (accounts.Import, error) {
	var l importedLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return accounts.Import{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return accounts.Import{}, errors.New("there is something behind the object")
	}
	in := accounts.Import{
		DID: l.DID, Handle: l.Handle, Email: l.Email, EmailConfirmedAt: l.EmailConfirmedAt, PasswordHash: l.PasswordHash,
		CreatedAt: l.CreatedAt, DeactivatedAt: l.DeactivatedAt,
	}
	if l.TakedownRef != nil {
		in.Takedown = &accounts.Takedown{Ref: *l.TakedownRef}
	}
	if l.SigningKey == "" {
		return in, nil
	}
	if raw, err := hex.DecodeString(l.SigningKey); err == nil {
		key, err := atcrypto.ParsePrivateBytesK256(raw)
		if err != nil {
			return in, errors.New("signingKey is not a K-256 private key")
		}
		in.SigningKey = key
		return in, nil
	}
	key, err := atcrypto.ParsePrivateMultibase(l.SigningKey)
	if err != nil {
		return in, errors.New("signingKey is neither hexadecimal nor a private key in multibase")
	}
	in.SigningKey = key
	return in, nil
}
