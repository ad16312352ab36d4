package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// TestClientIDs: a client_id is a URL in one spelling, at a public host.
func TestClientIDs(t *testing.T) {
	relaxed := func(cfg *client.Config) { cfg.AllowLoopback = true }
	for name, c := range map[string]struct {
		id     string
		want   string // "": its document is fetched
		onTest string // the same for a server on loopback; "=": like want
	}{
		"usual":                    {"https://app.example.com/oauth-client-metadata.json", "", ""},
		"short":                    {"https://example.com/a", "", ""},
		"with a query":             {"https://example.com/client?id=1&x=%20", "", ""},
		"escaped":                  {"https://example.com/a%20b/~c@d", "", ""},
		"an international name":    {"https://xn--bcher-kva.example.com/a", "", ""},
		"nothing":                  {"", "client_id is missing", "="},
		"a word":                   {"my-client", "must be an https URL", "="},
		"a URN":                    {"urn:client", "must be an https URL", "="},
		"a path":                   {"/client.json", "must be an https URL", "="},
		"no scheme":                {"//example.com/client.json", "must be an https URL", "="},
		"http":                     {"http://example.com/client.json", "must be an https URL", "="},
		"another scheme":           {"ftp://example.com/client.json", "must be an https URL", "="},
		"a scheme in capitals":     {"HTTPS://example.com/client.json", "must be an https URL", "="},
		"one slash":                {"https:/example.com/client.json", "must be an https URL", "="},
		"no host":                  {"https:///client.json", "must be a domain name", "="},
		"a port":                   {"https://example.com:8443/client.json", "must not have a port", "="},
		"the default port":         {"https://example.com:443/client.json", "must not have a port", "="},
		"an empty port":            {"https://example.com:/client.json", "must not have a port", "="},
		"credentials":              {"https://a:b@example.com/client.json", "must not have credentials", "="},
		"a user":                   {"https://a@example.com/client.json", "must not have credentials", "="},
		"a fragment":               {"https://example.com/client.json#a", "must not have a fragment", "="},
		"an empty fragment":        {"https://example.com/client.json#", "must not have a fragment", "="},
		"no path":                  {"https://example.com", "must have a path", "="},
		"the root":                 {"https://example.com/", "must have a path", "="},
		"the root with a query":    {"https://example.com/?a", "must have a path", "="},
		"a slash at the end":       {"https://example.com/client/", "must not end with a slash", "="},
		"dots":                     {"https://example.com/a/../client.json", `must not have "." and ".."`, "="},
		"a dot":                    {"https://example.com/./client.json", `must not have "." and ".."`, "="},
		"escaped dots":             {"https://example.com/a/%2E%2e/client.json", `must not have "." and ".."`, "="},
		"half escaped dots":        {"https://example.com/a/.%2e/client.json", `must not have "." and ".."`, "="},
		"an empty query":           {"https://example.com/client.json?", "isn't in its normal form", "="},
		"a host in capitals":       {"https://Example.com/client.json", "in lower case", "="},
		"a dot at the end":         {"https://example.com./client.json", "without a dot at its end", "="},
		"letters beyond ASCII":     {"https://bücher.example.com/client.json", "has characters that URLs don't have", "="},
		"an escaped host":          {"https://ex%61mple.com/client.json", "isn't a URL", "="},
		"a space":                  {"https://example.com/a b", "has characters that URLs don't have", "="},
		"a space at the end":       {"https://example.com/client.json ", "has characters that URLs don't have", "="},
		"a line":                   {"https://example.com/client.json\n", "has characters that URLs don't have", "="},
		"a backslash":              {`https://example.com\client.json`, "has characters that URLs don't have", "="},
		"a broken escape":          {"https://example.com/%zz", "isn't a URL", "="},
		"long":                     {"https://example.com/" + strings.Repeat("a", 1024), "has more than 1024 characters", "="},
		"an IPv4 address":          {"https://127.0.0.1/client.json", "not an IP address", "="},
		"a public IPv4 address":    {"https://8.8.8.8/client.json", "not an IP address", "="},
		"an IPv6 address":          {"https://[::1]/client.json", "not an IP address", "="},
		"a number":                 {"https://2130706433/client.json", "not an IP address", "="},
		"a hexadecimal address":    {"https://0x7f.0x0.0x0.0x1/client.json", "not an IP address", "="},
		"a short address":          {"https://127.1/client.json", "not an IP address", "="},
		"localhost with https":     {"https://localhost/client.json", "isn't a public domain name", ""},
		"an intranet host":         {"https://intranet/client.json", "isn't a public domain name", ""},
		".test":                    {"https://app.test/client.json", "isn't a public domain name", ""},
		".local":                   {"https://app.local/client.json", "isn't a public domain name", ""},
		".internal":                {"https://app.corp.internal/client.json", "isn't a public domain name", ""},
		"loopback":                 {"http://127.0.0.1:8080/client.json", "must be an https URL", ""},
		"loopback, IPv6":           {"http://[::1]:8080/client.json", "must be an https URL", ""},
		"loopback without a path":  {"http://127.0.0.1:8080", "must be an https URL", "must have a path"},
		"another loopback address": {"http://127.0.0.2:8080/client.json", "must be an https URL", "="},
		"private":                  {"http://10.0.0.1/client.json", "must be an https URL", "="},
		"localhost with a port":    {"http://localhost:8080/", "must be an https URL", "="},
		"localhost with a path":    {"http://localhost/client.json", "must be an https URL", "="},
		"localhost with a user":    {"http://localhost@example.com/", "must be an https URL", "="},
		"localhost with a dot":     {"http://localhost./", "must be an https URL", "="},
		"localhost in a name":      {"http://localhost.example.com/", "must be an https URL", "="},
	} {
		for _, change := range []func(*client.Config){nil, relaxed} {
			want := c.want
			if change != nil && c.onTest != "=" {
				want = c.onTest
			}
			r, n, _ := newRegistry(t, change)
			_, err := r.Get(ctx, c.id)
			if !errors.Is(err, client.ErrInvalidMetadata) {
				t.Errorf("%s: got %v", name, err)
			}
			if want == "" {
				if n.asked[c.id] != 1 {
					t.Errorf("%s: the document wasn't fetched: %v", name, err)
				}
			} else if len(n.asked) > 0 || !strings.Contains(message(err), want) {
				t.Errorf("%s: got %v after %v; want %q", name, err, n.asked, want)
			}
		}
	}
}

// TestDevelopmentClients has the client_ids of http://localhost.
func TestDevelopmentClients(t *testing.T) {
	both := []string{"http://127.0.0.1/", "http://[::1]/"}
	for id, c := range map[string]struct {
		redirects []string
		scope     string
		want      string
	}{
		"http://localhost":  {both, "atproto", ""},
		"http://localhost/": {both, "atproto", ""},
		"http://localhost?": {both, "atproto", ""},
		"http://localhost?scope=atproto%20transition:generic":                                        {both, "atproto transition:generic", ""},
		"http://localhost/?scope=atproto+repo:*":                                                     {both, "atproto repo:*", ""},
		"http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback":                     {[]string{"http://127.0.0.1:8080/callback"}, "atproto", ""},
		"http://localhost?redirect_uri=http://127.0.0.1/a&redirect_uri=http://[::1]/b&scope=atproto": {[]string{"http://127.0.0.1/a", "http://[::1]/b"}, "atproto", ""},
		"http://localhost?scope=transition:generic":                                                  {want: `scope must include "atproto"`},
		"http://localhost?scope=":                                                                    {want: "scope must be a list"},
		"http://localhost?scope=atproto&scope=atproto":                                               {want: "has more than one scope"},
		"http://localhost?client_name=Bank":                                                          {want: `has a parameter "client_name"`},
		"http://localhost?redirect_uri=http://localhost/":                                            {want: `instead of "localhost"`},
		"http://localhost?redirect_uri=https://app.example.com/":                                     {want: "a development client has loopback redirects only"},
		"http://localhost?redirect_uri=https://127.0.0.1/":                                           {want: "a development client has loopback redirects only"},
		"http://localhost?redirect_uri=com.example.app:/a":                                           {want: "a development client has loopback redirects only"},
		"http://localhost?redirect_uri=http://10.0.0.1/":                                             {want: "only loopback redirects"},
		"http://localhost?redirect_uri=http://127.0.0.1@evil.example.net/":                           {want: "must not have credentials"},
		"http://localhost?redirect_uri=":                                                             {want: "isn't a URL"},
		"http://localhost?a;b":                                                                       {want: "can't be read"},
		"http://localhost?scope=%zz":                                                                 {want: "can't be read"},
		"http://localhost#a":                                                                         {want: "must not have a fragment"},
		"http://localhost?scope=atproto+" + strings.Repeat("a", 4096):                                {want: "has more than 4096 characters"},
		"http://localhost?" + strings.Repeat("redirect_uri=http://[::1]/&", 101):                     {want: "has more than 100 redirect URIs"},
	} {
		r, n, _ := newRegistry(t, nil)
		got, err := r.Get(ctx, id)
		if len(n.asked) != 0 {
			t.Errorf("%s: %v was fetched", id, n.asked)
		}
		if c.want != "" {
			if !errors.Is(err, client.ErrInvalidMetadata) && !errors.Is(err, client.ErrInvalidRedirect) || !strings.Contains(message(err), c.want) {
				t.Errorf("%s: got %v; want %q", id, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		m := got.Metadata
		if got.ID != id || !got.Local || got.Trusted || got.Host != "localhost" || got.Name() != "localhost" || got.Confidential() || !got.Refreshes() ||
			m.ClientID != id || m.ApplicationType != "native" || !slices.Equal(m.RedirectURIs, c.redirects) || strings.Join(m.Scope, " ") != c.scope {
			t.Errorf("%s: got %+v, %+v", id, got, m)
		}
	}
}

// TestRedirectURIOfARequest: a request is answered at a declared URI only, compared character for
// character; the port of a loopback redirect is the application's choice.
func TestRedirectURIOfARequest(t *testing.T) {
	var (
		one    = []string{"https://app.example.com/callback"}
		two    = []string{"https://app.example.com/callback", "com.example.app:/callback"}
		native = []string{"http://127.0.0.1/callback?a=b", "http://[::1]:8080"}
	)
	for name, c := range map[string]struct {
		declared  []string
		requested string
		want      string
	}{
		"the only one, unsaid":      {one, "", one[0]},
		"one of two, unsaid":        {two, "", ""},
		"the same":                  {two, two[1], two[1]},
		"another path":              {one, "https://app.example.com/other", ""},
		"a longer path":             {one, "https://app.example.com/callback/../x", ""},
		"a slash more":              {one, "https://app.example.com/callback/", ""},
		"a query more":              {one, "https://app.example.com/callback?x", ""},
		"a fragment more":           {one, "https://app.example.com/callback#", ""},
		"a host in capitals":        {one, "https://APP.example.com/callback", ""},
		"the default port":          {one, "https://app.example.com:443/callback", ""},
		"credentials":               {one, "https://a@app.example.com/callback", ""},
		"http":                      {one, "http://app.example.com/callback", ""},
		"another host":              {one, "https://app.example.com.evil.net/callback", ""},
		"escaped":                   {one, "https://app.example.com/%63allback", ""},
		"a space before":            {one, " https://app.example.com/callback", ""},
		"long":                      {one, "https://app.example.com/callback" + strings.Repeat("a", 2048), ""},
		"loopback":                  {native, "http://127.0.0.1/callback?a=b", "http://127.0.0.1/callback?a=b"},
		"loopback, with a port":     {native, "http://127.0.0.1:43210/callback?a=b", "http://127.0.0.1:43210/callback?a=b"},
		"loopback, another port":    {native, "http://[::1]:9", "http://[::1]:9"},
		"loopback, no port":         {native, "http://[::1]/", "http://[::1]/"},
		"loopback, port 0":          {native, "http://127.0.0.1:0/callback?a=b", "http://127.0.0.1:0/callback?a=b"},
		"loopback, a large port":    {native, "http://127.0.0.1:65536/callback?a=b", ""},
		"loopback, an empty port":   {native, "http://127.0.0.1:/callback?a=b", ""},
		"loopback, a word as port":  {native, "http://127.0.0.1:x/callback?a=b", ""},
		"loopback, another path":    {native, "http://127.0.0.1:8080/other?a=b", ""},
		"loopback, another query":   {native, "http://127.0.0.1:8080/callback?a=c", ""},
		"loopback, no query":        {native, "http://127.0.0.1:8080/callback", ""},
		"loopback, a fragment":      {native, "http://[::1]:8080/#x", ""},
		"loopback, another family":  {native, "http://[::1]:8080/callback?a=b", ""},
		"loopback, localhost":       {native, "http://localhost:8080/callback?a=b", ""},
		"loopback, another address": {native, "http://127.0.0.2/callback?a=b", ""},
		"loopback, https":           {native, "https://127.0.0.1/callback?a=b", ""},
		"loopback, credentials":     {native, "http://127.0.0.1:80@evil.example.net/callback?a=b", ""},
		"loopback in a name":        {native, "http://127.0.0.1.evil.example.net/callback?a=b", ""},
		"loopback, a longer number": {native, "http://127.0.0.10/callback?a=b", ""},
		"loopback, a backslash":     {native, `http://[::1]\@evil.example.net/`, ""},
	} {
		got, err := (&client.Client{Metadata: &client.Metadata{RedirectURIs: c.declared}}).RedirectURI(c.requested)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
		if c.want == "" {
			expectError(t, err, client.ErrInvalidRedirect, "redirect_uri")
		}
	}
}
