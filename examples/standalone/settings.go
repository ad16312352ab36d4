package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Settings are the flags. They have the names of the fields of [gatehouse.Config], where they are
// explained in full.
type Settings struct {
	Addr  string `default:"127.0.0.1:2583" help:"Address to listen on (default ${default})." placeholder:"HOST:PORT"`
	Data  string `default:"gatehouse-data" help:"Directory of the database and, by default, e-mails (default ${default})." placeholder:"DIR"`
	Store string `default:"bolt" help:"Where data is kept: bolt (a file in -data; the default), bolt:PATH, memory, or the URL of a PostgreSQL database." placeholder:"bolt|memory|postgres://…"`

	Hostname           string   `default:"localhost" help:"The server's host name (default ${default})." placeholder:"NAME"`
	HandleDomains      []string `default:".test" help:"Domains under which accounts take handles (default ${default})." placeholder:".DOMAIN,…"`
	PublicURL          string   `name:"public-url" help:"URL of this server in DID documents. Default: https://HOSTNAME, or for a local host name http:// with the port of -addr." placeholder:"URL"`
	ExtraHostnames     []string `help:"Further host names of the server. All other names on -handle-domains are for accounts." placeholder:"NAME,…"`
	HandleHostRedirect string   `help:"URL to which browsers are redirected that visit the host name of an account; {handle} is replaced by the name. Default: they are answered 404." placeholder:"URL"`
	ServiceName        string   `help:"Name of the server in e-mails and on its home page. Default: the host name." placeholder:"NAME"`

	AdminPassword string            `help:"Password of the admin named admin. Default: generated once and kept in -data." placeholder:"PASSWORD"`
	Admins        map[string]string `help:"Further admins, by the names that the audit log shows." placeholder:"NAME=PASSWORD;…"`
	ModService    string            `help:"DID of a moderation service that may call the admin methods for moderators." placeholder:"DID"`

	SignUp               gatehouse.SignUpMode `default:"open" enum:"open,invites,migrations,closed" help:"Who may sign up: everybody, people with an invite code, accounts that move here from another server, or nobody (default ${default})." placeholder:"open|invites|migrations|closed"`
	VerificationRequired bool                 `help:"Tell apps that sign-up requires a verification code from the page /gate/signup. A proxy in front of this server has to serve that page and check the code."`
	InviteInterval       time.Duration        `help:"Time in which an account earns an invite code, such as 168h, if -sign-up is invites. Default: accounts earn none." placeholder:"DURATION"`
	InviteEpoch          time.Time            `help:"When accounts that are older begin to earn invite codes, such as 2026-01-01T00:00:00Z." placeholder:"TIME"`

	DIDMethod      gatehouse.DIDMethod `name:"did-method" default:"plc" enum:"plc,web" help:"How accounts get their DIDs (default ${default})." placeholder:"plc|web"`
	PLC            string              `name:"plc" help:"DID directory: local, or a URL. Default: local for a local host name, otherwise the public one." placeholder:"local|URL"`
	PLCRotationKey string              `name:"plc-rotation-key" help:"K-256 private key that controls the DIDs of accounts, in hexadecimal. Default: generated once and kept in the store." placeholder:"HEX"`
	RecoveryKey    string              `help:"did:key of the operator, which outranks the rotation key." placeholder:"DID:KEY"`
	JWTSecret      string              `name:"jwt-secret" help:"Secret that signs access and refresh tokens. Default: generated once and kept in the store." placeholder:"TEXT"`
	KeySecret      string              `help:"Secret of 32 bytes that encrypts the signing keys of accounts, in hexadecimal. Default: generated once and kept in the store." placeholder:"HEX"`

	AllowPunycodeHandles    bool          `help:"Allow handles on -handle-domains that begin with xn--."`
	HandleHold              time.Duration `default:"720h" help:"How long a handle is held for an account that has changed it for another one (default ${default}; 0: not at all)." placeholder:"DURATION"`
	HandleHoldAfterDeletion time.Duration `help:"How long the handle of a deleted account is held for its DID, such as 720h. Default: it is free at once." placeholder:"DURATION"`
	MinDeletionDelay        time.Duration `default:"72h" help:"Minimum time between a deactivation and the deletion that the owner schedules with it (default ${default})." placeholder:"DURATION"`

	MinPasswordLength int    `default:"8" help:"Minimum length of a new password in characters (default ${default})." placeholder:"NUMBER"`
	PasswordMemory    uint32 `default:"19456" help:"Memory of a password hash in KiB (default ${default})." placeholder:"KIB"`
	PasswordTime      uint32 `default:"2" help:"Passes of a password hash (default ${default})." placeholder:"NUMBER"`
	PasswordThreads   uint8  `default:"1" help:"Threads of a password hash (default ${default})." placeholder:"NUMBER"`
	PasswordWorkers   int    `help:"Password hashes that are computed at the same time. Default: the number of processors, the last one only while there are no other requests." placeholder:"NUMBER"`
	PasswordQueue     int    `help:"Passwords that may wait to be hashed; beyond that, requests are answered 503. Default: 64 for each worker that hashes at any time." placeholder:"NUMBER"`

	OAuthIssuer         string            `name:"oauth-issuer" help:"URL of another authorization server that has the accounts' passwords, such as an entryway. Default: this server is its own." placeholder:"URL"`
	OAuthResources      []string          `name:"oauth-resources" help:"DIDs of further servers that take the OAuth tokens of this one." placeholder:"DID,…"`
	OAuthTrustedClients []string          `name:"oauth-trusted-clients" help:"Client IDs of applications that you vouch for, which owners are asked about once." placeholder:"URL,…"`
	OAuthRefusedClients []string          `name:"oauth-refused-clients" help:"Client IDs or host names of applications that get no access." placeholder:"URL,…"`
	OAuthIntrospectors  map[string]string `name:"oauth-introspectors" help:"Services of yours that may ask about OAuth tokens, with passwords of 16 characters or more." placeholder:"NAME=PASSWORD;…"`
	PageTemplates       string            `help:"Directory of templates that replace those of the pages for signing in." placeholder:"DIR"`
	PageAssets          string            `help:"Directory of style sheets and images that replace those of the pages." placeholder:"DIR"`
	PageTexts           string            `help:"Directory of texts of the pages, by language, such as de.json." placeholder:"DIR"`

	Mail          string               `help:"How e-mails are delivered: dir:PATH, smtp://USER:PASSWORD@HOST:PORT, smtps://…, or log. Default: dir:DATA/mail." placeholder:"SPEC"`
	MailFrom      string               `help:"Sender of e-mails. Default: noreply@HOSTNAME." placeholder:"ADDRESS"`
	MailTemplates string               `help:"Directory of templates that replace built-in ones." placeholder:"DIR"`
	MailTimeout   time.Duration        `default:"15s" help:"Time limit of the delivery of an e-mail (default ${default})." placeholder:"DURATION"`
	MailPages     map[mail.Kind]string `help:"Your own pages where people enter mailed codes, by kind of e-mail, such as reset_password. Default: none; people enter codes in their app." placeholder:"KIND=URL;…"`
	MuteNotices   []mail.Kind          `help:"Kinds of notices that are not sent, such as app_password_created." placeholder:"KIND,…"`

	RateLimits           string   `default:"on" enum:"on,off,shared" help:"Whether requests are limited: in each process by itself (on), for all processes on one store together (shared), or not at all (off) (default ${default})." placeholder:"on|off|shared"`
	TrustedProxies       []string `help:"Addresses or networks of proxies whose X-Forwarded-For is believed." placeholder:"CIDR,…"`
	EmailForAppPasswords bool     `help:"Show the e-mail address of an account to its sessions of app passwords."`

	ContactEmail      string `help:"Shown by describeServer and on the home page." placeholder:"ADDRESS"`
	PrivacyPolicyURL  string `name:"privacy-policy-url" help:"Shown by describeServer and on the home page." placeholder:"URL"`
	TermsOfServiceURL string `name:"terms-of-service-url" help:"Shown by describeServer and on the home page." placeholder:"URL"`
	BlobUploadLimit   int64  `help:"Shown by describeServer, in bytes." placeholder:"BYTES"`
	ShowVersion       bool   `help:"Show the version of Gatehouse on the home page."`

	LogFormat string `default:"text" enum:"text,json" help:"Format of the log (default ${default})." placeholder:"text|json"`
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

func (s *Settings) openStore(ctx context.Context, spec string) (storage.Store, error) {
	path, isFile := s.file(spec)
	switch {
	case isFile:
		return bolt.Open(path)
	case spec == "memory":
		return memory.New(), nil
	case strings.HasPrefix(spec, "postgres://"), strings.HasPrefix(spec, "postgresql://"):
		return postgres.Open(ctx, spec)
	}
	return nil, fmt.Errorf("%q is neither bolt nor memory nor the URL of a PostgreSQL database", redacted(spec))
}

// openExisting opens a store that must exist already. It returns an error for a mistyped path, and
// doesn't create a store there.
func (s *Settings) openExisting(ctx context.Context, spec string) (storage.Store, error) {
	if path, isFile := s.file(spec); isFile {
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
		err = errors.New("the store is empty")
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// file returns the path of the database file, if a store is one on bbolt.
func (s *Settings) file(spec string) (path string, ok bool) {
	if spec == "bolt" {
		return filepath.Join(s.Data, "gatehouse.db"), true
	}
	path, ok = strings.CutPrefix(spec, "bolt:")
	return path, ok && path != ""
}

// redacted returns the specification of a store for messages: of a URL without its password and its
// parameters, which may contain a password too.
func redacted(spec string) string {
	u, err := url.Parse(spec)
	switch {
	case err != nil || u.Host == "" && strings.ContainsAny(spec, "=@ "):
		return "…"
	case u.Host == "":
		return spec
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// host returns the normalized host name of the server, without a port.
func (s *Settings) host() (string, error) {
	endpoint, err := did.NormalizeEndpoint("https://" + strings.TrimSpace(s.Hostname))
	if err != nil {
		return "", fmt.Errorf("-hostname: %q is not a host name", s.Hostname)
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("-hostname: %w", err)
	}
	return u.Hostname(), nil
}

func (s *Settings) mailer() (mail.Mailer, error) {
	from := s.MailFrom
	if from == "" {
		host, err := s.host()
		if err != nil {
			return nil, err
		}
		switch {
		case strings.Contains(host, ":"): // an IPv6 address, which has another form in e-mail addresses
			host = "localhost.localdomain"
		case !strings.Contains(host, "."):
			host += ".localdomain"
		}
		from = "noreply@" + host
	}
	m, err := deliver.Open(s.mailSpec(), from)
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

// publicURL returns -public-url. Its default for a local host name without a port has the port of
// -addr.
func (s *Settings) publicURL(listening net.Addr) string {
	if s.PublicURL != "" || !gatehouse.IsLocal(s.Hostname) || strings.Contains(s.Hostname, ":") {
		return s.PublicURL
	}
	_, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort(strings.TrimSpace(s.Hostname), port)
}

// config returns the configuration that the flags describe. A local DID directory and shared limits
// keep their data in the store.
func (s *Settings) config(ctx context.Context, store storage.Store, mailer mail.Mailer, logger *slog.Logger, listening net.Addr, adminPassword string) (gatehouse.Config, error) {
	cfg := gatehouse.Config{
		Hostname:       s.Hostname,
		HandleDomains:  s.HandleDomains,
		PublicURL:      s.publicURL(listening),
		ExtraHostnames: s.ExtraHostnames,
		ServiceName:    s.ServiceName,
		ModService:     s.ModService,
		SignUp: gatehouse.SignUp{
			Mode:                 s.SignUp,
			VerificationRequired: s.VerificationRequired,
			InviteInterval:       s.InviteInterval,
			InviteEpoch:          s.InviteEpoch,
		},
		Handles: gatehouse.Handles{
			AllowPunycode:     s.AllowPunycodeHandles,
			Hold:              s.HandleHold,
			HoldAfterDeletion: s.HandleHoldAfterDeletion,
			HostRedirect:      s.HandleHostRedirect,
		},
		DIDs: gatehouse.DIDs{Method: s.DIDMethod, RecoveryKey: s.RecoveryKey},
		Passwords: gatehouse.Passwords{
			MinLength: s.MinPasswordLength,
			Memory:    s.PasswordMemory,
			Time:      s.PasswordTime,
			Threads:   s.PasswordThreads,
			Workers:   s.PasswordWorkers,
			Queue:     s.PasswordQueue,
		},
		OAuth: gatehouse.OAuth{
			Issuer:         s.OAuthIssuer,
			Resources:      s.OAuthResources,
			TrustedClients: s.OAuthTrustedClients,
			RefusedClients: s.OAuthRefusedClients,
			Introspectors:  s.OAuthIntrospectors,
		},
		Mail: gatehouse.Mail{
			Mailer:      mailer,
			Timeout:     s.MailTimeout,
			Pages:       s.MailPages,
			MuteNotices: s.MuteNotices,
		},
		MinDeletionDelay:     s.MinDeletionDelay,
		EmailForAppPasswords: s.EmailForAppPasswords,
		Description: gatehouse.Description{
			ContactEmail:      s.ContactEmail,
			PrivacyPolicyURL:  s.PrivacyPolicyURL,
			TermsOfServiceURL: s.TermsOfServiceURL,
			BlobUploadLimit:   s.BlobUploadLimit,
			ShowVersion:       s.ShowVersion,
		},
		Logger: logger,
	}
	if s.HandleHold == 0 { // in the Config, 0 is the default
		cfg.Handles.Hold = -1
	}
	var err error
	if cfg.Admins, err = s.admins(adminPassword); err != nil {
		return cfg, err
	}
	if err := s.keys(&cfg); err != nil {
		return cfg, err
	}
	if cfg.DIDs.Directory, err = s.directory(ctx, store); err != nil {
		return cfg, err
	}
	if cfg.Limits.Limiter, err = s.limiter(ctx, store); err != nil {
		return cfg, err
	}
	if cfg.Limits.TrustedProxies, err = s.trustedProxies(); err != nil {
		return cfg, err
	}
	for _, dir := range []struct {
		flag, path string
		field      *fs.FS
	}{
		{"-mail-templates", s.MailTemplates, &cfg.Mail.Templates},
		{"-page-templates", s.PageTemplates, &cfg.Pages.Templates},
		{"-page-assets", s.PageAssets, &cfg.Pages.Assets},
		{"-page-texts", s.PageTexts, &cfg.Pages.Texts},
	} {
		if dir.path == "" {
			continue
		}
		if _, err := os.ReadDir(dir.path); err != nil {
			return cfg, fmt.Errorf("%s: %w", dir.flag, err)
		}
		*dir.field = os.DirFS(dir.path)
	}
	return cfg, nil
}

// mainAdmin is the name of the admin whose password is -admin-password.
const mainAdmin = "admin"

// admins returns the passwords of -admin-password and -admins.
func (s *Settings) admins(adminPassword string) (xrpc.AdminAuth, error) {
	all := xrpc.Passwords{mainAdmin: adminPassword}
	for name, password := range s.Admins {
		if name == mainAdmin {
			return nil, fmt.Errorf("-admins: the password of %q is that of -admin-password", name)
		}
		all[name] = password
	}
	return all, nil
}

// keys reads the keys that are given as text. Its errors don't contain them.
func (s *Settings) keys(cfg *gatehouse.Config) error {
	if s.JWTSecret != "" {
		cfg.Keys.Tokens = []sessions.Key{{Secret: []byte(s.JWTSecret)}}
	}
	if s.KeySecret != "" {
		secret, err := hex.DecodeString(s.KeySecret)
		if err != nil {
			return errors.New("-key-secret: not hexadecimal")
		}
		if cfg.Keys.Accounts, err = keys.NewSealed(secret, nil); err != nil {
			return fmt.Errorf("-key-secret: %w", err)
		}
	}
	if s.PLCRotationKey != "" {
		key, err := did.ParseRotationKey(s.PLCRotationKey)
		if err != nil {
			return errors.New("-plc-rotation-key: not the hexadecimal of a K-256 private key")
		}
		cfg.DIDs.RotationKey = key
	}
	return nil
}

// directory returns the DID directory of -plc, or nil for the default.
func (s *Settings) directory(ctx context.Context, store storage.Store) (did.Directory, error) {
	switch s.PLC {
	case "":
		return nil, nil
	case "local":
		return did.NewLocal(ctx, store, nil)
	}
	client, err := did.NewClient(did.ClientConfig{URL: s.PLC, UserAgent: "gatehouse/" + gatehouse.Version + " (" + s.Hostname + ")"})
	if err != nil {
		return nil, fmt.Errorf("-plc: %q is neither local nor the URL of a directory", s.PLC)
	}
	return client, nil
}

// limiter returns the limiter of -rate-limits, or nil for the default.
func (s *Settings) limiter(ctx context.Context, store storage.Store) (ratelimit.Limiter, error) {
	switch s.RateLimits {
	case "off":
		return ratelimit.Off{}, nil
	case "shared":
		return ratelimit.NewShared(ctx, store, ratelimit.Config{})
	}
	return nil, nil
}

// trustedProxies parses the addresses and networks of -trusted-proxies.
func (s *Settings) trustedProxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range s.TrustedProxies {
		text = strings.TrimSpace(text)
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("-trusted-proxies: %q is neither an address nor a network", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		all = append(all, network)
	}
	return all, nil
}
