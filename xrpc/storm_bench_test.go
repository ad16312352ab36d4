package xrpc_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// BenchmarkReadsDuringLogins measures reads alone, and during a storm of logins that each cost a
// full password hash. Hashing is bounded, so that a processor is left for the reads.
func BenchmarkReadsDuringLogins(b *testing.B) {
	srv := gatehousetest.NewServer(b, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.Passwords.Memory, c.Passwords.Time = 0, 0 }))
	alice := srv.CreateAccount("alice.test")
	read := func(b *testing.B) {
		for b.Loop() {
			r := httptest.NewRequest("GET", getSession, nil)
			r.Header.Set("Authorization", "Bearer "+alice.AccessJWT)
			w := httptest.NewRecorder()
			srv.Gatehouse.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
	}
	b.Run("quiet", read)
	b.Run("storm", func(b *testing.B) {
		stop, ended := make(chan struct{}), make(chan struct{})
		for range 16 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					r := httptest.NewRequest("POST", createSession, strings.NewReader(`{"identifier":"alice.test","password":"wrong"}`))
					r.Header.Set("Content-Type", "application/json")
					srv.Gatehouse.ServeHTTP(httptest.NewRecorder(), r)
				}
			}()
		}
		read(b)
		close(stop)
		for range 16 {
			<-ended
		}
	})
}
