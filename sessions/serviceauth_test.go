package sessions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

const (
	pds           = "did:web:pds.test"
	createAccount = "com.atproto.server.createAccount"

	aliceDID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bobDID   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	labeler  = aliceDID + "#atproto_labeler"
)

type object = map[string]any

// strangers are DIDs elsewhere, with their keys, and a verifier of their tokens. It is a directory
// that counts how often it is asked.
type strangers struct {
	did.Directory
	sessions.ServiceVerifier
	t testing.TB
	// Alice signs with secp256k1, and her labeler and Bob with P-256.
	alice, label, bob atcrypto.PrivateKey
	documents         map[syntax.DID]map[string]string
	asked             int
	now               time.Time
}

func newStrangers(t testing.TB) *strangers {
	t.Helper()
	s := &strangers{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	// The same in every process, for the fuzz test.
	secret := func(b byte) []byte { return []byte(strings.Repeat(string(rune(b)), 32)) }
	var errs [3]error
	s.alice, errs[0] = atcrypto.ParsePrivateBytesK256(secret(1))
	s.label, errs[1] = atcrypto.ParsePrivateBytesP256(secret(2))
	s.bob, errs[2] = atcrypto.ParsePrivateBytesP256(secret(3))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	s.documents = map[syntax.DID]map[string]string{
		aliceDID: {"atproto": s.didKey(s.alice), "atproto_label": s.didKey(s.label)},
		bobDID:   {"atproto": s.didKey(s.bob)},
	}
	now := func() time.Time { return s.now }
	resolver, err := did.NewResolver(did.ResolverConfig{Directory: s, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s.ServiceVerifier = sessions.ServiceVerifier{Audience: pds, Resolver: resolver, RequireID: true, Now: now}
	return s
}

func (s *strangers) Log(_ context.Context, id syntax.DID) ([]*did.Operation, error) {
	s.asked++
	keys, ok := s.documents[id]
	if !ok {
		return nil, fmt.Errorf("%w: %s", did.ErrNotFound, id)
	}
	return []*did.Operation{{Type: did.TypeOperation, VerificationMethods: keys}}, nil
}

func (s *strangers) didKey(key atcrypto.PrivateKey) string {
	s.t.Helper()
	public, err := key.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	return public.DIDKey()
}

// token signs a token of Alice's for createAccount, with other claims or header as the changes say.
func (s *strangers) token(key atcrypto.PrivateKey, changes ...object) string {
	s.t.Helper()
	return domaintest.SignToken(s.t, key, object{
		"iss": aliceDID, "aud": pds, "lxm": createAccount, "jti": "one", "exp": s.now.Add(time.Minute).Unix(),
	}, changes...)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func wantServiceAuth(t *testing.T, err error, name, text string) {
	t.Helper()
	var refused *sessions.ServiceAuthError
	if !errors.Is(err, sessions.ErrServiceAuth) || !errors.As(err, &refused) || refused.Name != name || err.Error() != text {
		t.Errorf("%v, want %s %q", err, name, text)
	}
}

func TestServiceTokenIsMissing(t *testing.T) {
	s := newStrangers(t)
	_, err := s.Verify(ctx, "", createAccount)
	if !errors.Is(err, sessions.ErrMissingJWT) {
		t.Errorf("without a token: %v", err)
	}
	wantServiceAuth(t, err, "MissingJwt", "missing jwt")
}

func TestServiceTokensThatAreGood(t *testing.T) {
	s := newStrangers(t)
	minute := s.now.Add(time.Minute)
	trusted := []string{aliceDID, labeler}
	for name, c := range map[string]struct {
		token   string
		trusted []string
		want    sessions.ServiceAuth
	}{
		"secp256k1":           {s.token(s.alice), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: minute}},
		"P-256":               {s.token(s.bob, object{"iss": bobDID}), nil, sessions.ServiceAuth{Issuer: bobDID, Key: s.didKey(s.bob), ID: "one", Expires: minute}},
		"a trusted account":   {s.token(s.alice), trusted, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: minute}},
		"a trusted labeler":   {s.token(s.label, object{"iss": labeler}), trusted, sessions.ServiceAuth{Issuer: aliceDID, Service: "atproto_labeler", Key: s.didKey(s.label), ID: "one", Expires: minute}},
		"a service of ours":   {s.token(s.alice, object{"aud": pds + "#atproto_pds"}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: minute}},
		"an hour":             {s.token(s.alice, object{"exp": s.now.Add(time.Hour).Unix()}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: s.now.Add(time.Hour)}},
		"clocks that differ":  {s.token(s.alice, object{"exp": s.now.Add(time.Hour + 5*time.Second).Unix()}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: s.now.Add(time.Hour + 5*time.Second)}},
		"the longest ID":      {s.token(s.alice, object{"jti": strings.Repeat("x", 256)}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: strings.Repeat("x", 256), Expires: minute}},
		"no type":             {s.token(s.alice, object{"typ": nil}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: minute}},
		"a part of a second":  {s.token(s.alice, object{"exp": float64(s.now.Unix()) + 0.5}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: s.now.Add(time.Second / 2)}},
		"claims unknown here": {s.token(s.alice, object{"nonce": 1}), nil, sessions.ServiceAuth{Issuer: aliceDID, Key: s.didKey(s.alice), ID: "one", Expires: minute}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Verify(ctx, c.token, createAccount, c.trusted...)
			if err != nil || *got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	s.RequireID = false
	if got, err := s.Verify(ctx, s.token(s.alice, object{"jti": nil}), createAccount); err != nil || got.ID != "" {
		t.Errorf("without an ID, where none is asked for: %+v, %v", got, err)
	}
}

// TestServiceTokensRefusedUnasked has tokens that are refused without a question to the directory,
// so that nobody can have it asked for nothing.
func TestServiceTokensRefusedUnasked(t *testing.T) {
	s := newStrangers(t)
	good := s.token(s.alice)
	parts := strings.Split(good, ".")
	signature := func(b ...byte) string { return parts[0] + "." + parts[1] + "." + encode(b) }
	filled := func(r, s byte) []byte {
		b := make([]byte, 64)
		for i := range 32 {
			b[i], b[32+i] = r, s
		}
		return b
	}
	in := func(d time.Duration) object { return object{"exp": s.now.Add(d).Unix()} }
	const (
		form = "poorly formatted jwt"
		junk = "jwt signature does not match jwt issuer"
	)
	all, twin := domaintest.Spellings(t, good), domaintest.Spellings(t, s.token(s.bob, object{"iss": bobDID}))
	for name, c := range map[string]struct {
		token, err, text string
		trusted          []string
	}{
		"nonsense":                       {token: "nonsense", err: "BadJwt", text: form},
		"two parts":                      {token: parts[0] + "." + parts[1], err: "BadJwt", text: form},
		"empty parts":                    {token: "..", err: "BadJwt", text: form},
		"null":                           {token: encode([]byte("null")) + "." + encode([]byte("null")) + "." + parts[2], err: "BadJwt", text: form},
		"null claims":                    {token: parts[0] + "." + encode([]byte("null")) + "." + parts[2], err: "BadJwt", text: form},
		"a list of claims":               {token: parts[0] + "." + encode([]byte("[]")) + "." + parts[2], err: "BadJwt", text: form},
		"a very long one":                {token: s.token(s.alice, object{"x": strings.Repeat("x", 8<<10)}), err: "BadJwt", text: form},
		"padding":                        {token: all["padding"], err: "BadJwt", text: form},
		"unused bits":                    {token: all["unused bits"], err: "BadJwt", text: form},
		"a line break at the end":        {token: all["a line break at the end"], err: "BadJwt", text: form},
		"a line break within":            {token: all["a line break within"], err: "BadJwt", text: form},
		"base64 of another alphabet":     {token: all["base64 of another alphabet"], err: "BadJwt", text: form},
		"spaces around":                  {token: all["spaces around"], err: "BadJwt", text: form},
		"a fourth part":                  {token: all["a fourth part"], err: "BadJwt", text: form},
		"no algorithm":                   {token: s.token(s.alice, object{"alg": nil}), err: "BadJwt", text: form},
		"the algorithm none":             {token: s.token(s.alice, object{"alg": "none"}), err: "BadJwt", text: form},
		"the algorithm HS256":            {token: s.token(s.alice, object{"alg": "HS256"}), err: "BadJwt", text: form},
		"the algorithm ES384":            {token: s.token(s.alice, object{"alg": "ES384"}), err: "BadJwt", text: form},
		"an algorithm that is no text":   {token: s.token(s.alice, object{"alg": 1}), err: "BadJwt", text: form},
		"an access token":                {token: s.token(s.alice, object{"typ": "at+jwt"}), err: "BadJwt", text: form},
		"a refresh token":                {token: s.token(s.alice, object{"typ": "Refresh+JWT"}), err: "BadJwt", text: form},
		"a DPoP proof":                   {token: s.token(s.alice, object{"typ": "dpop+jwt"}), err: "BadJwt", text: form},
		"a critical extension":           {token: s.token(s.alice, object{"crit": []string{"b64"}}), err: "BadJwt", text: form},
		"no end":                         {token: s.token(s.alice, object{"exp": nil}), err: "BadJwt", text: form},
		"an end that is text":            {token: s.token(s.alice, object{"exp": "soon"}), err: "BadJwt", text: form},
		"no issuer":                      {token: s.token(s.alice, object{"iss": nil}), err: "BadJwt", text: form},
		"an issuer that is no text":      {token: s.token(s.alice, object{"iss": 1}), err: "BadJwt", text: form},
		"an issuer that is no DID":       {token: s.token(s.alice, object{"iss": "alice.test"}), err: "BadJwt", text: form},
		"just past":                      {token: s.token(s.alice, in(0)), err: "JwtExpired", text: "jwt expired"},
		"long past":                      {token: s.token(s.alice, in(-time.Hour)), err: "JwtExpired", text: "jwt expired"},
		"before all time":                {token: s.token(s.alice, object{"exp": -1e300}), err: "JwtExpired", text: "jwt expired"},
		"more than an hour":              {token: s.token(s.alice, in(time.Hour+6*time.Second)), err: "BadJwtExpiration", text: "jwt expires more than an hour from now"},
		"ten years":                      {token: s.token(s.alice, in(24*time.Hour*3650)), err: "BadJwtExpiration", text: "jwt expires more than an hour from now"},
		"for ever":                       {token: s.token(s.alice, object{"exp": 1e300}), err: "BadJwtExpiration", text: "jwt expires more than an hour from now"},
		"another audience":               {token: s.token(s.alice, object{"aud": "did:web:elsewhere.test"}), err: "BadJwtAudience", text: "jwt audience does not match service did"},
		"an audience that begins as we":  {token: s.token(s.alice, object{"aud": pds + "x"}), err: "BadJwtAudience", text: "jwt audience does not match service did"},
		"several audiences":              {token: s.token(s.alice, object{"aud": []string{pds}}), err: "BadJwtAudience", text: "jwt audience does not match service did"},
		"no audience":                    {token: s.token(s.alice, object{"aud": nil}), err: "BadJwtAudience", text: "jwt audience does not match service did"},
		"no method":                      {token: s.token(s.alice, object{"lxm": nil}), err: "BadJwtLexiconMethod", text: `missing jwt lexicon method ("lxm"). must match: ` + createAccount},
		"no method, for an hour":         {token: s.token(s.alice, in(time.Hour), object{"lxm": nil}), err: "BadJwtLexiconMethod", text: `missing jwt lexicon method ("lxm"). must match: ` + createAccount},
		"another method":                 {token: s.token(s.alice, object{"lxm": "com.atproto.server.getSession"}), err: "BadJwtLexiconMethod", text: `bad jwt lexicon method ("lxm"). must match: ` + createAccount},
		"the method in another case":     {token: s.token(s.alice, object{"lxm": strings.ToLower(createAccount)}), err: "BadJwtLexiconMethod", text: `bad jwt lexicon method ("lxm"). must match: ` + createAccount},
		"no ID":                          {token: s.token(s.alice, object{"jti": nil}), err: "BadJwt", text: `missing jwt id ("jti")`},
		"an empty ID":                    {token: s.token(s.alice, object{"jti": ""}), err: "BadJwt", text: `missing jwt id ("jti")`},
		"an ID that is no text":          {token: s.token(s.alice, object{"jti": 1}), err: "BadJwt", text: `missing jwt id ("jti")`},
		"a long ID":                      {token: s.token(s.alice, object{"jti": strings.Repeat("x", 257)}), err: "BadJwt", text: `jwt id ("jti") is too long`},
		"a labeler":                      {token: s.token(s.label, object{"iss": labeler}), err: "UntrustedIss", text: "Untrusted issuer"},
		"the account, named as service":  {token: s.token(s.alice, object{"iss": aliceDID + "#atproto"}), err: "UntrustedIss", text: "Untrusted issuer"},
		"an empty service":               {token: s.token(s.alice, object{"iss": aliceDID + "#"}), err: "UntrustedIss", text: "Untrusted issuer"},
		"a service of no kind":           {token: s.token(s.alice, object{"iss": labeler + "#atproto_labeler"}), err: "UntrustedIss", text: "Untrusted issuer"},
		"a stranger":                     {token: s.token(s.bob, object{"iss": bobDID}), err: "UntrustedIss", text: "Untrusted issuer", trusted: []string{aliceDID, labeler}},
		"the account for its labeler":    {token: good, err: "UntrustedIss", text: "Untrusted issuer", trusted: []string{labeler}},
		"the labeler for its account":    {token: s.token(s.label, object{"iss": labeler}), err: "UntrustedIss", text: "Untrusted issuer", trusted: []string{aliceDID}},
		"a trusted service without key":  {token: s.token(s.alice, object{"iss": aliceDID + "#bsky_chat"}), err: "UntrustedIss", text: "Untrusted issuer", trusted: []string{aliceDID + "#bsky_chat"}},
		"a trusted service without name": {token: s.token(s.alice, object{"iss": aliceDID + "#"}), err: "UntrustedIss", text: "Untrusted issuer", trusted: []string{aliceDID + "#"}},
		"no signature":                   {token: signature(), err: "BadJwtSignature", text: junk},
		"a signature in DER":             {token: signature(append([]byte{0x30, 0x44, 2, 32}, filled(1, 1)...)...), err: "BadJwtSignature", text: junk},
		"a short signature":              {token: signature(filled(1, 1)[:63]...), err: "BadJwtSignature", text: junk},
		"a long signature":               {token: signature(append(filled(1, 1), 0)...), err: "BadJwtSignature", text: junk},
		"zeros for a signature":          {token: signature(make([]byte, 64)...), err: "BadJwtSignature", text: junk},
		"r of zero":                      {token: signature(filled(0, 1)...), err: "BadJwtSignature", text: junk},
		"s of zero":                      {token: signature(filled(1, 0)...), err: "BadJwtSignature", text: junk},
		"r beyond the order":             {token: signature(filled(255, 1)...), err: "BadJwtSignature", text: junk},
		"the high-S twin on secp256k1":   {token: all["the high-S twin"], err: "BadJwtSignature", text: junk},
		"the high-S twin on P-256":       {token: twin["the high-S twin"], err: "BadJwtSignature", text: junk},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Verify(ctx, c.token, createAccount, c.trusted...)
			wantServiceAuth(t, err, c.err, c.text)
			if s.asked != 0 {
				t.Errorf("the directory was asked")
				s.asked = 0
			}
		})
	}
}

// TestServiceTokensThatTheDocumentRefuses has tokens in which only the issuer or the key is wrong.
func TestServiceTokensThatTheDocumentRefuses(t *testing.T) {
	const junk = "jwt signature does not match jwt issuer"
	s := newStrangers(t)
	good := domaintest.Spellings(t, s.token(s.alice))
	unsigned := func(token string) string { return token[:strings.LastIndexByte(token, '.')] }
	other := s.token(s.alice, object{"jti": "two"})
	for name, c := range map[string]struct {
		token, err, text string
		trusted          []string
	}{
		"an unknown DID":                {token: s.token(s.alice, object{"iss": "did:plc:cccccccccccccccccccccccc"}), err: "AuthenticationRequired", text: "could not resolve iss did"},
		"a DID that nobody resolves":    {token: s.token(s.alice, object{"iss": "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"}), err: "AuthenticationRequired", text: "could not resolve iss did"},
		"a DID without the key":         {token: s.token(s.bob, object{"iss": bobDID + "#atproto_labeler"}), err: "AuthenticationRequired", text: "missing or bad key in did doc", trusted: []string{bobDID + "#atproto_labeler"}},
		"another's key":                 {token: s.token(s.bob), err: "BadJwtSignature", text: junk},
		"the labeler's key":             {token: s.token(s.label), err: "BadJwtSignature", text: junk},
		"the account's for the labeler": {token: s.token(s.alice, object{"iss": labeler}), err: "BadJwtSignature", text: junk, trusted: []string{labeler}},
		"an algorithm of another curve": {token: s.token(s.bob, object{"iss": bobDID, "alg": "ES256K"}), err: "BadJwtSignature", text: junk},
		"the other algorithm":           {token: s.token(s.alice, object{"alg": "ES256"}), err: "BadJwtSignature", text: junk},
		"a header that was made longer": {token: good["a space in its header"], err: "BadJwtSignature", text: junk},
		"claims that were made longer":  {token: good["a space in its claims"], err: "BadJwtSignature", text: junk},
		"another token's signature":     {token: unsigned(s.token(s.alice)) + strings.TrimPrefix(other, unsigned(other)), err: "BadJwtSignature", text: junk},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Verify(ctx, c.token, createAccount, c.trusted...)
			wantServiceAuth(t, err, c.err, c.text)
		})
	}
}

// TestServiceTokenOfAChangedKey changes the key in a document that is remembered: the first token
// that the new key signed has the document read again.
func TestServiceTokenOfAChangedKey(t *testing.T) {
	s := newStrangers(t)
	verify := func(token string) error { _, err := s.Verify(ctx, token, createAccount); return err }
	if err := verify(s.token(s.alice)); err != nil || s.asked != 1 {
		t.Fatalf("%v, asked %d times", err, s.asked)
	}
	keys := maps.Clone(s.documents[aliceDID])
	keys["atproto"] = s.didKey(s.bob)
	s.documents[aliceDID] = keys
	s.now = s.now.Add(time.Minute)
	if err := verify(s.token(s.bob)); err != nil || s.asked != 2 {
		t.Errorf("the new key: %v, asked %d times", err, s.asked)
	}
	s.now = s.now.Add(time.Minute)
	wantServiceAuth(t, verify(s.token(s.alice)), "BadJwtSignature", "jwt signature does not match jwt issuer")
	if s.asked != 3 {
		t.Errorf("asked %d times", s.asked)
	}
}
