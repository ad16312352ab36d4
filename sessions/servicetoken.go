package sessions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors of requests for a service token. Test for them with [errors.Is].
var (
	// ErrBadExpiration is returned when a service token is to expire in the past or too far in the
	// future. Clients are answered 400 BadExpiration.
	ErrBadExpiration = errors.New("sessions: bad expiration")
	// ErrInvalidRequest is returned when the audience of a service token is malformed, or its method
	// is one for which there are no service tokens. Clients are answered 400 InvalidRequest.
	ErrInvalidRequest = errors.New("sessions: invalid request")
)

// ServiceTokenParams say what a service token is for.
type ServiceTokenParams struct {
	// Audience is the DID of the service that is called. It may have the id of a service in the DID's
	// document (did#id).
	Audience string
	// Service is the id of the service in the DID's document that is called, if the Audience doesn't
	// have it, such as "bsky_appview". An OAuth session needs a permission for that service, although
	// the token names the DID alone, as most services expect.
	Service string
	// Method is the NSID of the method that the token is for. Empty: any method.
	Method string
	// Expires is when the token expires: at most in an hour, or in a minute if Method is empty. Zero:
	// in a minute.
	Expires time.Time
}

// audience returns the service that is called, as scopes name it.
func (p ServiceTokenParams) audience() string {
	if p.Service == "" || strings.Contains(p.Audience, "#") {
		return p.Audience
	}
	return p.Audience + "#" + p.Service
}

// ServiceAuthRules say for which methods a session gets no service token. NSIDs are compared
// without regard to case, as the most lenient service may compare them: a session that gets no
// token for a method gets none for another spelling of it.
type ServiceAuthRules struct {
	// Protected are the NSIDs of methods that manage an account. They are called with a session of the
	// account and in no other way, so no session gets a token for them.
	Protected []string
	// Privileged are the NSIDs of methods for which sessions of plain app passwords get no token. One
	// that ends in ".*" stands for all methods that begin with what is before the asterisk.
	Privileged []string
}

func (r ServiceAuthRules) protects(method string) bool {
	return slices.ContainsFunc(r.Protected, func(m string) bool { return sameMethod(m, method) })
}

func (r ServiceAuthRules) privileges(method string) bool {
	return slices.ContainsFunc(r.Privileged, func(m string) bool {
		if prefix, ok := strings.CutSuffix(m, ".*"); ok {
			return strings.HasPrefix(strings.ToLower(method), strings.ToLower(prefix)+".")
		}
		return sameMethod(m, method)
	})
}

// methodCreateAccount is the method by which an account moves to another server: the only one that
// an account may ask for that is taken down.
const methodCreateAccount = "com.atproto.server.createAccount"

// sameMethod compares methods without regard to case, as the most lenient service may do: whoever
// gets no token for a method gets none for another spelling of it.
func sameMethod(a, b string) bool { return strings.EqualFold(a, b) }

// sameService reports whether two audiences mean the same server to a lenient reader: it ignores
// case, a fragment, trailing dots, a default port, and whether the colon of a port is
// percent-encoded.
func sameService(a, b string) bool { return plainAudience(a) == plainAudience(b) }

func plainAudience(aud string) string {
	id, _, _ := strings.Cut(strings.ToLower(aud), "#")
	parts := strings.Split(strings.ReplaceAll(id, "%3a", ":"), ":")
	for i := range parts {
		parts[i] = strings.TrimRight(parts[i], ".")
	}
	if n := len(parts) - 1; n == 3 && hostname.IsDefault(parts[n]) { // did, web, name, port
		parts = parts[:n]
	}
	return strings.Join(parts, ":")
}

func errProtected(method string) error {
	return refusal.Newf(ErrInvalidRequest, "cannot request a service auth token for the following protected method: %s", method)
}

// ServiceToken returns a token that proves to another service that the account calls it, signed
// with the account's key. Nobody gets a token for signing up on this server, where the account is:
// it would outlive the account, and let whoever keeps it take over the DID. Errors:
// [ErrInvalidRequest], [ErrInvalidToken], [ErrBadExpiration], and [ErrScopeMissing] for an OAuth
// session that may not call the method of the audience (source: com.atproto.server.getServiceAuth).
func (s *Service) ServiceToken(ctx context.Context, auth *Auth, p ServiceTokenParams) (string, error) {
	if !validAudience(p.Audience) {
		return "", refusal.New(ErrInvalidRequest, "aud must be a valid atproto DID or did#serviceId reference")
	}
	may := auth.permissions
	if auth.service == nil { // no session asks
		may = s.Permissions(auth.Scope)
	}
	need := RPC(cmp.Or(p.Method, "*"), p.audience())
	allowed := may.Allow(need)
	switch {
	case auth.Client != nil && s.cfg.ServiceAuth.protects(p.Method):
		return "", errProtected(p.Method)
	case auth.Client != nil && !allowed:
		return "", missing(need)
	case !allowed && !may.Allow(UseAccount): // the account is taken down
		return "", errScope
	case sameMethod(p.Method, methodCreateAccount) && sameService(p.Audience, s.cfg.ServiceDID):
		return "", errProtected(p.Method)
	case !allowed:
		return "", refusal.Newf(ErrInvalidRequest, "insufficient access to request a service auth token for the following method: %s", p.Method)
	}
	now := s.now()
	if p.Expires.IsZero() {
		p.Expires = now.Add(time.Minute)
	}
	switch left := p.Expires.Sub(now); {
	case left < 0:
		return "", refusal.New(ErrBadExpiration, "expiration is in past")
	case left > time.Hour:
		return "", refusal.New(ErrBadExpiration, "cannot request a token with an expiration more than an hour in the future")
	case p.Method == "" && left > time.Minute:
		return "", refusal.New(ErrBadExpiration, "cannot request a method-less token with an expiration more than a minute in the future")
	}
	if s.cfg.ServiceAuth.protects(p.Method) {
		return "", errProtected(p.Method)
	}
	signer, err := s.accounts.Identity().Signer(ctx, auth.Account.DID, func(tx storage.Tx) error {
		if auth.service == nil { // no session asks
			return nil
		}
		return s.AliveTx(tx, auth)
	})
	if err != nil {
		return "", err
	}
	method, err := methodOf(signer)
	if err != nil {
		return "", err
	}
	id, err := token.Base32(s.cfg.Rand, 26)
	if err != nil {
		return "", fmt.Errorf("sessions: %w", err)
	}
	claims := jwt.MapClaims{
		"iss": auth.Account.DID.String(), "aud": p.Audience, "iat": now.Unix(), "exp": p.Expires.Unix(), "jti": id,
	}
	if p.Method != "" {
		claims["lxm"] = p.Method
	}
	signed, err := jwt.NewWithClaims(method, claims).SignedString(signer)
	if err != nil {
		return "", fmt.Errorf("sessions: signing a service token: %w", err)
	}
	return signed, nil
}

// audienceForm is the DID of a service, which may have the id of one of its services: a did:plc, or
// a did:web without a path, which has a port only on localhost (source: the atproto DID
// specification).
var audienceForm = regexp.MustCompile(`^did:(plc:[a-z2-7]{24}|web:localhost(%3A[0-9]+)?|web:[a-zA-Z0-9._-]+)(#[^#\s]+)?$`)

func validAudience(aud string) bool {
	id, _, _ := strings.Cut(aud, "#")
	_, err := syntax.ParseDID(id)
	return err == nil && audienceForm.MatchString(aud)
}

// accountMethod is a [jwt.SigningMethod] that signs with an account's key, wherever that is kept.
type accountMethod string

func methodOf(signer keys.Signer) (jwt.SigningMethod, error) {
	public, err := signer.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("sessions: the signing key: %w", err)
	}
	return accountMethod(algorithmOf(public)), nil
}

func (m accountMethod) Alg() string { return string(m) }

func (m accountMethod) Sign(signingString string, key any) ([]byte, error) {
	signer, ok := key.(keys.Signer)
	if !ok {
		return nil, jwt.ErrInvalidKeyType
	}
	return signer.HashAndSign([]byte(signingString))
}

func (accountMethod) Verify(string, []byte, any) error { return jwt.ErrInvalidKeyType }
