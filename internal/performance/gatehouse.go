package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// world is what a client knows of a server: who it may be there.
type world struct {
	// Host is the value of the Host header.
	Host string `json:"host,omitempty"`
	// Accounts have sessions. PasswordAccounts have a password whose hash is real.
	Accounts         []*account `json:"accounts,omitempty"`
	PasswordAccounts []*account `json:"passwordAccounts,omitempty"`
	// Record is the size of a session as the store has it, in bytes.
	Record int `json:"record,omitempty"`
}

// account is what the owner of an account knows, and their clients.
type account struct {
	Handle       string   `json:"handle"`
	Password     string   `json:"password,omitempty"`
	AppPassword  string   `json:"appPassword,omitempty"`
	Access       string   `json:"access,omitempty"`
	Refresh      []string `json:"refresh,omitempty"` // a refresh token of each session
	OAuthAccess  string   `json:"oauthAccess,omitempty"`
	OAuthRefresh string   `json:"oauthRefresh,omitempty"`
}

// The OAuth client of the accounts is a public one on its user's machine.
const (
	clientID    = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=atproto"
	clientScope = "atproto"
)

const knownPassword = "correct horse battery"

// openStore opens the store of a server.
func openStore(ctx context.Context, s spec) (storage.Store, error) {
	switch s.Store {
	case "memory":
		return memory.New(), nil
	case "bolt":
		return bolt.Open(filepath.Join(s.Dir, "gatehouse.db"))
	}
	return postgres.Open(ctx, s.Store)
}

// config returns the configuration that examples/standalone has by default, without limits.
func config(s spec, host string) (gatehouse.Config, error) {
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return gatehouse.Config{}, err
	}
	var mailer mail.Mailer = mail.NewMemory() // for a server without a directory, which sends nothing
	if s.Dir != "" {
		mailer, err = deliver.Open("dir:"+filepath.Join(s.Dir, "mail"), "noreply@localhost.localdomain")
	}
	return gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		PublicURL:     "http://" + host,
		Admins:        xrpc.Passwords{"admin": "admin-password"},
		Passwords:     gatehouse.Passwords{Memory: s.HashMemory, Time: s.HashTime},
		Mail:          gatehouse.Mail{Mailer: mailer},
		Limits:        gatehouse.Limits{Limiter: ratelimit.Off{}},
		Logger:        slog.New(slog.NewTextHandler(sink, nil)), // writing to /dev/null costs a system call as a file does
	}, err
}

// cheaply changes a configuration so that accounts are made for next to nothing.
func cheaply(cfg gatehouse.Config) gatehouse.Config {
	cfg.Passwords = gatehouse.Passwords{Memory: 8, Time: 1, Queue: 1 << 20}
	cfg.Mail = gatehouse.Mail{Mailer: mail.NewMemory(), MuteNotices: mail.Notices()}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.NoMaintenance = true
	return cfg
}

// serveGatehouse is the kind gatehouse: a server with the accounts of a spec.
func serveGatehouse(ctx context.Context, s spec, addr net.Addr) (http.Handler, world, io.Closer, error) {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, world{}, nil, err
	}
	w := world{Host: "localhost:" + port}
	store, err := openStore(ctx, s)
	if err != nil {
		return nil, w, nil, err
	}
	cfg, err := config(s, w.Host)
	if err != nil {
		return nil, w, nil, err
	}
	if w.Accounts, w.Record, err = populate(ctx, store, cheaply(cfg), s); err != nil {
		return nil, w, nil, err
	}
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		return nil, w, nil, err
	}
	tuneGC(ctx)
	if w.PasswordAccounts, err = signUp(ctx, srv, s.PasswordAccounts, "p", 2); err != nil {
		return nil, w, nil, err
	}
	return srv.Handler(), w, closers{srv, store}, nil
}

type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

// signUp creates accounts, some at a time.
func signUp(ctx context.Context, srv *gatehouse.Server, n int, prefix string, atOnce int) ([]*account, error) {
	all := make([]*account, n)
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range all {
		g.Go(func() error {
			a := &account{Handle: fmt.Sprintf("%s%06d.test", prefix, i), Password: knownPassword}
			t, err := srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: a.Handle, Email: fmt.Sprintf("%s%d@example.com", prefix, i), Password: knownPassword})
			if err != nil {
				return err
			}
			a.Access = t.AccessJWT
			all[i] = a
			return nil
		})
	}
	return all, g.Wait()
}

// populate creates the accounts of a spec with their sessions, and returns them and the size of a
// session that was refreshed once.
func populate(ctx context.Context, store storage.Store, cfg gatehouse.Config, s spec) (all []*account, size int, err error) {
	srv, err := gatehouse.New(ctx, store, cfg)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	if all, err = signUp(ctx, srv, s.Accounts, "a", 64); err != nil {
		return nil, 0, err
	}
	var g errgroup.Group
	g.SetLimit(64)
	for _, a := range all {
		g.Go(func() error { return equip(ctx, store, srv, a, s) })
	}
	if err := g.Wait(); err != nil || len(all) == 0 {
		return all, 0, err
	}
	t, err := srv.Sessions.Refresh(ctx, all[0].Refresh[0])
	if err != nil {
		return nil, 0, err
	}
	all[0].Refresh[0] = t.RefreshJWT
	err = store.View(ctx, func(tx storage.Tx) error {
		doc, err := tx.Get("sessions", t.Session.ID)
		size = len(doc)
		return err
	})
	return all, size, err
}

// equip opens the sessions of an account, and creates its app password.
func equip(ctx context.Context, store storage.Store, srv *gatehouse.Server, a *account, s spec) error {
	found, err := srv.Accounts.Find(ctx, a.Handle)
	if err != nil {
		return err
	}
	if _, a.AppPassword, err = srv.AppPasswords.Create(ctx, found.DID, "client", false); err != nil {
		return err
	}
	var issue *sessions.Issue
	err = store.Update(ctx, func(tx storage.Tx) (err error) {
		a.Refresh = nil
		for range s.Sessions {
			t, err := srv.Sessions.Open(tx, found, sessions.Grant{Method: signin.MethodPassword})
			if err != nil {
				return err
			}
			a.Refresh = append(a.Refresh, t.RefreshJWT)
		}
		if s.Key == "" {
			return nil
		}
		issue, err = srv.Sessions.OpenOAuthTx(tx, found, sessions.OAuthGrant{
			Client: sessions.Client{ID: clientID, Key: s.Key, Scope: clientScope},
			Method: signin.MethodPassword, Scope: clientScope,
			RefreshLifetime: 24 * time.Hour, Lifetime: 7 * 24 * time.Hour,
		})
		return err
	})
	if err != nil || issue == nil {
		return err
	}
	t, err := srv.Sessions.SignOAuth(issue)
	if err != nil {
		return err
	}
	a.OAuthAccess, a.OAuthRefresh = t.AccessToken, t.RefreshToken
	return nil
}
