package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*client.Config)
		want   string
	}{
		"no fetcher":                {func(c *client.Config) { c.Fetcher = nil }, "Fetcher"},
		"no issuer":                 {func(c *client.Config) { c.Issuer = "" }, "Issuer"},
		"a trusted host":            {func(c *client.Config) { c.Trusted = []string{"app.example.com"} }, "Trusted"},
		"a trusted program":         {func(c *client.Config) { c.Trusted = []string{"http://localhost"} }, "which anybody's program can be"},
		"a refused URL with a port": {func(c *client.Config) { c.Refused = []string{"https://app.example.com:1/"} }, "Refused"},
		"a refused nothing":         {func(c *client.Config) { c.Refused = []string{""} }, "Refused"},
		"a negative size":           {func(c *client.Config) { c.Size = -1 }, "size"},
	} {
		cfg := client.Config{Fetcher: &network{}, Issuer: issuer}
		c.change(&cfg)
		if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestClient(t *testing.T) {
	const other = "https://other.example.com/client.json"
	r, n, _ := newRegistry(t, func(c *client.Config) { c.Trusted = []string{other} })
	n.docs[appID] = document(t, nil)
	n.docs[other] = document(t, with{"client_id": other, "client_name": "Other", "client_uri": nil, "grant_types": []string{"authorization_code"}})
	c, err := r.Get(ctx, appID)
	if err != nil || c.ID != appID || c.Host != "app.example.com" || c.Trusted || c.Local || c.Name() != "app.example.com" || c.Confidential() || !c.Refreshes() ||
		!slices.Equal(c.Undeclared([]string{"transition:generic", "transition:chat.bsky", "atproto", ""}), []string{"transition:chat.bsky", ""}) {
		t.Errorf("got %+v, %v", c, err)
	}
	c, err = r.Get(ctx, other)
	if err != nil || !c.Trusted || c.Name() != "Other" || c.Refreshes() {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestRefusedClients(t *testing.T) {
	r, n, _ := newRegistry(t, func(c *client.Config) {
		c.Refused = []string{"https://app.example.com/bad.json", "Evil.example.net", "localhost", "https://trusted.example.com/client.json"}
		c.Trusted = []string{"https://trusted.example.com/client.json"}
	})
	for _, id := range []string{
		"https://app.example.com/bad.json", "https://evil.example.net/client.json", "https://a.b.evil.example.net/client.json", "http://localhost", "http://localhost/?scope=atproto",
		"https://trusted.example.com/client.json",
	} {
		_, err := r.Get(ctx, id)
		expectError(t, err, client.ErrRefused, "The operator of this server doesn't admit the application")
		_, err = r.Authenticate(ctx, client.Credentials{ClientID: id})
		expectError(t, err, client.ErrRefused, "")
	}
	if len(n.asked) > 0 {
		t.Errorf("%v was fetched", n.asked)
	}
	for _, id := range []string{appID, "https://notevil.example.net/client.json", "https://example.net/client.json"} {
		if _, err := r.Get(ctx, id); errors.Is(err, client.ErrRefused) {
			t.Errorf("%s is refused", id)
		}
	}
}

// TestDocumentsAreCachedWithinBounds: as their headers say, from a minute to an hour.
func TestDocumentsAreCachedWithinBounds(t *testing.T) {
	for said, want := range map[time.Duration]time.Duration{
		client.Unsaid: 10 * time.Minute, 0: time.Minute, 30 * time.Minute: 30 * time.Minute, 48 * time.Hour: time.Hour,
	} {
		r, n, at := newRegistry(t, nil)
		n.docs[appID], n.fresh = document(t, nil), said
		get := func(asked int) {
			t.Helper()
			if _, err := r.Get(ctx, appID); err != nil || n.asked[appID] != asked {
				t.Errorf("lifetime %v: asked %d times, %v; want %d", said, n.asked[appID], err, asked)
			}
		}
		get(1)
		at.add(want - time.Second)
		get(1)
		at.add(time.Second)
		get(2)
	}
}

// TestTheServerOfAClientIsDown: the document from before does for a day.
func TestTheServerOfAClientIsDown(t *testing.T) {
	r, n, at := newRegistry(t, nil)
	n.errs[appID] = errOutage
	_, err := r.Get(ctx, appID)
	expectError(t, err, client.ErrInvalidMetadata, `the client metadata document "https://app.example.com/client.json" can't be used: its server didn't answer within 10s`)
	expectError(t, err, client.ErrUnreachable, "")
	if _, err := r.Get(ctx, appID); !errors.Is(err, client.ErrUnreachable) || n.asked[appID] != 1 {
		t.Errorf("%v after %d requests: the error isn't cached", err, n.asked[appID])
	}
	at.add(5 * time.Second)
	n.errs[appID], n.docs[appID] = nil, document(t, nil)
	if _, err := r.Get(ctx, appID); err != nil {
		t.Fatal(err)
	}
	n.errs[appID] = errOutage
	at.add(24 * time.Hour)
	if c, err := r.Get(ctx, appID); err != nil || c.Host != "app.example.com" {
		t.Errorf("within a day: %v, %v", c, err)
	}
	at.add(10 * time.Minute)
	_, err = r.Get(ctx, appID)
	expectError(t, err, client.ErrUnreachable, "")
}

// TestADocumentThatTurnsHostile: a document that is there and isn't fit is refused at once,
// whatever it was before.
func TestADocumentThatTurnsHostile(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		kind     string
		err      error
		want     error
		message  string
	}{
		"gone":                     {"", "", public{client.ErrUnfit, "it answered with the status 404 Not Found, and 200 is needed"}, client.ErrInvalidMetadata, "404 Not Found"},
		"redirecting":              {"", "", public{client.ErrUnfit, "it answered with the status 302 Found, and redirects aren't followed"}, client.ErrInvalidMetadata, "redirects aren't followed"},
		"huge":                     {strings.Repeat(" ", client.MaxDocument+1), "", nil, client.ErrInvalidMetadata, "it is too large"},
		"at a private address":     {"", "", public{client.ErrUnfit, "the addresses of its host aren't public"}, client.ErrInvalidMetadata, "aren't public"},
		"of another type":          {document(t, nil), "application/manifest+json", nil, client.ErrInvalidMetadata, "its Content-Type must be application/json"},
		"of another client":        {document(t, with{"client_id": "https://bank.example.com/client.json"}), "", nil, client.ErrInvalidMetadata, "must be the URL of the document"},
		"answered elsewhere":       {document(t, with{"redirect_uris": []string{"http://evil.example.net/"}}), "", nil, client.ErrInvalidRedirect, "redirect URI"},
		"broken":                   {"{", "", nil, client.ErrInvalidMetadata, "it isn't valid JSON"},
		"an error of another kind": {"", "", errors.New("secret detail of the network"), client.ErrInvalidMetadata, "can't be used: it couldn't be fetched"},
	} {
		r, n, at := newRegistry(t, nil)
		n.docs[appID] = document(t, nil)
		if _, err := r.Get(ctx, appID); err != nil {
			t.Fatal(err)
		}
		n.docs[appID], n.kind, n.errs[appID] = c.document, c.kind, c.err
		at.add(10 * time.Minute)
		_, err := r.Get(ctx, appID)
		if !errors.Is(err, c.want) || !strings.Contains(message(err), c.message) || strings.Contains(message(err), "secret") || errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestALongAndHostileIDInMessages: what a client writes is cut and cleaned before it is quoted.
func TestALongAndHostileIDInMessages(t *testing.T) {
	r, _, _ := newRegistry(t, nil)
	for _, id := range []string{"https://example.com:1/" + strings.Repeat("a", 900), "x\x1b[31m\r\nSet-Cookie: a", strings.Repeat("\x00", 1000)} {
		_, err := r.Get(ctx, id)
		if m := message(err); m == "" || len(m) > 1000 || strings.ContainsAny(m, "\r\n\x1b\x00") {
			t.Errorf("got %q", m)
		}
	}
}

func TestTheCallersContextEnds(t *testing.T) {
	r, n, _ := newRegistry(t, nil)
	n.docs[appID] = document(t, nil)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Get(gone, appID); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrInvalidMetadata) {
		t.Errorf("got %v", err)
	}
}

// TestTheCacheIsBounded: somebody with many documents gets the others' evicted, and no more memory.
func TestTheCacheIsBounded(t *testing.T) {
	r, n, _ := newRegistry(t, func(c *client.Config) { c.Size = 10 })
	for i := range 30 {
		id := fmt.Sprintf("https://app.example.com/%d.json", i)
		n.docs[id] = document(t, with{"client_id": id})
		if _, err := r.Get(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		id := fmt.Sprintf("https://app.example.com/%d.json", 29-i)
		if _, err := r.Get(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, times := range n.asked {
		total += times
	}
	if total != 50 {
		t.Errorf("%d requests; want 30, and 20 for what had been evicted", total)
	}
}

// TestALoopbackClient: on a server that is itself on loopback, the document may be there too.
func TestALoopbackClient(t *testing.T) {
	const id = "http://127.0.0.1:8080/client.json"
	r, n, _ := newRegistry(t, func(c *client.Config) { c.AllowLoopback = true })
	for name, c := range map[string]struct {
		changes with
		want    error
	}{
		"web":                     {with{"redirect_uris": []string{"http://127.0.0.1:8080/callback"}}, nil},
		"web, keys":               {with{"redirect_uris": []string{"http://127.0.0.1:8080/callback"}, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://127.0.0.1:8080/jwks"}, nil},
		"web, at another port":    {with{"redirect_uris": []string{"http://127.0.0.1:8081/callback"}}, client.ErrInvalidRedirect},
		"native, at another port": {with{"redirect_uris": []string{"http://127.0.0.1:8081/callback"}, "application_type": "native"}, nil},
		"http elsewhere":          {with{"redirect_uris": []string{"http://app.example.com/"}}, client.ErrInvalidRedirect},
		"own scheme":              {with{"redirect_uris": []string{"1.0.0.127:/"}, "application_type": "native"}, client.ErrInvalidRedirect},
		"keys by http elsewhere":  {with{"redirect_uris": []string{"http://127.0.0.1:8080/"}, "jwks_uri": "http://app.example.com/jwks"}, client.ErrInvalidMetadata},
	} {
		at := id + "?" + strings.NewReplacer(" ", "", ",", "").Replace(name)
		changes := with{"client_id": at, "client_uri": nil}
		for k, v := range c.changes {
			changes[k] = v
		}
		n.docs[at] = document(t, changes)
		got, err := r.Get(ctx, at)
		if !errors.Is(err, c.want) || c.want == nil && (got.Host != "127.0.0.1:8080" || got.Local || got.Trusted) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
