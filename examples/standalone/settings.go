package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// Settings are the flags. They say the same things in the same words as
// [gatehouse.Config], where they are explained.
type Settings struct {
	Addr          string   `default:"127.0.0.1:2583" help:"Address to listen on." placeholder:"HOST:PORT"`
	Data          string   `default:"gatehouse-data" help:"Directory for the database and, by default, e-mails." placeholder:"DIR"`
	Store         string   `default:"bolt" help:"Where data is kept: bolt (a file in -data), bolt:PATH, memory, or the URL of a PostgreSQL database." placeholder:"bolt|memory|postgres://…"`
	Hostname      string   `default:"localhost" help:"The server's host name." placeholder:"NAME"`
	HandleDomains []string `default:".test" help:"Domains under which accounts take handles." placeholder:".DOMAIN,…"`
	PublicURL     string   `name:"public-url" help:"URL at which the world finds this server. Default: https://HOSTNAME, or for a local host name http:// with the port of -addr." placeholder:"URL"`
	ServiceName   string   `help:"What e-mails call the server. Default: the host name." placeholder:"NAME"`

	AdminPassword string `help:"Password of the user admin. Default: made once and kept in -data." placeholder:"PASSWORD"`
	ModService    string `help:"DID of a moderation service that may call moderators' methods." placeholder:"DID"`

	Invites        bool          `help:"Sign-up needs an invite code."`
	InviteInterval time.Duration `help:"Time in which an account earns an invite code, such as 168h." placeholder:"DURATION"`
	InviteEpoch    time.Time     `help:"When earning begins for older accounts, such as 2026-01-01T00:00:00Z." placeholder:"TIME"`

	Mail     string `help:"How e-mail leaves: dir:PATH, smtp://USER:PASSWORD@HOST:PORT, smtps://…, or log. Default: dir:DATA/mail." placeholder:"SPEC"`
	MailFrom string `help:"Sender of e-mails. Default: noreply@HOSTNAME." placeholder:"ADDRESS"`

	PLC            string `name:"plc" help:"DID directory: local, or a URL. Default: local for a local host name, else the public one." placeholder:"local|URL"`
	PLCRotationKey string `name:"plc-rotation-key" help:"Hexadecimal of the K-256 key that controls accounts' DIDs. Default: made once and kept in the store." placeholder:"HEX"`
	RecoveryKey    string `help:"The operator's own did:key among the rotation keys." placeholder:"DID:KEY"`
	DIDMethod      string `name:"did-method" default:"plc" enum:"plc,web" help:"How accounts get their DID." placeholder:"plc|web"`
	JWTSecret      string `name:"jwt-secret" help:"Key of access and refresh tokens. Default: made once and kept in the store." placeholder:"TEXT"`

	MinPasswordLength int      `default:"8" help:"Fewest characters of a new password."`
	RateLimits        string   `default:"on" enum:"on,off,shared" help:"Whether requests are limited; shared: by all processes on one store together." placeholder:"on|off|shared"`
	TrustedProxies    []string `help:"Addresses or networks of proxies whose X-Forwarded-For is believed." placeholder:"CIDR,…"`

	ContactEmail      string `help:"Shown by describeServer." placeholder:"ADDRESS"`
	PrivacyPolicyURL  string `name:"privacy-policy-url" help:"Shown by describeServer." placeholder:"URL"`
	TermsOfServiceURL string `name:"terms-of-service-url" help:"Shown by describeServer." placeholder:"URL"`
	BlobUploadLimit   int64  `help:"Shown by describeServer, in bytes." placeholder:"BYTES"`

	LogFormat string `default:"text" enum:"text,json" help:"Form of the log." placeholder:"text|json"`
}

func (s *Settings) logger() *slog.Logger {
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// open opens the configured store.
func (s *Settings) open(ctx context.Context) (storage.Store, error) {
	store, err := s.openStore(ctx, s.Store)
	if err != nil {
		return nil, fmt.Errorf("-store: %w", err)
	}
	return store, nil
}

// openExisting opens a store that has to be there: a mistyped path must not pass for an empty store.
func (s *Settings) openExisting(ctx context.Context, spec string) (storage.Store, error) {
	path := strings.TrimPrefix(spec, "bolt:")
	if spec == "bolt" {
		path = filepath.Join(s.Data, "gatehouse.db")
	}
	if spec == "bolt" || path != spec {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	store, err := s.openStore(ctx, spec)
	if err != nil {
		return nil, err
	}
	tables, err := store.Tables(ctx)
	if err == nil && len(tables) == 0 {
		err = errors.New("there is nothing of Gatehouse in it")
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func (s *Settings) openStore(ctx context.Context, spec string) (storage.Store, error) {
	path, isFile := strings.CutPrefix(spec, "bolt:")
	switch {
	case spec == "memory":
		return memory.New(), nil
	case spec == "bolt":
		return bolt.Open(filepath.Join(s.Data, "gatehouse.db"))
	case isFile && path != "":
		return bolt.Open(path)
	case strings.HasPrefix(spec, "postgres://"), strings.HasPrefix(spec, "postgresql://"):
		return postgres.Open(ctx, spec)
	}
	return nil, fmt.Errorf("%q is neither bolt nor memory nor the URL of a PostgreSQL database", redacted(spec))
}

// redacted leaves the password out of a URL.
func redacted(spec string) string {
	u, err := url.Parse(spec)
	if err != nil {
		return "the value"
	}
	return u.Redacted()
}

func (s *Settings) mailer() (mail.Mailer, error) {
	from := s.MailFrom
	if from == "" {
		host, _, _ := strings.Cut(s.Hostname, ":")
		if !strings.Contains(host, ".") {
			host += ".localdomain"
		}
		from = "noreply@" + host
	}
	m, err := mail.Open(s.mailSpec(), from)
	if err != nil {
		return nil, fmt.Errorf("-mail: %w", err)
	}
	return m, nil
}

func (s *Settings) mailSpec() string {
	if s.Mail == "" {
		return "dir:" + filepath.Join(s.Data, "mail")
	}
	return s.Mail
}

// publicURL names the port that is listened on, where the host name is local.
func (s *Settings) publicURL(listening net.Addr) string {
	if s.PublicURL != "" || s.Hostname != "localhost" && !strings.HasSuffix(s.Hostname, ".localhost") && !strings.HasSuffix(s.Hostname, ".test") {
		return s.PublicURL
	}
	_, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort(s.Hostname, port)
}

func (s *Settings) config(mailer mail.Mailer, logger *slog.Logger, listening net.Addr, adminPassword string) gatehouse.Config {
	cfg := gatehouse.Config{
		Hostname:          s.Hostname,
		HandleDomains:     s.HandleDomains,
		PublicURL:         s.publicURL(listening),
		ServiceName:       s.ServiceName,
		AdminPassword:     adminPassword,
		ModService:        s.ModService,
		Invites:           s.Invites,
		InviteInterval:    s.InviteInterval,
		InviteEpoch:       s.InviteEpoch,
		DIDMethod:         s.DIDMethod,
		PLC:               s.PLC,
		PLCRotationKey:    s.PLCRotationKey,
		RecoveryKey:       s.RecoveryKey,
		MinPasswordLength: s.MinPasswordLength,
		Mail:              mailer,
		RateLimits:        s.RateLimits,
		TrustedProxies:    s.TrustedProxies,
		ContactEmail:      s.ContactEmail,
		PrivacyPolicyURL:  s.PrivacyPolicyURL,
		TermsOfServiceURL: s.TermsOfServiceURL,
		BlobUploadLimit:   s.BlobUploadLimit,
		Logger:            logger,
	}
	if s.JWTSecret != "" {
		cfg.JWTSecret = []byte(s.JWTSecret)
	}
	return cfg
}
