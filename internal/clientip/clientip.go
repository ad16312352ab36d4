// Package clientip finds the addresses of the clients of HTTP requests, behind proxies too.
package clientip

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Finder finds the addresses of clients.
type Finder struct {
	trusted []netip.Prefix
	logger  *slog.Logger
	warning sync.Once
}

// NewFinder returns a Finder that believes the X-Forwarded-For headers of proxies in the given
// networks. The logger, which may be nil, is warned once if requests come through a proxy that
// isn't trusted.
func NewFinder(trusted []netip.Prefix, logger *slog.Logger) *Finder {
	return &Finder{trusted: unmapped(trusted), logger: logger}
}

// Find returns the address of the client that makes a request. It is the zero Addr for a client on
// a Unix socket.
func (f *Finder) Find(r *http.Request) netip.Addr {
	if f.logger != nil {
		if peer, ok := untrustedProxy(r, f.trusted); ok {
			f.warning.Do(func() {
				f.logger.WarnContext(r.Context(), "requests with X-Forwarded-For come from a private address that is not among the trusted proxies: "+
					"all visitors count as one to the rate limits, and one can lock out the others; name the proxy in TrustedProxies", "proxy", peer.String())
			})
		}
	}
	return clientIP(r, f.trusted)
}

// untrustedProxy reports whether a request seems to come through a proxy that isn't trusted. Only
// proxies in private networks count: anybody on the Internet can send the header.
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

// clientIP returns the address of the client that makes a request. X-Forwarded-For is believed as
// far as trusted proxies have written it: it is read from the right until an address that isn't a
// trusted proxy's.
func clientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := parseAddr(r.RemoteAddr)
	// A peer on a Unix socket has no address. If there are trusted proxies, it is one of them.
	proxied := err != nil && len(trusted) > 0 || contains(trusted, peer)
	if !proxied {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := parseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return peer // the last one that can be believed
		}
		peer = hop
		if !contains(trusted, peer) {
			return peer
		}
	}
	return peer
}

// forwarded are the headers that proxies add to the requests that they forward.
var forwarded = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// IsNeighbor reports whether a request comes from this machine or from a trusted proxy itself, and
// isn't forwarded for another client.
func (f *Finder) IsNeighbor(r *http.Request) bool {
	for _, name := range forwarded {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	peer, err := parseAddr(r.RemoteAddr)
	return err != nil || peer.IsLoopback() || contains(f.trusted, peer) // a Unix socket has no address
}

// parseAddr parses an address with or without a port.
func parseAddr(text string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err
}

// unmapped rewrites networks of IPv4-mapped IPv6 addresses as networks of IPv4 addresses, as
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

// Key returns the key under which the requests of an address are counted. It is the same for all
// addresses of an IPv6 /64 network, since a client that has one of them has all of them.
func Key(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr().String()
		}
	}
	return a.String()
}
