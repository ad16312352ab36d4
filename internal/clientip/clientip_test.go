package clientip

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientIP(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"an untrusted peer sends the header", "192.0.2.1:1234", []string{"198.51.100.1"}, "192.0.2.1"},
		{"a proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"the client forges a hop", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"two headers", "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
		{"only proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage behind a proxy", "10.0.0.1:1", []string{"nonsense"}, "10.0.0.1"},
		{"garbage in between", "10.0.0.1:1", []string{"198.51.100.1, nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"a proxy without the header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.1:5678"}, "198.51.100.1"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"an address without a port", "192.0.2.1", nil, "192.0.2.1"},
		{"a proxy's address without a port", "fd00::1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a proxy on a Unix socket", "@", []string{"198.51.100.1"}, "198.51.100.1"},
		{"with a zone", "[2001:db8::1%eth0]:1", nil, "2001:db8::1"},
		{"an empty hop", "10.0.0.1:1", []string{"198.51.100.1,"}, "10.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := clientIP(r, trusted).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	mapped := unmapped([]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("::/0")})
	proxied := &http.Request{RemoteAddr: "[::ffff:10.0.0.1]:1", Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}}
	if a := clientIP(proxied, mapped); a.String() != "198.51.100.1" {
		t.Errorf("behind a proxy that is trusted as IPv4 in IPv6: %v", a)
	}
	socket := &http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}}
	if a := clientIP(socket, nil); a.IsValid() {
		t.Errorf("without trusted proxies, a Unix socket's header is believed: %v", a)
	}
	if a, b := Key(netip.MustParseAddr("2001:db8::1")), Key(netip.MustParseAddr("2001:db8::ffff")); a != b {
		t.Errorf("two addresses of one network are counted as %s and %s", a, b)
	}
	if Key(netip.MustParseAddr("192.0.2.1")) == Key(netip.MustParseAddr("192.0.2.2")) {
		t.Error("two IPv4 addresses are counted as one")
	}
}
