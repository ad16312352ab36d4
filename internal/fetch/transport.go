package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/bluesky-social/indigo/util/ssrf"
)

var (
	errNotPublic   = errors.New("not a public address")
	errNotLoopback = errors.New("not a loopback address")
)

// maxHeader is the most bytes that the header of an answer may have.
const maxHeader = 32 << 10

// publicTransport connects to the ports 80 and 443 of public addresses. It looks at the address of
// each connection, so that a name can't resolve to something else once it has been checked.
func publicTransport() *http.Transport {
	dialer := ssrf.PublicOnlyDialer()
	dialer.Control = func(network, address string, c syscall.RawConn) error {
		if err := ssrf.PublicOnlyControl(network, address, c); err != nil {
			return fmt.Errorf("%w: %w", errNotPublic, err)
		}
		return nil
	}
	t := ssrf.PublicOnlyTransport()
	t.DialContext = dialer.DialContext
	t.MaxResponseHeaderBytes = maxHeader
	return t
}

// loopbackTransport connects to loopback addresses alone, on any port.
func loopbackTransport() *http.Transport {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().Unmap().IsLoopback() {
			return errNotLoopback
		}
		return nil
	}}
	return &http.Transport{DialContext: dialer.DialContext, MaxResponseHeaderBytes: maxHeader}
}

// isLoopback reports whether a host of a URL is on loopback.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
