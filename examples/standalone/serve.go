package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// shutdownTimeout is how long running requests may take when the server stops.
const shutdownTimeout = 10 * time.Second

type serveCmd struct{}

// Run runs the server until ctx ends.
func (serveCmd) Run(ctx context.Context, s *Settings) (err error) {
	logger := s.logger()
	slog.SetDefault(logger)
	tuneGC(ctx)
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	defer listener.Close()
	store, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	mailer, err := s.mailer()
	if err != nil {
		return err
	}
	adminPassword, generated, err := s.adminPassword()
	if err != nil {
		return err
	}
	cfg, err := s.config(ctx, store, mailer, logger, listener.Addr(), adminPassword)
	if err != nil {
		return err
	}
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	go s.checkMail(ctx, mailer, logger)

	server := &http.Server{
		Handler:           srv.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	s.welcome(srv, listener.Addr(), adminPassword, generated)
	return serveUntil(ctx, server, listener, logger, shutdownTimeout)
}

// serveUntil serves until ctx ends. Running requests then have some time to finish, and are cut off
// after that.
func serveUntil(ctx context.Context, server *http.Server, listener net.Listener, logger *slog.Logger, patience time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	logger.Info("shutting down")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := server.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		logger.Warn("some requests did not end and are cut off", "after", patience)
		return server.Close()
	}
	return err
}

// checkMail logs at start if e-mail doesn't work, so that the operator learns it before users wait
// for codes.
func (s *Settings) checkMail(ctx context.Context, m mail.Mailer, logger *slog.Logger) {
	c, ok := m.(mail.Checker)
	if !ok {
		if !gatehouse.IsLocal(s.Hostname) {
			logger.Warn("e-mails reach nobody: -mail names no SMTP server", "mail", describeMail(s.mailSpec()))
		}
		return
	}
	switch err := c.Check(ctx); {
	case ctx.Err() != nil: // the server is stopping
	case err != nil:
		logger.Error("e-mail does not work; password resets and the like will fail", "error", err,
			"try", "standalone mail-test ADDRESS")
	default:
		logger.Info("e-mail works")
	}
}

// adminPassword returns the configured password, or one that was generated at the first start.
func (s *Settings) adminPassword() (password string, generated bool, err error) {
	if s.AdminPassword != "" {
		return s.AdminPassword, false, nil
	}
	if s.Store == "memory" {
		return rand.Text(), true, nil
	}
	path := filepath.Join(s.Data, "admin-password")
	b, err := os.ReadFile(path)
	if old := strings.TrimSpace(string(b)); old != "" { // it is empty if the first start was interrupted
		return old, true, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", false, err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return "", false, err
	}
	password = rand.Text()
	return password, true, os.WriteFile(path, []byte(password+"\n"), 0o600)
}

// welcome prints where the server is and, unless sign-up is closed to new accounts, how to create
// the first account.
func (s *Settings) welcome(srv *gatehouse.Server, addr net.Addr, adminPassword string, generated bool) {
	url := "http://" + addr.String()
	handle := "alice" + srv.Accounts.Handles().Domains()[0]
	fmt.Printf("Gatehouse %s is listening on %s\n", gatehouse.Version, url)
	fmt.Printf("  data: %s (%s)   e-mail: %s\n\n", s.Data, redacted(s.Store), describeMail(s.mailSpec()))
	invite := ""
	switch s.SignUp {
	case gatehouse.SignUpMigrations, gatehouse.SignUpClosed: // createAccount would refuse the request that is shown below
		fmt.Printf("No new accounts are taken: -sign-up is %s.\n\nCtrl-C stops the server.\n", s.SignUp)
		return
	case gatehouse.SignUpInvites:
		password := "ADMIN-PASSWORD"
		if generated && s.Store == "memory" {
			password = adminPassword
		} else if generated {
			password = fmt.Sprintf("$(cat %s)", filepath.Join(s.Data, "admin-password"))
		}
		fmt.Printf("Make an invite code:\n\n  curl -s -u \"admin:%s\" %s/xrpc/com.atproto.server.createInviteCode \\\n    -H 'Content-Type: application/json' -d '{\"useCount\":1}'\n\n", password, url)
		invite = `,"inviteCode":"CODE"`
	}
	fmt.Printf("Make an account:\n\n  curl -s %s/xrpc/com.atproto.server.createAccount \\\n    -H 'Content-Type: application/json' \\\n    -d '{\"handle\":\"%s\",\"email\":\"alice@example.com\",\"password\":\"correct horse\"%s}'\n\n", url, handle, invite)
	fmt.Println("Ctrl-C stops the server.")
}

// describeMail returns a specification of a mailer without the user name and the password.
func describeMail(spec string) string {
	scheme, rest, ok := strings.Cut(spec, "://")
	if !ok {
		return spec
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + rest
}
