package xrpc

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientIP returns the address of whoever makes a request. X-Forwarded-For is
// believed as far as trusted proxies have written it: it is read from the right
// until an address that isn't a trusted proxy's.
func clientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := netip.Addr{}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		peer = ap.Addr().Unmap().WithZone("")
	}
	if !contains(trusted, peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		addr, err := netip.ParseAddr(strings.Trim(hop, "[]"))
		if err != nil {
			ap, err := netip.ParseAddrPort(hop)
			if err != nil {
				return peer // the last that can be believed
			}
			addr = ap.Addr()
		}
		peer = addr.Unmap().WithZone("")
		if !contains(trusted, peer) {
			return peer
		}
	}
	return peer
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
