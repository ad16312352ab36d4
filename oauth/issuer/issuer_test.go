package issuer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/issuer"
	"github.com/gatehouse-at/gatehouse/sessions"
)

const (
	entryway = "https://entryway.example.com"
	metadata = entryway + "/.well-known/oauth-authorization-server"
	keySet   = entryway + "/oauth/jwks"
)

var ctx = context.Background()

// server is the authorization server of a test: documents by URL.
type server struct {
	mu    sync.Mutex
	docs  map[string]string
	err   error
	now   time.Time
	asked int
}

func (s *server) Get(_ context.Context, url string, _ int64) (*client.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	doc, found := s.docs[url]
	switch {
	case s.err != nil:
		return nil, s.err
	case !found:
		return nil, client.ErrUnfit
	}
	return &client.Document{Body: []byte(doc), ContentType: "application/json", Lifetime: client.Unsaid}, nil
}

func newKeys(t *testing.T) (*issuer.Keys, *server) {
	t.Helper()
	s := &server{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.docs = map[string]string{metadata: `{"issuer":"` + entryway + `","jwks_uri":"` + keySet + `"}`}
	k, err := issuer.New(issuer.Config{Issuer: entryway, Fetcher: s, Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	return k, s
}

func newKey(t *testing.T) *ecdsa.PublicKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

// publish replaces the keys of the server.
func (s *server) publish(t *testing.T, keys map[string]*ecdsa.PublicKey) {
	t.Helper()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for id, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k, KeyID: id, Algorithm: "ES256", Use: "sig"})
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	s.docs[keySet] = string(raw)
}

func TestConfigIsChecked(t *testing.T) {
	for _, origin := range []string{
		"", "entryway.example.com", "https://", "http://entryway.example.com", "https://entryway.example.com/", "https://entryway.example.com/oauth", "https://entryway.example.com:443",
		"https://Entryway.example.com", "https://a@entryway.example.com", "https://entryway.example.com?a", "https://entryway.example.com#a", "http://127.0.0.1:80", "https://entryway.example.com:",
	} {
		if _, err := issuer.New(issuer.Config{Issuer: origin, Fetcher: &server{}}); err == nil || !strings.Contains(err.Error(), "Config.Issuer") {
			t.Errorf("%q: %v", origin, err)
		}
	}
	for _, origin := range []string{entryway, "https://entryway.example.com:8443", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"} {
		if _, err := issuer.New(issuer.Config{Issuer: origin, Fetcher: &server{}}); err != nil {
			t.Errorf("%q: %v", origin, err)
		}
	}
	if _, err := issuer.New(issuer.Config{Issuer: entryway}); err == nil {
		t.Error("no error without a fetcher")
	}
}

func expect(t *testing.T, k *issuer.Keys, kid, alg string, want *ecdsa.PublicKey, wantErr error) {
	t.Helper()
	got, err := k.Key(ctx, kid, alg)
	if public, ok := got.(*ecdsa.PublicKey); !errors.Is(err, wantErr) || want != nil && (!ok || !public.Equal(want)) || want == nil && got != nil {
		t.Errorf("%q for %s: %v, %v; want %v", kid, alg, got, err, wantErr)
	}
}

func TestKeysAreFoundAndCached(t *testing.T) {
	k, s := newKeys(t)
	one := newKey(t)
	s.publish(t, map[string]*ecdsa.PublicKey{"one": one})
	for range 10 {
		expect(t, k, "one", "ES256", one, nil)
		expect(t, k, "", "ES256", one, nil)
	}
	if s.asked != 2 {
		t.Errorf("%d requests; want 2", s.asked)
	}
	for alg, kid := range map[string]string{"ES384": "one", "RS256": "", "none": "one", "HS256": "one", "": "one"} {
		expect(t, k, kid, alg, nil, sessions.ErrUnknownKey)
	}
}

// TestAKeyIsRotated: a token by a new key is verified at once, and one by an old key no longer when
// the keys have been fetched anew.
func TestAKeyIsRotated(t *testing.T) {
	k, s := newKeys(t)
	one, two := newKey(t), newKey(t)
	s.publish(t, map[string]*ecdsa.PublicKey{"one": one})
	expect(t, k, "one", "ES256", one, nil)
	s.publish(t, map[string]*ecdsa.PublicKey{"one": one, "two": two})
	s.now = s.now.Add(30 * time.Second)
	expect(t, k, "two", "ES256", two, nil)
	expect(t, k, "", "ES256", nil, sessions.ErrUnknownKey) // there are two
	s.publish(t, map[string]*ecdsa.PublicKey{"two": two})
	s.now = s.now.Add(10 * time.Minute)
	expect(t, k, "one", "ES256", nil, sessions.ErrUnknownKey)
}

// TestAFloodOfUnknownKeys: whoever sends tokens with invented kids causes two requests a minute.
func TestAFloodOfUnknownKeys(t *testing.T) {
	k, s := newKeys(t)
	s.publish(t, map[string]*ecdsa.PublicKey{"one": newKey(t)})
	for i := range 100 {
		expect(t, k, strings.Repeat("x", i+1), "ES256", nil, sessions.ErrUnknownKey)
	}
	if s.asked != 2 {
		t.Errorf("%d requests; want 2", s.asked)
	}
	s.now = s.now.Add(30 * time.Second)
	for i := range 100 {
		expect(t, k, strings.Repeat("x", i+1), "ES256", nil, sessions.ErrUnknownKey)
	}
	if s.asked != 4 {
		t.Errorf("%d requests; want 4", s.asked)
	}
}

// TestTheServerIsDown: known keys are good for a day, and nothing is said about others.
func TestTheServerIsDown(t *testing.T) {
	k, s := newKeys(t)
	one := newKey(t)
	s.err = client.ErrUnreachable
	expect(t, k, "one", "ES256", nil, issuer.ErrUnavailable)
	s.now = s.now.Add(5 * time.Second)
	s.err = nil
	s.publish(t, map[string]*ecdsa.PublicKey{"one": one})
	expect(t, k, "one", "ES256", one, nil)
	for _, outage := range []error{client.ErrUnreachable, client.ErrUnfit, errors.New("something else")} {
		s.err = outage
		s.now = s.now.Add(time.Hour)
		expect(t, k, "one", "ES256", one, nil)
		expect(t, k, "two", "ES256", nil, issuer.ErrUnavailable)
	}
	s.now = s.now.Add(24 * time.Hour)
	expect(t, k, "one", "ES256", nil, issuer.ErrUnavailable)
}

// TestAnswersOfAnotherServer: metadata and keys that can't be the issuer's aren't used.
func TestAnswersOfAnotherServer(t *testing.T) {
	for name, document := range map[string]string{
		"another issuer":         `{"issuer":"https://evil.example.net","jwks_uri":"` + keySet + `"}`,
		"an issuer with a slash": `{"issuer":"` + entryway + `/","jwks_uri":"` + keySet + `"}`,
		"no issuer":              `{"jwks_uri":"` + keySet + `"}`,
		"two issuers":            `{"issuer":"https://evil.example.net","issuer":"` + entryway + `","jwks_uri":"` + keySet + `"}`,
		"no keys":                `{"issuer":"` + entryway + `"}`,
		"keys elsewhere":         `{"issuer":"` + entryway + `","jwks_uri":"https://evil.example.net/oauth/jwks"}`,
		"keys by http":           `{"issuer":"` + entryway + `","jwks_uri":"http://entryway.example.com/oauth/jwks"}`,
		"keys at another port":   `{"issuer":"` + entryway + `","jwks_uri":"https://entryway.example.com:8443/oauth/jwks"}`,
		"keys at a longer name":  `{"issuer":"` + entryway + `","jwks_uri":"https://entryway.example.com.evil.net/oauth/jwks"}`,
		"keys with a user":       `{"issuer":"` + entryway + `","jwks_uri":"https://entryway.example.com@evil.net/oauth/jwks"}`,
		"keys of another type":   `{"issuer":"` + entryway + `","jwks_uri":{}}`,
		"HTML":                   `<!doctype html>`,
	} {
		k, s := newKeys(t)
		one := newKey(t)
		s.publish(t, map[string]*ecdsa.PublicKey{"one": one})
		s.docs["https://evil.example.net/oauth/jwks"] = s.docs[keySet]
		s.docs[metadata] = document
		if got, err := k.Key(ctx, "one", "ES256"); !errors.Is(err, issuer.ErrUnavailable) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	k, s := newKeys(t)
	s.docs[keySet] = `{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}`
	expect(t, k, "one", "HS256", nil, issuer.ErrUnavailable)
}

func TestTheCallersContextEnds(t *testing.T) {
	k, _ := newKeys(t)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := k.Key(gone, "one", "ES256"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
