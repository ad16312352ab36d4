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
	dial := func(directory, address string) error {
		base, err := url.Parse(directory)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := transportFor(base).(*http.Transport).DialContext(context.Background(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, private := range []string{"127.0.0.1:443", listener.Addr().String()} {
		if err := dial("https://plc.directory", private); err == nil || !strings.Contains(err.Error(), "not a public IP address") {
			t.Errorf("dialing %s: %v", private, err)
		}
	}
	if err := dial("http://127.0.0.1:2582", listener.Addr().String()); err != nil {
		t.Errorf("a directory that is configured by a private address: %v", err)
	}
}
