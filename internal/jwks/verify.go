package jwks

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/jws"
	"github.com/gatehouse-at/gatehouse/internal/strictjson"
)

// Token is a JWT of a stranger whose signature may or may not have been verified (source: RFC 7519,
// in the compact form).
type Token struct {
	// Algorithm, ID and Type are the members alg, kid and typ of the header. The type is in lower
	// case and without "application/".
	Algorithm, ID, Type string
	Claims              strictjson.Object

	signed    string
	signature []byte
}

// Decode decodes a token of at most so many bytes without verifying its signature. Its algorithm is
// one of [Algorithms]. The errors are fit to be shown to whoever made the token.
func Decode(raw string, maxBytes int) (*Token, error) {
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxBytes)
	}
	if strings.ContainsAny(raw, "\r\n") { // which the decoder would skip
		return nil, errors.New("it has line breaks")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, errors.New("it isn't a signed JWT")
	}
	header, err := object(parts[0])
	if err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	t := &Token{signed: parts[0] + "." + parts[1]}
	for name, value := range map[string]*string{"alg": &t.Algorithm, "kid": &t.ID, "typ": &t.Type} {
		if *value, err = header.String(name); err != nil {
			return nil, fmt.Errorf("its header: %w", err)
		}
	}
	t.Type = strings.TrimPrefix(strings.ToLower(t.Type), "application/")
	switch {
	case !slices.Contains(Algorithms(), t.Algorithm):
		return nil, fmt.Errorf("its alg is %.20q, and one of %s is needed", t.Algorithm, strings.Join(Algorithms(), ", "))
	case header.Has("crit"):
		return nil, errors.New("its header has critical extensions (crit), which aren't understood")
	}
	if t.Claims, err = object(parts[1]); err != nil {
		return nil, fmt.Errorf("its claims: %w", err)
	}
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil || len(t.signature) == 0 {
		return nil, errors.New("its signature isn't base64url")
	}
	return t, nil
}

func object(part string) (strictjson.Object, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("it isn't base64url")
	}
	return strictjson.Parse(raw)
}

// maxTries is how many keys are tried for a token without a kid, since each takes time.
const maxTries = 5

// Verify returns the key, of the given ones, by which the token was signed.
func (t *Token) Verify(keys []Key) (*Key, error) {
	chosen := Choose(keys, t.ID, t.Algorithm)
	switch {
	case len(chosen) == 0 && t.ID != "":
		return nil, fmt.Errorf("there is no key for %s with the kid %.100q", t.Algorithm, t.ID)
	case len(chosen) == 0:
		return nil, fmt.Errorf("there is no key for %s", t.Algorithm)
	case len(chosen) > maxTries:
		return nil, fmt.Errorf("there are %d keys that it may have been signed by; set a kid", len(chosen))
	}
	for _, k := range chosen {
		if jws.Verify(t.Algorithm, t.signed, t.signature, k.Public) == nil {
			return &k, nil
		}
	}
	return nil, errors.New("its signature isn't right")
}

// Time returns a claim that is a time, or the zero time if there is none.
func (t *Token) Time(name string) (time.Time, error) {
	if !t.Claims.Has(name) {
		return time.Time{}, nil
	}
	var seconds float64
	// The last representable year is far beyond any token's; a year of five digits, for example,
	// can't be written as JSON.
	if err := json.Unmarshal(t.Claims[name], &seconds); err != nil || seconds < 0 || seconds > 1<<37 {
		return time.Time{}, fmt.Errorf("%s must be a time in seconds", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// For reports whether an audience is among those of the token.
func (t *Token) For(audience string) bool {
	var one string
	if json.Unmarshal(t.Claims["aud"], &one) == nil {
		return one == audience
	}
	list, err := t.Claims.Strings("aud")
	return err == nil && slices.Contains(list, audience)
}
