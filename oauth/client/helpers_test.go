package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

var ctx = context.Background()

const (
	issuer = "https://pds.example.com"
	appID  = "https://app.example.com/client.json"
)

// network is the network of a test: documents by URL. It is a client.Fetcher.
type network struct {
	mu    sync.Mutex
	docs  map[string]string
	errs  map[string]error
	kind  string        // default application/json
	fresh time.Duration // as the headers say
	asked map[string]int
}

func (n *network) Get(_ context.Context, url string, maxBytes int64) (*client.Document, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[url]++
	if err := n.errs[url]; err != nil {
		return nil, err
	}
	doc, found := n.docs[url]
	if !found {
		return nil, public{client.ErrUnfit, "it answered with the status 404 Not Found, and 200 is needed"}
	}
	if int64(len(doc)) > maxBytes {
		return nil, public{client.ErrUnfit, "it is too large"}
	}
	kind := "application/json"
	if n.kind != "" {
		kind = n.kind
	}
	return &client.Document{Body: []byte(doc), ContentType: kind, Lifetime: n.fresh}, nil
}

// public is an error with a message for developers.
type public struct {
	error
	text string
}

func (p public) PublicMessage() string { return p.text }
func (p public) Unwrap() error         { return p.error }

var errOutage = public{client.ErrUnreachable, "its server didn't answer within 10s"}

type clock struct{ now time.Time }

func (c *clock) add(d time.Duration) { c.now = c.now.Add(d) }

// newRegistry returns a registry in a network without documents.
func newRegistry(t *testing.T, change func(*client.Config)) (*client.Registry, *network, *clock) {
	t.Helper()
	n := &network{docs: map[string]string{}, errs: map[string]error{}, asked: map[string]int{}, fresh: client.Unsaid}
	at := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	cfg := client.Config{Fetcher: n, Issuer: issuer, Now: func() time.Time { return at.now }}
	if change != nil {
		change(&cfg)
	}
	r, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, n, at
}

// with is a change of a document: a nil value removes a member.
type with map[string]any

// document is the document of a public web client, with changes.
func document(t *testing.T, changes with) string {
	t.Helper()
	m := map[string]any{
		"client_id": appID, "client_name": "App", "client_uri": "https://app.example.com", "redirect_uris": []string{"https://app.example.com/callback"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "scope": "atproto transition:generic",
		"token_endpoint_auth_method": "none", "application_type": "web", "dpop_bound_access_tokens": true,
	}
	maps.Copy(m, changes)
	for name, value := range m {
		if value == nil {
			delete(m, name)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// signer is a key of a confidential client.
type signer struct {
	*ecdsa.PrivateKey
	id string
}

func newSigner(t *testing.T, id string) signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k, id}
}

// set is the public keys of signers as a JWKS.
func set(t *testing.T, keys ...signer) json.RawMessage {
	t.Helper()
	s := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		s.Keys = append(s.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: k.id, Algorithm: "ES256", Use: "sig"})
	}
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// confidential is the document of a confidential client.
func confidential(t *testing.T, changes with) string {
	t.Helper()
	all := with{"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256"}
	maps.Copy(all, changes)
	return document(t, all)
}

func message(err error) string {
	var p interface{ PublicMessage() string }
	if errors.As(err, &p) {
		return p.PublicMessage()
	}
	return ""
}

// expectError checks the kind of an error and a part of its message for developers.
func expectError(t *testing.T, err, kind error, want string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(message(err), want) {
		t.Errorf("got %v; want %v with %q", err, kind, want)
	}
}
