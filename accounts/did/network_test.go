package did_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// web is a transport that answers for all hosts.
type web func(*http.Request) (status int, body string)

func (w web) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := w(r)
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Location": {"https://elsewhere.example.com/"}},
	}, nil
}

func TestNetworkResolvesWebDIDs(t *testing.T) {
	const document = `{"id":"did:web:alice.example.com"}`
	for _, c := range []struct {
		name   string
		id     syntax.DID
		status int
		body   string
		want   error
	}{
		{"a document", "did:web:alice.example.com", 200, document, nil},
		{"nothing there", "did:web:alice.example.com", 404, "", did.ErrNotFound},
		{"a failure", "did:web:alice.example.com", 500, "", did.ErrUnavailable},
		{"no connection", "did:web:alice.example.com", 0, "", did.ErrUnavailable},
		{"a redirect", "did:web:alice.example.com", 302, "", did.ErrUnavailable},
		{"too much", "did:web:alice.example.com", 200, document + strings.Repeat(" ", 64<<10), did.ErrUnavailable},
		{"another method", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 200, document, did.ErrNotFound},
		{"not a host name", "did:web:alice.example.com:path", 200, document, did.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := did.NewNetwork(web(func(r *http.Request) (int, string) {
				if r.URL.String() != "https://alice.example.com/.well-known/did.json" || r.UserAgent() != "test" {
					t.Errorf("%s asks for %s", r.UserAgent(), r.URL)
				}
				return c.status, c.body
			}), "test")
			doc, err := n.ResolveDID(ctx, c.id)
			if !errors.Is(err, c.want) || c.want == nil && (err != nil || string(doc) != document) {
				t.Errorf("%s, %v; want %v", doc, err, c.want)
			}
		})
	}
}

// TestNetworkStaysOutside resolves names of hosts in the server's own network.
func TestNetworkStaysOutside(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for", r.URL)
	}))
	defer inside.Close()
	n := did.NewNetwork(nil, "test")
	for _, host := range []string{"localhost", "127.0.0.1", strings.ReplaceAll(strings.TrimPrefix(inside.URL, "http://"), ":", "%3A"), "alice.localhost", "alice.internal"} {
		if doc, err := n.ResolveDID(ctx, syntax.DID("did:web:"+host)); err == nil {
			t.Errorf("%s: %s", host, doc)
		}
	}
	for _, h := range []syntax.Handle{"alice.localhost", "alice.internal", "alice.onion"} {
		if id, err := n.ResolveHandle(ctx, h); !errors.Is(err, did.ErrNotFound) {
			t.Errorf("%s: %s, %v", h, id, err)
		}
	}
}
