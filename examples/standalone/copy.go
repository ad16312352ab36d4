package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gatehouse-at/gatehouse/storage"
)

type copyCmd struct {
	From string `arg:"" help:"Store to copy, as for -store."`
	To   string `arg:"" help:"Store to copy to, which must be empty."`
}

// Run copies a store to another one, of the same or another backend.
func (c copyCmd) Run(ctx context.Context, s *Settings) (err error) {
	src, err := s.openExisting(ctx, c.From)
	if err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := s.openStore(ctx, c.To)
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	report, err := storage.Copy(ctx, dst, src, progressBar)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return err
	}
	total := 0
	for _, t := range report.Tables {
		fmt.Printf("%-20s %9d documents  sha256 %.16s…\n", t.Name, t.Documents, t.Checksum)
		total += t.Documents
	}
	fmt.Printf("%-20s %9d documents  copied and verified\n", "in all", total)
	return nil
}

// progressBar draws the progress of the copy on one line, which it overwrites.
func progressBar(p storage.CopyProgress) {
	const width = 30
	done := 0
	if p.Total > 0 && p.Stage != "counting" {
		done = p.Done * width / p.Total
	}
	fmt.Fprintf(os.Stderr, "\r%-9s [%s%s] %d/%d  %-20s", p.Stage,
		strings.Repeat("#", done), strings.Repeat(".", width-done), p.Done, p.Total, p.Table)
}
