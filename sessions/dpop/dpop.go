package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/jws"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
)

// The errors of this package. Those that are returned say in a public message what is wrong. Test
// for them with [errors.Is].
var (
	// ErrProof is returned when a proof is missing or isn't good. Clients are answered
	// invalid_dpop_proof: 401 by a resource server, 400 by an authorization server.
	ErrProof = errors.New("dpop: invalid proof")
	// ErrNonce is returned when a proof is good but for its nonce, which is missing or stale. Clients
	// are answered use_dpop_nonce with a nonce, and try again: 401 by a resource server, 400 by an
	// authorization server.
	ErrNonce = errors.New("dpop: the proof needs a nonce")
)

// Bounds of a proof.
const (
	maxProof = 8 << 10 // bytes
	maxID    = 256     // bytes of the jti
	// maxAge is how far iat may be in the past or in the future. It is short, since there is a nonce
	// beside it.
	maxAge = time.Minute
	// clockSkew is how far the clocks of the server's processes may be apart.
	clockSkew = 5 * time.Second
)

// Algorithms returns the algorithms that a proof may be signed with, ES256 first, for metadata and
// challenges. There is neither "none" nor one with a shared secret.
func Algorithms() []string { return jws.Algorithms() }

// Proof is what a proof of possession says.
type Proof struct {
	// Key is the SHA-256 thumbprint of the key that signed it, in base64url (source: RFC 7638).
	Key string
	// ID is the proof's jti: 1 to 256 bytes of any text.
	ID string
	// IssuedAt is when the client says that it made the proof.
	IssuedAt time.Time
}

// Once identifies the proof among all others: by its key and its ID, so that no client can use up
// another's proofs.
func (p *Proof) Once() string { return p.Key + " " + p.ID }

// Expires is from when on no process of the server takes the proof. Until then it has to be
// remembered that it was used.
func (p *Proof) Expires() time.Time { return p.IssuedAt.Add(maxAge + clockSkew) }

// Check is what a proof is checked against.
type Check struct {
	// Method is the HTTP method of the request, and URL is its URL as the client knows it. Query and
	// fragment don't count.
	Method, URL string
	// AccessToken is the token that the proof comes with. Empty: there is none, as at an authorization
	// server.
	AccessToken string
	// Now is the time.
	Now time.Time
	// Nonces are the server's. Nil: no nonce is asked for.
	Nonces *Nonces
}

// Verify verifies the DPoP headers of a request, of which there has to be one. It doesn't check
// whether the proof was used before: see [Proof.Once]. A proof without a good nonce is only asked
// for another if everything else about it is good. Errors: [ErrProof], [ErrNonce] (source: RFC
// 9449, sections 4.3 and 8).
func Verify(headers []string, c Check) (*Proof, error) {
	switch len(headers) {
	case 0:
		return nil, refusal.New(ErrProof, "DPoP proof required")
	case 1:
	default:
		return nil, refusal.New(ErrProof, "The request has several DPoP headers")
	}
	if headers[0] == "" {
		return nil, refusal.New(ErrProof, "DPoP proof required")
	}
	if len(headers[0]) > maxProof {
		return nil, refusal.Newf(ErrProof, "The DPoP proof is longer than %d bytes", maxProof)
	}
	t, err := jws.Parse(headers[0], maxProof)
	if err != nil {
		return nil, refusal.New(ErrProof, "The DPoP proof is not a JWT")
	}
	key, err := verifySignature(t)
	if err != nil {
		return nil, err
	}
	p := &Proof{Key: key, ID: t.Text("jti")}
	if p.IssuedAt, err = checkTimes(t, c.Now); err != nil {
		return nil, err
	}
	if p.ID == "" || len(p.ID) > maxID {
		return nil, refusal.Newf(ErrProof, `The "jti" of the DPoP proof doesn't have 1 to %d bytes`, maxID)
	}
	if err := checkRequest(t, c); err != nil {
		return nil, err
	}
	if err := checkNonce(t, c); err != nil {
		return nil, err
	}
	return p, nil
}

// verifySignature checks that a proof is one, and is signed with the key that it shows, whose
// thumbprint it returns.
func verifySignature(t *jws.Token) (thumbprint string, err error) {
	if typ, _ := t.Header["typ"].(string); !strings.EqualFold(typ, "dpop+jwt") {
		return "", refusal.New(ErrProof, `The "typ" of the DPoP proof is not dpop+jwt`)
	}
	if !slices.Contains(Algorithms(), t.Alg()) {
		return "", refusal.New(ErrProof, `The "alg" of the DPoP proof is not supported`)
	}
	jwk, ok := t.Header["jwk"].(map[string]any)
	if !ok {
		return "", refusal.New(ErrProof, `The header of the DPoP proof has no "jwk"`)
	}
	key, thumbprint, err := jws.PublicKey(jwk)
	if err != nil {
		return "", refusal.New(ErrProof, `The "jwk" of the DPoP proof is not a public key of a supported type`)
	}
	if t.Verify(key) != nil {
		return "", refusal.New(ErrProof, "The signature of the DPoP proof could not be verified")
	}
	return thumbprint, nil
}

// checkTimes checks when a proof was made, and returns it. The claims exp and nbf, which a proof
// need not have, are honoured.
func checkTimes(t *jws.Token, now time.Time) (time.Time, error) {
	iat, ok := t.Claims["iat"].(float64)
	if !ok {
		return time.Time{}, refusal.New(ErrProof, `The DPoP proof has no "iat"`)
	}
	since := seconds(now) - iat
	switch {
	case since > maxAge.Seconds():
		return time.Time{}, refusal.New(ErrProof, `The DPoP proof is too old: its "iat" is more than a minute ago`)
	case since < -maxAge.Seconds():
		return time.Time{}, refusal.New(ErrProof, `The "iat" of the DPoP proof is more than a minute in the future`)
	}
	for claim, sign := range map[string]float64{"exp": -1, "nbf": 1} {
		v, has := t.Claims[claim]
		if at, ok := v.(float64); has && (!ok || sign*(at-seconds(now)) > maxAge.Seconds()) {
			return time.Time{}, refusal.Newf(ErrProof, "The DPoP proof is not valid now by its %q", claim)
		}
	}
	return time.UnixMilli(int64(iat * 1000)).UTC(), nil
}

// seconds returns a time as JWTs have it. It isn't the other way round, since few of the numbers
// that JSON can hold fit into a [time.Time].
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// checkRequest checks that a proof was made for a request and its token.
func checkRequest(t *jws.Token, c Check) error {
	if t.Text("htm") != c.Method || c.Method == "" {
		return refusal.New(ErrProof, `The "htm" of the DPoP proof is not the method of the request`)
	}
	htu, err := normalize(t.Text("htu"))
	if err != nil {
		return refusal.New(ErrProof, `The "htu" of the DPoP proof is not an http URL without query and fragment`)
	}
	target, _, _ := strings.Cut(c.URL, "#")
	target, _, _ = strings.Cut(target, "?")
	if want, err := normalize(target); err != nil || htu != want {
		return refusal.New(ErrProof, `The "htu" of the DPoP proof is not the URL of the request`)
	}
	if c.AccessToken != "" && !token.Equal(t.Text("ath"), Hash(c.AccessToken)) {
		return refusal.New(ErrProof, `The "ath" of the DPoP proof is not the hash of the access token`)
	}
	return nil
}

// Hash returns the hash of an access token that a proof has as its "ath".
func Hash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// checkNonce checks the nonce of a proof that is good otherwise.
func checkNonce(t *jws.Token, c Check) error {
	if c.Nonces == nil || c.Nonces.Good(t.Text("nonce"), c.Now) {
		return nil
	}
	who := "Authorization server"
	if c.AccessToken != "" {
		who = "Resource server"
	}
	return refusal.New(ErrNonce, who+" requires nonce in DPoP proof")
}
