package sessions

import (
	"context"
	"crypto/elliptic"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// ErrServiceAuth is returned when a service token that somebody presented isn't good. The error is
// a [*ServiceAuthError]. Test for it with [errors.Is]. Clients are answered 401 with the name of
// the error.
var ErrServiceAuth = errors.New("sessions: invalid service token")

// ServiceAuthError says why a service token was refused.
type ServiceAuthError struct {
	// Name is the protocol's name of the error, such as JwtExpired.
	Name string
	text string
}

// Error returns the text for the client.
func (e *ServiceAuthError) Error() string { return e.text }

// PublicMessage returns the text for the client.
func (e *ServiceAuthError) PublicMessage() string { return e.text }

// Is makes errors.Is(err, ErrServiceAuth) true.
func (e *ServiceAuthError) Is(target error) bool { return target == ErrServiceAuth }

func serviceAuth(name, text string) error { return &ServiceAuthError{name, text} }

// ErrMissingJWT is returned when no service token was presented. It is an [ErrServiceAuth].
var ErrMissingJWT = serviceAuth("MissingJwt", "missing jwt")

var (
	errForm       = serviceAuth("BadJwt", "poorly formatted jwt")
	errJWTExpired = serviceAuth("JwtExpired", "jwt expired")
	errNoTokenID  = serviceAuth("BadJwt", "missing jwt id (\"jti\")")
	errUntrusted  = serviceAuth("UntrustedIss", "Untrusted issuer")
	errSignature  = serviceAuth("BadJwtSignature", "jwt signature does not match jwt issuer")
)

// Bounds of a service token.
const (
	maxServiceToken    = 8 << 10 // bytes
	maxServiceTokenID  = 256     // bytes
	maxServiceLifetime = time.Hour
	// clockSkew is how far the clocks of issuers and of this server's processes may be apart. A token
	// may expire that much later than an hour from now, and a used one is remembered for that much
	// longer than it is good.
	clockSkew = 5 * time.Second
)

// ServiceAuth is what a service token proved: who signed it.
type ServiceAuth struct {
	// Issuer is the DID whose document has the key.
	Issuer syntax.DID
	// Service is the service of the issuer that signed, such as "atproto_labeler", or empty if the
	// account itself did: the two have different keys, and may not speak for one another.
	Service string
	// Key is the key that verified the signature, as a did:key.
	Key string
	// ID is the token's jti. It is empty if the token has none, which RequireID of the
	// [ServiceVerifier] refuses.
	ID string
	// Expires is when the token expires.
	Expires time.Time
}

// iss returns the issuer as the token has it.
func (a *ServiceAuth) iss() string {
	if a.Service == "" {
		return a.Issuer.String()
	}
	return a.Issuer.String() + "#" + a.Service
}

// serviceKeys are the keys of a DID document that speak for a service of the DID, by the fragment
// of the service.
var serviceKeys = map[string]string{"atproto_labeler": "atproto_label"}

// ServiceVerifier verifies the service tokens that others present here.
type ServiceVerifier struct {
	// Audience is the DID that tokens have to name as their audience.
	Audience string
	// Resolver finds the keys of issuers.
	Resolver *did.Resolver
	// RequireID refuses tokens without a jti, which [Service.UseServiceToken] needs. It should be set
	// for methods that change something.
	RequireID bool
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// Verify checks a token for a method and returns who signed it. Without a list of trusted issuers
// any account may be the issuer, but no service of an account (did#service). With a list, the
// issuer has to be on it, with the fragment if it has one. Everything that can be checked without
// the issuer's DID document is checked before the DID is resolved.
//
// Only one spelling of a token is accepted: base64url without padding, and a signature with a low
// s. Verify doesn't check whether the token was used before (see [Service.UseServiceToken]). Error:
// [ErrServiceAuth].
func (v *ServiceVerifier) Verify(ctx context.Context, raw, method string, trusted ...string) (*ServiceAuth, error) {
	if raw == "" {
		return nil, ErrMissingJWT
	}
	t, err := parseServiceToken(raw)
	if err != nil {
		return nil, err
	}
	if err := v.checkClaims(t, method, trusted); err != nil {
		return nil, err
	}
	if !t.canonical() {
		return nil, errSignature
	}
	err = v.checkSignature(ctx, t)
	// The issuer may have changed its key since the document was cached.
	if errors.Is(err, errSignature) && v.Resolver.Renew(t.auth.Issuer) {
		err = v.checkSignature(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	return &t.auth, nil
}

// serviceToken is a service token of the right form. Nothing that it says has been verified.
type serviceToken struct {
	auth          ServiceAuth // without the Key
	iss, aud, lxm string
	exp           float64
	alg           string
	signed        string // what the signature is of
	signature     []byte
}

var serviceTokenParser = jwt.NewParser(jwt.WithStrictDecoding())

// parseServiceToken reads a token. Line breaks are refused, because the base64 decoder skips them,
// strict or not, so that they would give a token more than one spelling.
func parseServiceToken(raw string) (*serviceToken, error) {
	if len(raw) > maxServiceToken || strings.ContainsAny(raw, "\r\n") {
		return nil, errForm
	}
	var c jwt.MapClaims
	parsed, parts, err := serviceTokenParser.ParseUnverified(raw, &c)
	if err != nil || foreignHeader(parsed.Header) {
		return nil, errForm
	}
	t := &serviceToken{alg: parsed.Method.Alg(), signed: parts[0] + "." + parts[1], signature: parsed.Signature}
	if curveOrders[t.alg] == nil {
		return nil, errForm
	}
	exp, ok := c["exp"].(float64)
	if !ok {
		return nil, errForm
	}
	t.exp = exp
	t.iss, _ = c["iss"].(string)
	t.aud, _ = c["aud"].(string)
	t.lxm, _ = c["lxm"].(string)
	t.auth.ID, _ = c["jti"].(string)
	id, _, _ := strings.Cut(t.iss, "#")
	if t.auth.Issuer, err = syntax.ParseDID(id); err != nil {
		return nil, errForm
	}
	return t, nil
}

// foreignHeader reports whether a header is that of another kind of token, or names extensions that
// have to be understood, of which this package understands none (source: RFC 8725, 3.11; RFC 7515,
// 4.1.11).
func foreignHeader(h map[string]any) bool {
	typ, _ := h["typ"].(string)
	_, critical := h["crit"]
	return critical || slices.ContainsFunc([]string{typeAccess, typeRefresh, "dpop+jwt"}, func(s string) bool {
		return strings.EqualFold(s, typ)
	})
}

// checkClaims checks what a token says. The rule that a token without a method is good for a minute
// at most needs no check, since no such token is accepted here.
func (v *ServiceVerifier) checkClaims(t *serviceToken, method string, trusted []string) error {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	left := t.exp - float64(now().UnixMicro())/1e6 // not by time.Time, which few of the numbers that JSON can hold fit into
	switch {
	case left <= 0:
		return errJWTExpired
	case left > (maxServiceLifetime + clockSkew).Seconds():
		return serviceAuth("BadJwtExpiration", "jwt expires more than an hour from now")
	case t.aud != v.Audience && !strings.HasPrefix(t.aud, v.Audience+"#"):
		return serviceAuth("BadJwtAudience", "jwt audience does not match service did")
	case t.lxm == "":
		return serviceAuth("BadJwtLexiconMethod", "missing jwt lexicon method (\"lxm\"). must match: "+method)
	case t.lxm != method:
		return serviceAuth("BadJwtLexiconMethod", "bad jwt lexicon method (\"lxm\"). must match: "+method)
	case len(trusted) > 0 && !slices.Contains(trusted, t.iss):
		return errUntrusted
	case v.RequireID && t.auth.ID == "":
		return errNoTokenID
	case len(t.auth.ID) > maxServiceTokenID:
		return serviceAuth("BadJwt", "jwt id (\"jti\") is too long")
	}
	if _, service, has := strings.Cut(t.iss, "#"); has {
		if len(trusted) == 0 || serviceKeys[service] == "" {
			return errUntrusted
		}
		t.auth.Service = service
	}
	t.auth.Expires = time.UnixMilli(int64(t.exp * 1000)).UTC()
	return nil
}

// curveOrders are the orders of the curves of algorithms.
var curveOrders = map[string]*big.Int{
	"ES256":  elliptic.P256().Params().N,
	"ES256K": hexInt("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"), // source: SEC 2, 2.4.1
}

func hexInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 16)
	return n
}

// canonical reports whether the signature has the only form that is accepted: r and s of 32 bytes
// each, in range, and s in the lower half of the range, since (r, n-s) would verify too.
func (t *serviceToken) canonical() bool {
	if len(t.signature) != 64 {
		return false
	}
	n := curveOrders[t.alg]
	r, s := new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:])
	return r.Sign() > 0 && r.Cmp(n) < 0 && s.Sign() > 0 && s.Cmp(new(big.Int).Rsh(n, 1)) <= 0
}

// checkSignature checks the signature with the issuer's key, and sets the key.
func (v *ServiceVerifier) checkSignature(ctx context.Context, t *serviceToken) error {
	name := did.AtprotoKey
	if t.auth.Service != "" {
		name = serviceKeys[t.auth.Service]
	}
	ident, err := v.Resolver.Identity(ctx, t.auth.Issuer)
	if err != nil {
		return serviceAuth("AuthenticationRequired", "could not resolve iss did")
	}
	key, err := ident.GetPublicKey(name)
	if err != nil {
		return serviceAuth("AuthenticationRequired", "missing or bad key in did doc")
	}
	if algorithmOf(key) != t.alg || key.HashAndVerify([]byte(t.signed), t.signature) != nil {
		return errSignature
	}
	t.auth.Key = key.DIDKey()
	return nil
}

// algorithmOf returns the algorithm of a key's signatures.
func algorithmOf(key atcrypto.PublicKey) string {
	if _, p256 := key.(*atcrypto.PublicKeyP256); p256 {
		return "ES256"
	}
	return "ES256K"
}
