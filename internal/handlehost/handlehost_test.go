package handlehost

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/handle"
)

func TestHostName(t *testing.T) {
	for host, want := range map[string]string{
		"alice.test": "alice.test", "Alice.TEST": "alice.test", "alice.test:443": "alice.test", "alice.test:": "alice.test", "alice.test.": "alice.test",
		"alice.test..:80": "alice.test", "user@alice.test": "alice.test", "pds.test:80@alice.test": "alice.test", "alice.test:80:90": "alice.test",
		"alice.test:x": "alice.test", "": "", ".": "", ":80": "", "127.0.0.1:80": "127.0.0.1", "[::1]:80": "::1", "[::1]": "::1", "[fe80::1%25eth0]": "fe80::1%25eth0",
		"[alice.test]:80": "alice.test", "::1": "", ".test": ".test",
	} {
		if got := Name(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

// FuzzHostName shows that a host which net/url parses as the name of an account is recognized as
// such.
func FuzzHostName(f *testing.F) {
	for _, host := range []string{
		"alice.test", "ALICE.test.:443", "u:p@alice.test", "a@b@alice.test", "[alice.test]:1", "alice.test:1:2", "é.test", "%41.test", "alice%2etest", "[::1%25.test]:1", "a b.test",
	} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		u, err := url.Parse("http://" + host)
		if err != nil || strings.ContainsAny(host, "/?#") {
			t.Skip()
		}
		if name := strings.TrimRight(strings.ToLower(u.Hostname()), "."); strings.HasSuffix(name, ".test") && !strings.HasSuffix(Name(host), ".test") {
			t.Errorf("%q: the name is %q, and not %q", host, name, Name(host))
		}
		if name := Name(host); !strings.ContainsAny(name, ":[]@") && Name(name) != name {
			t.Errorf("%q: %q, and of that %q", host, name, Name(name))
		}
	})
}

func TestAcceptsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html": true, "TEXT/HTML;charset=utf-8": true, "application/json, text/html;q=0.1": true, "text/html,application/xhtml+xml,*/*;q=0.8": true,
		"": false, "*/*": false, "text/*": false, "application/json": false, "text/html;q=0": false, "text/html;q=0.000": false, "text/html;q=x": false,
		"text/html-not": false, "x/text/html": false, ";": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		if got := acceptsHTML(r); got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	}
}

// FuzzHandleHostRedirect shows that a redirect leads to the configured URL with a handle in it,
// whatever the host is.
func FuzzHandleHostRedirect(f *testing.F) {
	for _, host := range []string{"alice.test", "ALICE.test.:80", "evil.example/.test", "a?b.test", "a#b.test", "@evil.test", "\r\nx: y.test", "a\\b.test", "{handle}.test"} {
		f.Add(host, "/")
	}
	g := Guard{Redirect: "https://app.example.com/profile/{handle}"}
	f.Fuzz(func(t *testing.T, host, path string) {
		r := &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}, Header: http.Header{"Accept": {"text/html"}}}
		to, ok := g.redirectOf(r)
		if !ok {
			return
		}
		h, found := strings.CutPrefix(to, "https://app.example.com/profile/")
		if _, err := handle.Normalize(h); !found || h != Name(host) || err != nil && strings.Trim(h, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			t.Errorf("%q is sent to %q", host, to)
		}
	})
}
