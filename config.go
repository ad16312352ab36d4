package gatehouse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Values of [Config.PLC] and [Config.RateLimits].
const (
	PLCLocal = "local"
	On       = "on"
	Off      = "off"
	Shared   = "shared"
)

// Values of [Config.DIDMethod].
const (
	MethodPLC = "plc"
	MethodWeb = "web"
)

// Config configures a [Server]. Hostname and HandleDomains are required; everything
// else has a default.
type Config struct {
	// Hostname is the server's host name, such as "pds.example.com", with a port only if it is a
	// local name. The server's DID is did:web:HOSTNAME. Host names here and below are normalised at
	// start: lower case, no trailing dot, internationalised names in ASCII (xn--), no default port
	// (80 or 443).
	Hostname string
	// HandleDomains are the domains under which accounts may take handles, such
	// as ".example.com".
	HandleDomains []string
	// PublicURL is the endpoint of this server in DID documents, of the form https://HOST; a trailing
	// slash is dropped. Default: https://HOSTNAME, or http://HOSTNAME if that is a local host name
	// (loopback, .test, .localhost, .example) whose port isn't 443.
	PublicURL string
	// ExtraHostnames are further host names of the server, without ports, beside Hostname and the
	// host of PublicURL. Every other name on HandleDomains belongs to an account, and serves only what
	// leads to that account: see [Server.HandleHosts]. No account can have one of the server's own
	// names as its handle.
	ExtraHostnames []string
	// HandleHostRedirect is the URL to which browsers are redirected that visit the name of an
	// account, such as alice.example.com. "{handle}" in its path, query or fragment is replaced by
	// that name. Default: browsers get a 404, as programs always do.
	HandleHostRedirect string
	// ServiceName is the name of the server in e-mails and on its home page. Default: Hostname.
	ServiceName string

	// AdminPassword is that of the user "admin": at least 12 characters. Without one, and without
	// what follows, admin methods refuse everybody.
	AdminPassword string
	// Admins are more admins: their passwords by name, each of at least 12 characters. The audit
	// log tells them apart.
	Admins map[string]string
	// AdminAuth takes the place of both.
	AdminAuth xrpc.AdminAuth
	// ModService is the DID of a moderation service (such as an Ozone) that may call what
	// moderators need, with service auth.
	ModService string

	// SignUp says who may sign up: everybody ([SignUpOpen], the default), people with an
	// invite code ([SignUpInvites]), accounts that move here from another server
	// ([SignUpMigrations]), or nobody ([SignUpClosed]).
	SignUp SignUpMode
	// CheckSignUp is a gate of your own before sign-up, such as a captcha, a payment or a list of
	// names. It is called after all other checks, outside of transactions and before the password is
	// hashed; [ratelimit.FromContext] has the client's address (an IPv6 address as its /64). If it
	// returns an error there is no account, and nothing of the attempt is kept. The client is
	// answered by the kind of error: one with a method PublicMessage() string is a 400 with that
	// message, an [xrpc.Error] is sent as it is, [accounts.ErrSignUpClosed] is answered as in the mode
	// closed, a context that has ended is a 503, and any other error is a 500 without detail.
	// Optional.
	CheckSignUp func(context.Context, accounts.Applicant) error
	// VerificationRequired sets phoneVerificationRequired in the answer of describeServer. Apps that
	// support it then open /gate/signup of this server, a page that you have to serve, and send the
	// code that it returns as verificationCode. Only CheckSignUp looks at that code.
	VerificationRequired bool
	// InviteInterval is the time in which an account earns an invite code, if SignUp is invites.
	// Default: accounts earn none.
	InviteInterval time.Duration
	// InviteEpoch is when earning begins, for accounts that are older.
	InviteEpoch time.Time

	// DIDMethod is how accounts get their DID: [MethodPLC], the default, or
	// [MethodWeb] with the handle as the host name.
	DIDMethod string
	// PLC is the directory of did:plc: its URL, or [PLCLocal] for one in the store.
	// Default: the local one for a local host name, else [did.PublicDirectory]: whoever
	// tries things out publishes nothing.
	PLC string
	// PLCDirectory takes the place of PLC.
	PLCDirectory did.Directory
	// PLCRotationKey is the hexadecimal of the K-256 key with which the server controls
	// the DIDs of its accounts. Default: made once and kept in the store.
	PLCRotationKey string
	// PLCSigner takes the place of PLCRotationKey, for a key in a hardware module or
	// a key management service.
	PLCSigner did.Signer
	// RecoveryKey is the operator's own rotation key, as a did:key. Optional.
	RecoveryKey string

	// JWTSecret is the key of access and refresh tokens. Default: made once and kept in the store.
	JWTSecret []byte
	// JWTKeys sign and verify tokens in place of JWTSecret: the first signs, all
	// verify. For rotation, and for ES256K.
	JWTKeys []sessions.Key
	// KeySecret seals the signing keys of accounts: 32 bytes. Default: made once and kept
	// in the store, which then guards both. Bring your own to keep them apart.
	KeySecret []byte
	// Keys takes the place of KeySecret, for keys in a hardware module.
	Keys keys.Store

	// AllowPunycodeHandles allows handles on HandleDomains whose label begins with "xn--". They are
	// shown as other letters than they are written with, and so can pass for somebody else's.
	AllowPunycodeHandles bool
	// HandleHold is how long a handle on HandleDomains is held after its owner has changed it for
	// another one: until then only that owner can take it back, and an admin can give it to another
	// account. Changing this setting doesn't change holds that have begun. Default 30 days; negative:
	// handles are free at once.
	HandleHold time.Duration
	// HandleHoldAfterDeletion is how long the handle of a deleted account is held for an account with
	// the same DID, should it move here again. Default: it is free at once, since people delete an
	// account to start again with the same handle.
	HandleHoldAfterDeletion time.Duration
	// MinDeletionDelay is the least time between a deactivation and the deletion that the owner
	// wishes for with it (deleteAfter of com.atproto.server.deactivateAccount). Default 72 hours.
	MinDeletionDelay time.Duration

	// MinPasswordLength is the fewest characters of a new password. Default 8.
	MinPasswordLength int
	// PasswordMemory (KiB), PasswordTime (passes) and PasswordThreads are the cost of a password
	// hash (argon2id). Default 19456, 2, 1.
	PasswordMemory, PasswordTime uint32
	PasswordThreads              uint8
	// PasswordWorkers is how many hashes are computed at once. Default: one less
	// than there are processors, at least one.
	PasswordWorkers int
	// PasswordQueue is how many passwords wait to be hashed at most; beyond it requests are
	// answered 503. Default: 64 for each worker.
	PasswordQueue int

	// Mail delivers e-mails; package accounts/mail/deliver has SMTP and files. Default: none are
	// delivered, and flows that need one fail with a logged error.
	Mail mail.Mailer
	// MailTemplates overrides templates of e-mails; see [mail.NewTemplates].
	MailTemplates fs.FS
	// MailTimeout bounds one delivery. Default 15 seconds.
	MailTimeout time.Duration
	// MailPages are the URLs of pages of your own where people enter mailed codes, by kind of e-mail;
	// only kinds with a code have one, such as [mail.ResetPassword]. The e-mail then has the URL, and
	// a link to it with the code in the fragment, as in https://example.com/reset#code=ABCDE-FGHIJ.
	// Default: e-mails have no link, and tell people to enter the code in the app that asked for it.
	MailPages map[mail.Kind]string
	// MuteNotices are kinds of [mail.Notices] that owners are not sent, such as
	// [mail.AppPasswordCreated].
	MuteNotices []mail.Kind
	// AllowEmail refuses addresses beyond those that are malformed or known to be disposable.
	AllowEmail func(address string) bool

	// HandleResolver resolves handles on foreign domains. Default: by DNS and HTTPS, from public
	// addresses only; for a local host name not at all.
	HandleResolver accounts.HandleResolver
	// DIDResolver resolves DIDs that are no did:plc. Default: did:web by HTTPS, as HandleResolver.
	DIDResolver func(context.Context, syntax.DID) (json.RawMessage, error)

	// RateLimits is [On], the default: each process counts for itself; [Shared]: the
	// processes on one store count together, but for the limit of all methods; or [Off].
	RateLimits string
	// Limiter counts requests. Default: in memory, for this process.
	Limiter ratelimit.Limiter
	// TrustedProxies are the addresses or networks (CIDR) of proxies that may say
	// for whom they forward.
	TrustedProxies []string

	// EmailForAppPasswords shows the e-mail address to sessions of app passwords.
	EmailForAppPasswords bool

	// ContactEmail, PrivacyPolicyURL, TermsOfServiceURL and BlobUploadLimit (bytes)
	// are shown by describeServer, and the first three on the server's home page.
	ContactEmail      string
	PrivacyPolicyURL  string
	TermsOfServiceURL string
	BlobUploadLimit   int64
	// ShowVersion shows the version of Gatehouse on the server's home page.
	ShowVersion bool

	// RepoStatus returns the state of an account's repository, for checkAccountStatus and for
	// com.atproto.sync.listRepos and getRepoStatus. Default: there are no repositories. listRepos
	// calls it for each account of a page, so a program with many repositories had better serve that
	// method itself: see LeaveToFallback.
	RepoStatus xrpc.RepoStatusFunc
	// Hooks take part in what happens to an account, inside its transaction: see [accounts.Hook].
	// They run in order, from the first moment of the Server on, so the collections they write are
	// to be defined before.
	Hooks []accounts.Hook
	// Fallback serves the methods below /xrpc/ that Gatehouse doesn't have, such as those of
	// repositories. Without one they are answered 501 MethodNotImplemented. examples/proxy has one
	// that proxies them to the service that the client names, as the network's PDSs do. See
	// [xrpc.Config] for what a Fallback has to know.
	Fallback http.Handler
	// LeaveToFallback are the NSIDs of methods of Gatehouse's (see [xrpc.Methods]) that Fallback
	// serves instead, such as com.atproto.sync.listRepos if it has the repositories. Gatehouse
	// neither authorises nor limits calls of these.
	LeaveToFallback []string

	// Logger receives request lines and what operators should know. Default [slog.Default].
	Logger *slog.Logger
	// Now tells the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// settings is a Config that was checked, with its defaults filled in.
type settings struct {
	Config
	serviceDID string
	publicHost string   // that of PublicURL, without a port
	hostnames  []string // the server's own, without ports
	proxies    []netip.Prefix
	password   password.Config
	templates  *mail.Templates
}

func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("gatehouse: Config.%s: %s", field, fmt.Sprintf(format, args...))
}

func (cfg Config) settings() (*settings, error) {
	s := &settings{Config: cfg}
	if !IsLocal(cfg.Hostname) {
		network := did.NewNetwork(nil, "gatehouse/"+Version)
		if s.HandleResolver == nil {
			s.HandleResolver = network
		}
		if s.DIDResolver == nil {
			s.DIDResolver = network.ResolveDID
		}
	}
	for _, check := range []func() error{
		s.checkNames, s.checkHosts, s.checkSignUp, s.checkIdentity, s.checkSecrets, s.checkAdmins, s.checkPasswords, s.checkMail, s.checkLimits, s.checkDescription, s.checkFallback,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Rand == nil {
		s.Rand = rand.Reader
	}
	return s, nil
}

func (s *settings) checkNames() error {
	host, err := s.checkHostname()
	if err != nil {
		return err
	}
	if len(s.HandleDomains) == 0 {
		return fieldError("HandleDomains", "is missing")
	}
	if s.HandleDomains, err = handleDomains(s.HandleDomains); err != nil {
		return err
	}
	if err := s.checkPublicURL(); err != nil {
		return err
	}
	s.hostnames = []string{host, s.publicHost}
	if s.ServiceName == "" {
		s.ServiceName = s.Hostname
	}
	if s.MinDeletionDelay < 0 {
		return fieldError("MinDeletionDelay", "is negative")
	}
	if s.HandleHoldAfterDeletion < 0 {
		return fieldError("HandleHoldAfterDeletion", "is negative")
	}
	return nil
}

func (s *settings) checkSignUp() error {
	if s.SignUp == "" {
		s.SignUp = SignUpOpen
	}
	if !slices.Contains(SignUpModes(), s.SignUp) {
		return fieldError("SignUp", "%q is none of %q", s.SignUp, SignUpModes())
	}
	if s.InviteInterval < 0 {
		return fieldError("InviteInterval", "is negative")
	}
	return nil
}

// anyoneMaySignUp reports whether anybody on the internet can have an account here, which an
// operator gets by setting nothing.
func (s *settings) anyoneMaySignUp() bool {
	public := !IsLocal(s.Hostname) || !IsLocal(s.publicHost)
	return public && s.SignUp == SignUpOpen && s.CheckSignUp == nil
}

func (s *settings) checkIdentity() error {
	switch s.DIDMethod {
	case "":
		s.DIDMethod = MethodPLC
	case MethodPLC, MethodWeb:
	default:
		return fieldError("DIDMethod", "%q is neither %s nor %s", s.DIDMethod, MethodPLC, MethodWeb)
	}
	if s.PLC == "" {
		s.PLC = did.PublicDirectory
		if IsLocal(s.Hostname) {
			s.PLC = PLCLocal
		}
	}
	if s.PLC != PLCLocal {
		if _, err := did.NewClient(did.ClientConfig{URL: s.PLC}); err != nil {
			return fieldError("PLC", "%q is neither %q nor the URL of a directory", s.PLC, PLCLocal)
		}
	}
	if s.PLCRotationKey != "" {
		if _, err := did.ParseRotationKey(s.PLCRotationKey); err != nil {
			return fieldError("PLCRotationKey", "is not the hexadecimal of a K-256 private key")
		}
	}
	if s.ModService != "" {
		if _, err := syntax.ParseDID(s.ModService); err != nil {
			return fieldError("ModService", "%q is no DID", s.ModService)
		}
	}
	if s.RecoveryKey != "" {
		if _, err := atcrypto.ParsePublicDIDKey(s.RecoveryKey); err != nil {
			return fieldError("RecoveryKey", "%q is no did:key of a supported kind", s.RecoveryKey)
		}
	}
	return nil
}

func (s *settings) checkSecrets() error {
	if s.JWTSecret != nil && len(s.JWTSecret) < 16 {
		return fieldError("JWTSecret", "is shorter than 16 bytes")
	}
	if len(s.JWTKeys) > 0 {
		if err := sessions.CheckKeys(s.JWTKeys); err != nil {
			return fieldError("JWTKeys", "%v", err)
		}
	}
	if s.KeySecret != nil && len(s.KeySecret) != keys.KeySize {
		return fieldError("KeySecret", "is not of %d bytes", keys.KeySize)
	}
	return nil
}

// minAdminPassword is the fewest characters of an admin's password.
const minAdminPassword = 12

func (s *settings) checkAdmins() error {
	if n := utf8.RuneCountInString(s.AdminPassword); n > 0 && n < minAdminPassword {
		return fieldError("AdminPassword", "has %d characters, fewer than %d", n, minAdminPassword)
	}
	for name, password := range s.Admins {
		switch {
		case name == "" || strings.Contains(name, ":"): // which ends the name in HTTP Basic
			return fieldError("Admins", "%q can't be an admin's name", name)
		case password == "":
			return fieldError("Admins", "%q has no password", name)
		case utf8.RuneCountInString(password) < minAdminPassword:
			return fieldError("Admins", "the password of %q has fewer than %d characters", name, minAdminPassword)
		case name == mainAdmin && s.AdminPassword != "":
			return fieldError("Admins", "%q has the password of AdminPassword already", name)
		}
	}
	return nil
}

func (s *settings) checkMail() error {
	var err error
	if s.templates, err = mail.NewTemplates(s.MailTemplates); err != nil {
		return fieldError("MailTemplates", "%v", err)
	}
	if strings.ContainsFunc(s.ServiceName, unicode.IsControl) {
		return fieldError("ServiceName", "%q can't stand in a subject", s.ServiceName)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.MailPages)) {
		if err := mail.CheckPage(kind, s.MailPages[kind]); err != nil {
			return fieldError("MailPages", "%v", err)
		}
	}
	for _, kind := range s.MuteNotices {
		if !slices.Contains(mail.Notices(), kind) {
			return fieldError("MuteNotices", "%q is none of %q", kind, mail.Notices())
		}
	}
	if s.MailTimeout < 0 {
		return fieldError("MailTimeout", "is negative")
	}
	if s.MailTimeout == 0 {
		s.MailTimeout = 15 * time.Second
	}
	if s.Mail == nil {
		s.Mail = mail.Unconfigured{}
	}
	return nil
}

// checkDescription keeps out what clients would refuse in an answer of describeServer.
func (s *settings) checkDescription() error {
	for _, link := range []struct{ field, url string }{
		{"PrivacyPolicyURL", s.PrivacyPolicyURL}, {"TermsOfServiceURL", s.TermsOfServiceURL},
	} {
		u, err := url.Parse(link.url)
		if link.url != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return fieldError(link.field, "%q is not of the form https://HOST/PATH", link.url)
		}
	}
	if s.BlobUploadLimit < 0 {
		return fieldError("BlobUploadLimit", "is negative")
	}
	return nil
}

func (s *settings) checkFallback() error {
	for _, nsid := range s.LeaveToFallback {
		switch {
		case s.Fallback == nil:
			return fieldError("LeaveToFallback", "is set, but Fallback isn't")
		case !slices.Contains(xrpc.Methods(), nsid):
			return fieldError("LeaveToFallback", "%q is not a method that Gatehouse serves", nsid)
		}
	}
	return nil
}

func (s *settings) checkPasswords() error {
	if s.MinPasswordLength == 0 {
		s.MinPasswordLength = 8
	}
	if s.MinPasswordLength < 1 || s.MinPasswordLength > 256 {
		return fieldError("MinPasswordLength", "%d is not between 1 and 256", s.MinPasswordLength)
	}
	p := password.DefaultParams
	if s.PasswordMemory != 0 {
		p.Memory = s.PasswordMemory
	}
	if s.PasswordTime != 0 {
		p.Time = s.PasswordTime
	}
	if s.PasswordThreads != 0 {
		p.Threads = s.PasswordThreads
	}
	s.password = password.Config{Params: p, Workers: s.PasswordWorkers, Queue: s.PasswordQueue, Rand: s.Rand}
	if _, err := password.New(s.password); err != nil {
		return fieldError("PasswordMemory, PasswordTime, PasswordThreads, PasswordWorkers or PasswordQueue", "%v", err)
	}
	return nil
}

func (s *settings) checkLimits() error {
	switch s.RateLimits {
	case "", On:
	case Off, Shared:
		if s.Limiter != nil {
			return fieldError("Limiter", "is set, and RateLimits is %s", s.RateLimits)
		}
	default:
		return fieldError("RateLimits", "%q is none of %s, %s, %s", s.RateLimits, On, Shared, Off)
	}
	for _, text := range s.TrustedProxies {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			a, aerr := netip.ParseAddr(strings.TrimSpace(text))
			if aerr != nil {
				return fieldError("TrustedProxies", "%q is neither an address nor a network", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		s.proxies = append(s.proxies, p)
	}
	return nil
}
