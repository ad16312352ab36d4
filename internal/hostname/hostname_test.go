package hostname

import (
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

func TestNormal(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a"
	for raw, want := range map[string]string{
		"pds.example.com": "pds.example.com", "PDS.Example.COM": "pds.example.com", "pds.example.com.": "pds.example.com",
		"pds.example.com:443": "pds.example.com", "pds.example.com.:80": "pds.example.com", "pds.example.com:0443": "pds.example.com",
		"pds.example.com:": "pds.example.com", "pds.example.com:08443": "pds.example.com:8443",
		"localhost:2583": "localhost:2583", "LocalHost:80": "localhost", "my_host.test": "my_host.test", long: long, long + ".": long,
		"127.0.0.1": "127.0.0.1", "127.0.0.1:2583": "127.0.0.1:2583",
		"::1": "[::1]", "[::1]": "[::1]", "[0:0::1]:2583": "[::1]:2583", "[::1]:443": "[::1]", "2001:DB8::1": "[2001:db8::1]",
		"münchen.example": "xn--mnchen-3ya.example", "MÜNCHEN.example.:443": "xn--mnchen-3ya.example", "mu\u0308nchen.example": "xn--mnchen-3ya.example",
		"xn--MNCHEN-3ya.example": "xn--mnchen-3ya.example", "straße.example": "xn--strae-oqa.example",
		"日本。example": "xn--wgv71a.example", "ｐｄｓ．ｅｘａｍｐｌｅ。": "pds.example", "１２７.0.0.1": "127.0.0.1", "p\u00adds.example": "pds.example",
	} {
		got, err := Normal(raw)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
		}
		if again, err := Normal(got); err != nil || again != got {
			t.Errorf("%q, again: %q, %v", got, again, err)
		}
	}
	for _, raw := range []string{
		"", ".", "..", "a..b", ".example.com", "pds.example.com..", "no host", " pds.example.com", "pds.example.com/", "https://pds.example.com",
		"user@pds.example.com", "a%2eb", "a,b", "pds.example.com:http", "pds.example.com:0", "pds.example.com:65536", "pds.example.com:-1", "pds.example.com:+1",
		":80", "[", "[]", "[::1", "[::1]x", "[::1]80", "[pds.example.com]", "[127.0.0.1]", "fe80::1%eth0", "[fe80::1%eth0]:80", "1:2:3",
		"a\x00b", "a\xffb", "ex/ämple", "ä b.example", "ä\u2028.example", "pds：80.example", "xn--ä.example", strings.Repeat("a", 254),
	} {
		if got, err := Normal(raw); err == nil {
			t.Errorf("%q was accepted as %q", raw, got)
		}
	}
}

func TestSplitKeepsDefaultPorts(t *testing.T) {
	for raw, want := range map[string][2]string{
		"LocalHost.:443": {"localhost", "443"}, "localhost": {"localhost", ""}, "[::1]:080": {"::1", "80"},
	} {
		if name, port, err := Split(raw); err != nil || [2]string{name, port} != want {
			t.Errorf("%q: %q, %q, %v", raw, name, port, err)
		}
	}
}

func TestWebDID(t *testing.T) {
	for host, want := range map[string]syntax.DID{
		"alice.example.com": "did:web:alice.example.com", "LOCALHOST:2583": "did:web:localhost%3A2583",
		"Example.com.": "did:web:example.com", "example.com:443": "did:web:example.com", "localhost:80": "did:web:localhost",
		"example.com:": "did:web:example.com", "münchen.example.com": "did:web:xn--mnchen-3ya.example.com",
	} {
		if got, err := WebDID(host); err != nil || got != want {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
	for _, host := range []string{"", "no host", "example.com/path", "example.com:port", "example.com%3A80", "[::1]:80", "a:1:2"} {
		if got, err := WebDID(host); err == nil {
			t.Errorf("%q: %s", host, got)
		}
	}
}

func TestLoopback(t *testing.T) {
	for raw, want := range map[string]bool{
		"localhost": true, "LocalHost.": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "0:0::1": true,
		"": false, "localhost.example.com": false, "a.localhost": false, "10.0.0.1": false, "localhost:80": false,
	} {
		if got := IsLoopback(raw); got != want {
			t.Errorf("%q: %t", raw, got)
		}
	}
}

// FuzzNormal checks that Normal is idempotent and returns ASCII without upper-case letters.
func FuzzNormal(f *testing.F) {
	for _, seed := range []string{"PDS.example.com.:443", "[::1]:2583", "münchen.example", "ｐｄｓ。test", "xn--a", "127.0.0.1:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := Normal(raw)
		if err != nil {
			return
		}
		if again, err := Normal(got); err != nil || again != got {
			t.Errorf("%q: %q, and again %q, %v", raw, got, again, err)
		}
		if !isASCII(got) || strings.ToLower(got) != got || strings.ContainsAny(got, " /\\?#@%") {
			t.Errorf("%q: %q", raw, got)
		}
	})
}
