package did

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestPublicDirectoryIsNotLedAstray dials private addresses to which the name of a public directory
// could resolve.
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
	for _, meant := range []string{"http://127.0.0.1:2582", "https://[::1]:2582", "https://localhost", "https://LocalHost.", "http://plc:2582"} {
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

// TestHandlesAreLookedUpWithTheConfiguredResolver answers that a handle doesn't exist. After that
// the name servers of the domain must not be asked, since its owner chooses their addresses.
func TestHandlesAreLookedUpWithTheConfiguredResolver(t *testing.T) {
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(chan uint16, 100)
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := dns.ReadFrom(query)
			if err != nil {
				close(kinds)
				return
			}
			name := bytes.IndexByte(query[12:n], 0) // the header is before it, the type behind
			kinds <- binary.BigEndian.Uint16(query[12+name+1:])
			answer := append([]byte{}, query[:12+name+5]...)
			copy(answer[2:], []byte{0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0}) // no such name
			_, _ = dns.WriteTo(answer, from)
		}
	}()
	n := NewNetwork(nowhere{}, "test")
	n.base.Resolver = net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", dns.LocalAddr().String())
	}}
	if id, err := n.ResolveHandle(t.Context(), "alice.example.com"); err == nil {
		t.Errorf("resolved to %s", id)
	}
	dns.Close()
	asked := 0
	for kind := range kinds {
		if asked++; kind != 16 { // TXT (source: RFC 1035)
			t.Errorf("a record of type %d was asked for", kind)
		}
	}
	if asked == 0 {
		t.Error("nothing was asked")
	}
}

// nowhere is a transport that reaches no host.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no such host")
}
