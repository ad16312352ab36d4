package did

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestPublicDirectoryIsNotLedAstray dials what DNS may have made of a public
// directory's name.
func TestPublicDirectoryIsNotLedAstray(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	proxy := &url.URL{Scheme: "http", Host: listener.Addr().String()}
	dial := func(directory, address string, allowed bool, via *url.URL) error {
		base, err := url.Parse(directory)
		if err != nil {
			t.Fatal(err)
		}
		transport := transportFor(base, allowed, func(*http.Request) (*url.URL, error) { return via, nil })
		conn, err := transport.DialContext(context.Background(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, private := range []string{"127.0.0.1:443", "[::1]:443", "[::ffff:10.0.0.1]:443", "169.254.169.254:80", listener.Addr().String()} {
		if err := dial("https://plc.directory", private, false, nil); err == nil || !strings.Contains(err.Error(), "not a public IP address") {
			t.Errorf("dialing %s: %v", private, err)
		}
	}
	for _, meant := range []string{"http://127.0.0.1:2582", "https://[::1]:2582", "https://localhost", "http://plc:2582"} {
		if err := dial(meant, listener.Addr().String(), false, nil); err != nil {
			t.Errorf("%s: %v", meant, err)
		}
	}
	if err := dial("https://plc.directory", listener.Addr().String(), true, nil); err != nil {
		t.Errorf("where private addresses are allowed: %v", err)
	}
	if err := dial("https://plc.directory", listener.Addr().String(), false, proxy); err != nil {
		t.Errorf("through a proxy inside: %v", err)
	}
}
