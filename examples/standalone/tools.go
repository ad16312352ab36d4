package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

type mailTestCmd struct {
	Address string `arg:"" help:"Where to send the test e-mail."`
}

// Run sends a test e-mail with the configured mailer.
func (c mailTestCmd) Run(ctx context.Context, s *Settings) error {
	m, err := s.mailer()
	if err != nil {
		return err
	}
	if err := deliver.Try(ctx, m, c.Address, os.Stdout); err != nil {
		return errors.New("e-mail does not work")
	}
	return nil
}

type checkCmd struct{}

// Run checks the configured store.
func (checkCmd) Run(ctx context.Context, s *Settings) (err error) {
	store, err := s.openExisting(ctx, s.Store)
	if err != nil {
		return fmt.Errorf("-store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	problems, err := storage.Check(ctx, store, gatehouse.Collections()...)
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	fmt.Println("consistent")
	return nil
}

type compactCmd struct{}

// Run compacts the configured store.
func (compactCmd) Run(s *Settings) error {
	path, isFile := s.file(s.Store)
	if !isFile {
		return fmt.Errorf("-store: only a file of bbolt can be compacted, and %q is not one", redacted(s.Store))
	}
	before, after, err := bolt.Compact(path)
	if errors.Is(err, bolt.ErrLocked) {
		return fmt.Errorf("stop the server first: %w", err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d MiB, before %d MiB\n", path, after>>20, before>>20)
	return nil
}
