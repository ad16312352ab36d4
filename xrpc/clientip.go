package xrpc

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP returns the address of whoever makes a request, and warns of a proxy that isn't trusted.
func (s *Server) clientIP(r *http.Request) netip.Addr {
	if peer, ok := untrustedProxy(r, s.cfg.TrustedProxies); ok {
		s.proxyWarning.Do(func() {
			s.cfg.Logger.WarnContext(r.Context(), "requests with X-Forwarded-For come from a private address that is not among the trusted proxies: "+
				"all visitors count as one to the rate limits, and one can lock out the others; name the proxy in TrustedProxies", "proxy", peer.String())
		})
	}
	return clientIP(r, s.cfg.TrustedProxies)
}

// untrustedProxy reports whether a request seems to come through a proxy that isn't trusted. Only
// those in the private network count: anybody else may send the header as well.
func untrustedProxy(r *http.Request, trusted []netip.Prefix) (netip.Addr, bool) {
	if r.Header.Get("X-Forwarded-For") == "" {
		return netip.Addr{}, false
	}
	peer, err := parseAddr(r.RemoteAddr)
	if err != nil {
		return peer, len(trusted) == 0 // a Unix socket
	}
	return peer, !contains(trusted, peer) && (peer.IsPrivate() || peer.IsLoopback() || peer.IsLinkLocalUnicast())
}

// clientIP returns the address of whoever makes a request. X-Forwarded-For is
// believed as far as trusted proxies have written it: it is read from the right
// until an address that isn't a trusted proxy's.
func clientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := parseAddr(r.RemoteAddr)
	// Who comes by a Unix socket has no address: where there are proxies, it is one.
	proxied := err != nil && len(trusted) > 0 || contains(trusted, peer)
	if !proxied {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := parseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return peer // the last that can be believed
		}
		peer = hop
		if !contains(trusted, peer) {
			return peer
		}
	}
	return peer
}

// forwarded are the headers that a proxy adds to requests of others.
var forwarded = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// isNeighbour reports whether a request comes from this machine or a trusted proxy itself, and
// isn't forwarded for somebody else.
func (s *Server) isNeighbour(r *http.Request) bool {
	for _, name := range forwarded {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	peer, err := parseAddr(r.RemoteAddr)
	return err != nil || peer.IsLoopback() || contains(s.cfg.TrustedProxies, peer) // a Unix socket has no address
}

// parseAddr reads an address with or without a port.
func parseAddr(text string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err
}

// unmapped writes networks of IPv4 addresses as such that are written as parts of IPv6, as
// parseAddr does with addresses.
func unmapped(prefixes []netip.Prefix) []netip.Prefix {
	plain := slices.Clone(prefixes)
	for i, p := range plain {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			plain[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return plain
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ipKey is the key under which an address is counted. Whoever has an IPv6
// address has all of its /64.
func ipKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr().String()
		}
	}
	return a.String()
}
