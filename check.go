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
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// settings is a Config that has been checked and normalized, with its defaults filled in.
type settings struct {
	Config
	serviceDID string
	publicHost string   // the host name of PublicURL, without a port
	hostnames  []string // all host names of the server, without ports
	// oauthIssuer is the authorization server: this one, another, or "" if OAuth is off.
	oauthIssuer string
	password    password.Config
	templates   *mail.Templates

	mistakes []error
}

// settings checks a Config and fills in its defaults. The error lists all mistakes.
func (cfg Config) settings() (*settings, error) {
	s := &settings{Config: cfg}
	s.fillIn()
	s.checkNames()
	s.checkAdmins()
	s.checkSignUp()
	s.checkSignIn()
	s.checkHandles()
	s.checkDIDs()
	s.checkKeys()
	s.checkPasswords()
	s.checkOAuth()
	s.checkMail()
	s.checkLimits()
	s.checkDescription()
	s.checkExtensions()
	notNegative(s, "MinDeletionDelay", s.MinDeletionDelay)
	if len(s.mistakes) > 0 {
		return nil, errors.Join(s.mistakes...)
	}
	return s, nil
}

// mistake notes a mistake in a field of the Config.
func (s *settings) mistake(field, format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Errorf("gatehouse: Config.%s: %s", field, fmt.Sprintf(format, args...)))
}

func notNegative[T int | int64 | time.Duration](s *settings, field string, value T) {
	if value < 0 {
		s.mistake(field, "must not be negative")
	}
}

func oneOf[T ~string](s *settings, field string, value T, allowed []T) {
	if !slices.Contains(allowed, value) {
		s.mistake(field, "%q is not one of %q", value, allowed)
	}
}

// fillIn fills in the defaults that don't depend on a check.
func (s *settings) fillIn() {
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
	s.checkHandleDomains()
	s.checkPublicURL()
	s.hostnames = []string{host, s.publicHost}
	s.checkExtraHostnames()
	if s.ServiceName == "" {
		s.ServiceName = s.Hostname
	}
	if strings.ContainsFunc(s.ServiceName, unicode.IsControl) { // it is part of the subjects of e-mails
		s.mistake("ServiceName", "%q contains a control character", s.ServiceName)
	}
}

// minAdminPassword is the minimum length of the password of an admin in characters.
const minAdminPassword = 12

func (s *settings) checkAdmins() {
	if s.ModService != "" {
		if _, err := syntax.ParseDID(s.ModService); err != nil {
			s.mistake("ModService", "%q is not a DID", s.ModService)
		}
	}
	passwords, ok := s.Admins.(xrpc.Passwords)
	if !ok { // an AdminAuth of the embedding program
		return
	}
	for _, name := range slices.Sorted(maps.Keys(passwords)) {
		if name == "" || strings.Contains(name, ":") { // a colon ends the name in HTTP Basic auth
			s.mistake("Admins", "the name %q must not be empty or contain a colon", name)
		}
		if n := utf8.RuneCountInString(passwords[name]); n < minAdminPassword {
			s.mistake("Admins", "the password of %q has %d characters; at least %d are required", name, n, minAdminPassword)
		}
	}
}

func (s *settings) checkSignUp() {
	oneOf(s, "SignUp.Mode", s.SignUp.Mode, SignUpModes())
	notNegative(s, "SignUp.InviteInterval", s.SignUp.InviteInterval)
}

// anyoneMaySignUp reports whether anybody on the Internet can create an account, which is what an
// operator gets who configures nothing. Where ways take the place of account passwords it matters
// on a local network too: see [SignIn].
func (s *settings) anyoneMaySignUp() bool {
	public := !IsLocal(s.Hostname) || !IsLocal(s.publicHost) || s.SignIn.NoAccountPasswords
	return public && s.SignUp.Mode == SignUpOpen && s.SignUp.Check == nil
}

// checkSignIn checks that the ways and factors can be told apart, also from those of Gatehouse,
// since sessions record how they were opened.
func (s *settings) checkSignIn() {
	taken := map[string]bool{
		signin.MethodSignUp: true, signin.MethodPassword: true, signin.MethodAppPassword: true, signin.MethodEmailCode: true,
	}
	check := func(field string, i int, name string) {
		switch {
		case name == "":
			s.mistake(field, "the name of element %d is required", i)
		case taken[name]:
			s.mistake(field, "the name of element %d, %q, is already in use", i, name)
		}
		taken[name] = true
	}
	for i, way := range s.SignIn.Ways {
		if way == nil {
			s.mistake("SignIn.Ways", "element %d is nil", i)
			continue
		}
		check("SignIn.Ways", i, way.Name())
	}
	for i, factor := range s.SignIn.Factors {
		if factor == nil {
			s.mistake("SignIn.Factors", "element %d is nil", i)
			continue
		}
		check("SignIn.Factors", i, factor.Name())
	}
	if s.SignIn.NoAccountPasswords && len(s.SignIn.Ways) == 0 {
		s.mistake("SignIn.NoAccountPasswords", "requires SignIn.Ways: otherwise nobody could manage an account")
	}
}

func (s *settings) checkHandles() {
	notNegative(s, "Handles.HoldAfterDeletion", s.Handles.HoldAfterDeletion)
	s.checkHostRedirect()
}

func (s *settings) checkDIDs() {
	oneOf(s, "DIDs.Method", s.DIDs.Method, []DIDMethod{DIDPLC, DIDWeb})
	if s.DIDs.RecoveryKey == "" {
		return
	}
	if _, err := atcrypto.ParsePublicDIDKey(s.DIDs.RecoveryKey); err != nil {
		s.mistake("DIDs.RecoveryKey", "%q is not a did:key of a supported type", s.DIDs.RecoveryKey)
	}
}

func (s *settings) checkKeys() {
	if len(s.Keys.Tokens) == 0 { // the default
		return
	}
	if err := sessions.CheckKeys(s.Keys.Tokens); err != nil {
		s.mistake("Keys.Tokens", "%v", err)
	}
}

func (s *settings) checkPasswords() {
	if n := s.Passwords.MinLength; n < 1 || n > 256 {
		s.mistake("Passwords.MinLength", "%d is not between 1 and 256", n)
	}
	notNegative(s, "Passwords.Workers", s.Passwords.Workers)
	notNegative(s, "Passwords.Queue", s.Passwords.Queue)
	costs := password.DefaultParams
	if s.Passwords.Memory != 0 {
		costs.Memory = s.Passwords.Memory
	}
	if s.Passwords.Time != 0 {
		costs.Time = s.Passwords.Time
	}
	if s.Passwords.Threads != 0 {
		costs.Threads = s.Passwords.Threads
	}
	if err := costs.Check(); err != nil {
		s.mistake("Passwords", "Memory, Time and Threads: %v", err)
	}
	s.password = password.Config{Params: costs, Workers: s.Passwords.Workers, Queue: s.Passwords.Queue, Rand: s.Rand}
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
		oneOf(s, "Mail.MuteNotices", kind, mail.Notices())
	}
	notNegative(s, "Mail.Timeout", s.Mail.Timeout)
}

func (s *settings) checkLimits() {
	for i, network := range s.Limits.TrustedProxies {
		if !network.IsValid() {
			s.mistake("Limits.TrustedProxies", "element %d is not a network", i)
		}
	}
}

// checkDescription refuses what clients would refuse in an answer of describeServer.
func (s *settings) checkDescription() {
	s.checkLink("Description.PrivacyPolicyURL", s.Description.PrivacyPolicyURL)
	s.checkLink("Description.TermsOfServiceURL", s.Description.TermsOfServiceURL)
	notNegative(s, "Description.BlobUploadLimit", s.Description.BlobUploadLimit)
}

func (s *settings) checkLink(field, link string) {
	u, err := url.Parse(link)
	if link != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		s.mistake(field, "%q is not of the form https://HOST/PATH", link)
	}
}

func (s *settings) checkExtensions() {
	for i, hook := range s.Hooks {
		if hook == nil {
			s.mistake("Hooks", "element %d is nil", i)
		}
	}
	if len(s.LeaveToFallback) > 0 && s.Fallback == nil {
		s.mistake("LeaveToFallback", "requires Fallback")
	}
	for _, nsid := range s.LeaveToFallback {
		if !slices.Contains(xrpc.Methods(), nsid) {
			s.mistake("LeaveToFallback", "%q is not a method of Gatehouse", nsid)
		}
	}
}
