package xrpc

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"testing"
)

// stuckAuth is an AdminAuth, such as a directory service, that doesn't answer until it is released.
type stuckAuth struct{ entered, release chan struct{} }

func (a stuckAuth) Admin(context.Context, string, string) bool {
	close(a.entered)
	<-a.release
	return false
}

// TestWaitingEndsWithTheRequest shows that a request which waits for another one, for its turn to
// guess at an admin's password or for a health check in progress, waits no longer than its client
// does.
func TestWaitingEndsWithTheRequest(t *testing.T) {
	stuck := stuckAuth{make(chan struct{}), make(chan struct{})}
	healthy := make(chan struct{})
	asked := make(chan struct{})
	s := sampleServer(t, func(c *Config) {
		c.Admins = stuck
		c.Health = func(context.Context) error { close(asked); <-healthy; return nil }
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()

	admin := func(ctx context.Context) error {
		r := httptest.NewRequest("GET", "/xrpc/x", nil).WithContext(ctx)
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:x")))
		_, err := s.admin(s.newCall(httptest.NewRecorder(), r))
		return err
	}
	first := make(chan error)
	go func() { first <- admin(t.Context()) }()
	<-stuck.entered
	if err := admin(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("behind another admin: %v", err)
	}
	close(stuck.release)
	if err := <-first; !errors.Is(err, errAuthRequired) {
		t.Errorf("the first: %v", err)
	}

	answered := make(chan int)
	go func() { answered <- ask(s, "GET", "/xrpc/_health", "").Code }()
	<-asked
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/xrpc/_health", nil).WithContext(gone))
	if w.Code != 503 {
		t.Errorf("behind another question: %d", w.Code)
	}
	close(healthy)
	if code := <-answered; code != 200 {
		t.Errorf("the first question: %d", code)
	}
}
