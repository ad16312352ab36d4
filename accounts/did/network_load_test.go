package did

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// withoutDNS runs a test in a bubble in which no DNS server can be reached. It uses a resolver
// before, so that what all resolvers share doesn't belong to the bubble.
func withoutDNS(t *testing.T, test func(*testing.T)) {
	_, _ = (&net.Resolver{PreferGo: true, Dial: undialable}).LookupTXT(t.Context(), "example.com")
	synctest.Test(t, test)
}

func undialable(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no DNS here")
}

// slowNetwork returns a network whose hosts answer when release is closed, and the number of
// requests.
func slowNetwork(answer *string, release <-chan struct{}) (*Network, *atomic.Int32) {
	asked := new(atomic.Int32)
	n := NewNetwork(roundTripper(func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		body := *answer
		select {
		case <-release:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
	}), "test")
	n.base.Resolver.PreferGo, n.base.Resolver.Dial = true, undialable
	return n, asked
}

// TestLookupsOfAHandleAreMerged makes many concurrent lookups, and another one after them.
func TestLookupsOfAHandleAreMerged(t *testing.T) {
	withoutDNS(t, func(t *testing.T) {
		answer, release := "did:web:old.example.com", make(chan struct{})
		n, asked := slowNetwork(&answer, release)
		first, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := n.ResolveHandle(first, "alice.example.com"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		})
		synctest.Wait()
		for i := range 100 {
			handle := syntax.Handle([]string{"alice.example.com", "ALICE.example.com"}[i%2])
			callers.Go(func() {
				if id, err := n.ResolveHandle(t.Context(), handle); err != nil || id != "did:web:old.example.com" {
					t.Errorf("%s, %v", id, err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		callers.Wait()
		if asked.Load() != 1 {
			t.Errorf("the host was asked %d times", asked.Load())
		}
		answer = "did:web:new.example.com"
		if id, err := n.ResolveHandle(t.Context(), "alice.example.com"); err != nil || id != "did:web:new.example.com" {
			t.Errorf("after the handle has changed: %s, %v", id, err)
		}
	})
}

// TestLookupsOfHandlesAreLimited looks up handles whose hosts don't answer.
func TestLookupsOfHandlesAreLimited(t *testing.T) {
	withoutDNS(t, func(t *testing.T) {
		answer := ""
		n, asked := slowNetwork(&answer, nil)
		begun := time.Now()
		var callers sync.WaitGroup
		for i := range 500 {
			callers.Go(func() {
				_, err := n.ResolveHandle(t.Context(), syntax.Handle(fmt.Sprintf("host%d.example.com", i)))
				if took := time.Since(begun); !errors.Is(err, ErrUnavailable) || took > handleTimeout {
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		synctest.Wait()
		if asked.Load() != maxHandles {
			t.Errorf("%d hosts were asked at once", asked.Load())
		}
		callers.Wait()
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
