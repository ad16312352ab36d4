package gatehouse_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// startNamed starts a server with some names, stops it, and returns it with its log.
func startNamed(t *testing.T, hostname, publicURL string, domains ...string) (*gatehouse.Server, string) {
	t.Helper()
	var log strings.Builder
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	directory, err := did.NewLocal(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
		Hostname: hostname, PublicURL: publicURL, HandleDomains: domains, DIDs: gatehouse.DIDs{Directory: directory},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatalf("%s, %s, %q: %v", hostname, publicURL, domains, err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	return srv, log.String()
}

func TestNamesAreNormalized(t *testing.T) {
	for _, c := range []struct{ hostname, publicURL, did, endpoint string }{
		{"pds.example.com", "", "did:web:pds.example.com", "https://pds.example.com"},
		{"PDS.Example.COM", "", "did:web:pds.example.com", "https://pds.example.com"},
		{" pds.example.com.\n", " https://PDS.example.com./\n", "did:web:pds.example.com", "https://pds.example.com"},
		{"pds.example.com:443", "", "did:web:pds.example.com", "https://pds.example.com"},
		{"pds.example.com:80", "", "did:web:pds.example.com", "https://pds.example.com"},
		{"pds.example.com", "https://Pds.Example.com:443/", "did:web:pds.example.com", "https://pds.example.com"},
		{"pds.example.com", "https://pds.example.com:8443", "did:web:pds.example.com", "https://pds.example.com:8443"},
		{"pds.example.com", "http://pds.example.com:80", "did:web:pds.example.com", "http://pds.example.com"},
		{"LocalHost", "", "did:web:localhost", "http://localhost"},
		{"localhost.", "", "did:web:localhost", "http://localhost"},
		{"LOCALHOST:2583", "", "did:web:localhost%3A2583", "http://localhost:2583"},
		{"localhost:80", "", "did:web:localhost", "http://localhost"},
		{"localhost:443", "", "did:web:localhost", "https://localhost"},
		{"localhost", "HTTP://[0:0::1]:2583/", "did:web:localhost", "http://[::1]:2583"},
		{"127.0.0.1:2583", "", "did:web:127.0.0.1%3A2583", "http://127.0.0.1:2583"},
		{"pds.münchen.com", "", "did:web:pds.xn--mnchen-3ya.com", "https://pds.xn--mnchen-3ya.com"},
		{"pds.example.com", "https://PDS.München.com", "did:web:pds.example.com", "https://pds.xn--mnchen-3ya.com"},
	} {
		srv, log := startNamed(t, c.hostname, c.publicURL, ".example.com")
		if srv.ServiceDID() != c.did || srv.Accounts.PublicURL() != c.endpoint {
			t.Errorf("%q, %q: %s, %s; want %s, %s", c.hostname, c.publicURL, srv.ServiceDID(), srv.Accounts.PublicURL(), c.did, c.endpoint)
		}
		if strings.Contains(log, "is public") {
			t.Errorf("%q, %q: %s", c.hostname, c.publicURL, log)
		}
	}
}

func TestHandleDomainsAreNormalized(t *testing.T) {
	raw := []string{".Example.COM", "example.com", " .example.com. ", "münchen.com", ".XN--mnchen-3ya.com"}
	srv, _ := startNamed(t, "localhost", "", raw...)
	if got, want := srv.Accounts.Handles().Domains(), []string{".example.com", ".xn--mnchen-3ya.com"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if raw[0] != ".Example.COM" {
		t.Error("the caller's list has changed")
	}
}

func TestNamesThatDontMatchAreLogged(t *testing.T) {
	const localName, localURL = "PublicURL is public and Hostname is local", "Hostname is public and PublicURL is local"
	for _, c := range []struct{ hostname, publicURL, want string }{
		{"localhost", "https://pds.example.com", localName},
		{"Localhost.", "https://PDS.example.com:443/", localName},
		{"pds.test", "http://192.0.2.1:2583", localName},
		{"localhost", "http://[2001:db8::1]", localName},
		{"pds.example.com", "http://localhost:2583", localURL},
		{"pds.example.com", "http://[::1]:2583", localURL},
		{"pds.example.com", "https://www.example.com", ""},
		{"localhost", "http://127.0.0.1:2583", ""},
		{"localhost", "http://[::1]:2583", ""},
		{"localhost", "http://192.168.1.2:2583", ""},
		{"localhost", "http://[fe80::1]:2583", ""},
		{"localhost", "http://pds:2583", ""},
		{"localhost", "http://pds.local", ""},
		{"localhost", "http://pds.test", ""},
	} {
		_, log := startNamed(t, c.hostname, c.publicURL, ".test")
		if got := strings.Contains(log, "is public and"); got != (c.want != "") || !strings.Contains(log, c.want) {
			t.Errorf("%s, %s: %q; want %q", c.hostname, c.publicURL, log, c.want)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for name, local := range map[string]bool{
		"localhost": true, "LocalHost.": true, "a.TEST:80": true, "example": true, "127.0.0.1:2583": true, "127.1.2.3": true, "::1": true,
		"[::1]:2583": true, " localhost\n": true, "ｌｏｃａｌｈｏｓｔ": true,
		"": false, ":80": false, "example.com": false, "localhost.com": false, "notlocalhost": false, "test.": true, "[::2]": false,
		"10.0.0.1": false, "https://localhost": false, "user@localhost": false, "localhost/": false,
	} {
		if got := gatehouse.IsLocal(name); got != local {
			t.Errorf("%q: %t", name, got)
		}
	}
}
