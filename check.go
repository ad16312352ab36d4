package gatehouse

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// settings is a Config that was checked, with its defaults filled in.
type settings struct {
	Config
	serviceDID string
	publicHost string   // that of PublicURL, without a port
	hostnames  []string // the server's own, without ports
	password   password.Config
	templates  *mail.Templates

	mistakes []error
}

// mistake notes what is wrong with a field of the Config.
func (s *settings) mistake(field, format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Errorf("gatehouse: Config.%s: %s", field, fmt.Sprintf(format, args...)))
}

// settings checks a Config and fills in its defaults. The error has all mistakes.
func (cfg Config) settings() (*settings, error) {
	s := &settings{Config: cfg}
	s.defaults()
	s.checkNames()
	s.checkSignUp()
	s.checkHandles()
	s.checkDIDs()
	s.checkKeys()
	s.checkAdmins()
	s.checkPasswords()
	s.checkMail()
	s.checkDescription()
	s.checkFallback()
	if len(s.mistakes) > 0 {
		return nil, errors.Join(s.mistakes...)
	}
	return s, nil
}

// defaults fills in the defaults that don't need a check.
func (s *settings) defaults() {
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Rand == nil {
		s.Rand = rand.Reader
	}
	if s.SignUp.Mode == "" {
		s.SignUp.Mode = SignUpOpen
	}
	if s.DIDs.Method == "" {
		s.DIDs.Method = DIDPLC
	}
	if s.Passwords.MinLength == 0 {
		s.Passwords.MinLength = 8
	}
	if s.Mail.Mailer == nil {
		s.Mail.Mailer = mail.Unconfigured{}
	}
	if s.Mail.Timeout == 0 {
		s.Mail.Timeout = 15 * time.Second
	}
	if IsLocal(s.Hostname) {
		return
	}
	network := did.NewNetwork(nil, "gatehouse/"+Version)
	if s.Handles.Resolver == nil {
		s.Handles.Resolver = network
	}
	if s.DIDs.Resolver == nil {
		s.DIDs.Resolver = network.ResolveDID
	}
}

func (s *settings) checkNames() {
	host := s.checkHostname()
	if len(s.HandleDomains) == 0 {
		s.mistake("HandleDomains", "is missing")
	}
	s.checkHandleDomains()
	s.checkPublicURL()
	s.hostnames = []string{host, s.publicHost}
	s.checkExtraHostnames()
	if s.ServiceName == "" {
		s.ServiceName = s.Hostname
	}
	if strings.ContainsFunc(s.ServiceName, unicode.IsControl) {
		s.mistake("ServiceName", "%q can't stand in a subject", s.ServiceName)
	}
	if s.MinDeletionDelay < 0 {
		s.mistake("MinDeletionDelay", "is negative")
	}
}

func (s *settings) checkSignUp() {
	if !slices.Contains(SignUpModes(), s.SignUp.Mode) {
		s.mistake("SignUp.Mode", "%q is none of %q", s.SignUp.Mode, SignUpModes())
	}
	if s.SignUp.InviteInterval < 0 {
		s.mistake("SignUp.InviteInterval", "is negative")
	}
}

// anyoneMaySignUp reports whether anybody on the internet can have an account here, which an
// operator gets by setting nothing.
func (s *settings) anyoneMaySignUp() bool {
	public := !IsLocal(s.Hostname) || !IsLocal(s.publicHost)
	return public && s.SignUp.Mode == SignUpOpen && s.SignUp.Check == nil
}

func (s *settings) checkHandles() {
	if s.Handles.HoldAfterDeletion < 0 {
		s.mistake("Handles.HoldAfterDeletion", "is negative")
	}
	s.checkHostRedirect()
}

func (s *settings) checkDIDs() {
	if s.DIDs.Method != DIDPLC && s.DIDs.Method != DIDWeb {
		s.mistake("DIDs.Method", "%q is neither %q nor %q", s.DIDs.Method, DIDPLC, DIDWeb)
	}
	if s.DIDs.RecoveryKey != "" {
		if _, err := atcrypto.ParsePublicDIDKey(s.DIDs.RecoveryKey); err != nil {
			s.mistake("DIDs.RecoveryKey", "%q is not a did:key of a supported kind", s.DIDs.RecoveryKey)
		}
	}
}

func (s *settings) checkKeys() {
	if len(s.Keys.Tokens) == 0 {
		return
	}
	if err := sessions.CheckKeys(s.Keys.Tokens); err != nil {
		s.mistake("Keys.Tokens", "%v", err)
	}
}

// minAdminPassword is the fewest characters of an admin's password.
const minAdminPassword = 12

func (s *settings) checkAdmins() {
	if s.ModService != "" {
		if _, err := syntax.ParseDID(s.ModService); err != nil {
			s.mistake("ModService", "%q is not a DID", s.ModService)
		}
	}
	passwords, ok := s.Admins.(xrpc.Passwords)
	if !ok { // a check of the embedder's own
		return
	}
	for _, name := range slices.Sorted(maps.Keys(passwords)) {
		switch n := utf8.RuneCountInString(passwords[name]); {
		case name == "" || strings.Contains(name, ":"): // which ends the name in HTTP Basic
			s.mistake("Admins", "%q can't be an admin's name", name)
		case n == 0:
			s.mistake("Admins", "%q has no password", name)
		case n < minAdminPassword:
			s.mistake("Admins", "the password of %q has %d characters, fewer than %d", name, n, minAdminPassword)
		}
	}
}

func (s *settings) checkPasswords() {
	cfg := s.Passwords
	if s.SignIn.NoAccountPasswords && len(s.SignIn.Ways) == 0 {
		s.mistake("SignIn.NoAccountPasswords", "is set, but SignIn.Ways is empty: nobody could manage an account")
	}
	if cfg.MinLength < 1 || cfg.MinLength > 256 {
		s.mistake("Passwords.MinLength", "%d is not between 1 and 256", cfg.MinLength)
	}
	p := password.DefaultParams
	if cfg.Memory != 0 {
		p.Memory = cfg.Memory
	}
	if cfg.Time != 0 {
		p.Time = cfg.Time
	}
	if cfg.Threads != 0 {
		p.Threads = cfg.Threads
	}
	s.password = password.Config{Params: p, Workers: cfg.Workers, Queue: cfg.Queue, Rand: s.Rand}
	if _, err := password.New(s.password); err != nil {
		s.mistake("Passwords", "Memory, Time, Threads, Workers or Queue: %v", err)
	}
}

func (s *settings) checkMail() {
	var err error
	if s.templates, err = mail.NewTemplates(s.Mail.Templates); err != nil {
		s.mistake("Mail.Templates", "%v", err)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Mail.Pages)) {
		if err := mail.CheckPage(kind, s.Mail.Pages[kind]); err != nil {
			s.mistake("Mail.Pages", "%v", err)
		}
	}
	for _, kind := range s.Mail.MuteNotices {
		if !slices.Contains(mail.Notices(), kind) {
			s.mistake("Mail.MuteNotices", "%q is none of %q", kind, mail.Notices())
		}
	}
	if s.Mail.Timeout < 0 {
		s.mistake("Mail.Timeout", "is negative")
	}
}

// checkDescription keeps out what clients would refuse in an answer of describeServer.
func (s *settings) checkDescription() {
	for _, link := range []struct{ field, url string }{
		{"PrivacyPolicyURL", s.Description.PrivacyPolicyURL}, {"TermsOfServiceURL", s.Description.TermsOfServiceURL},
	} {
		u, err := url.Parse(link.url)
		if link.url != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			s.mistake("Description."+link.field, "%q is not of the form https://HOST/PATH", link.url)
		}
	}
	if s.Description.BlobUploadLimit < 0 {
		s.mistake("Description.BlobUploadLimit", "is negative")
	}
}

func (s *settings) checkFallback() {
	if len(s.LeaveToFallback) > 0 && s.Fallback == nil {
		s.mistake("LeaveToFallback", "is set, but Fallback isn't")
	}
	for _, nsid := range s.LeaveToFallback {
		if !slices.Contains(xrpc.Methods(), nsid) {
			s.mistake("LeaveToFallback", "%q is not a method that Gatehouse serves", nsid)
		}
	}
}
