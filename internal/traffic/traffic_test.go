package traffic_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/traffic"
)

func TestRequestsThatHashAreNotCounted(t *testing.T) {
	var m traffic.Meter
	handler := m.Wrap(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			if n := m.Others(); n != 0 {
				t.Errorf("%d are counted before it is known what a login does", n)
			}
			traffic.Hashes(r.Context())
			traffic.Hashes(r.Context())
		}
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	})))
	for _, c := range []struct {
		verb, path string
		want       bool
	}{
		{"POST", "/login", false},
		{"POST", "/refresh", true},
		{"POST", "/panic", true},
		{"GET", "/read", true},
		{"HEAD", "/read", true},
		{"OPTIONS", "/read", true},
	} {
		before := m.Others()
		func() {
			defer func() { _ = recover() }()
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.verb, c.path, nil))
		}()
		if counted := m.Others() > before; counted != c.want {
			t.Errorf("%s %s: counted: %t", c.verb, c.path, counted)
		}
	}
}

// TestReadsCountWhenTheyBegin: a read that takes long keeps a processor free for itself.
func TestReadsCountWhenTheyBegin(t *testing.T) {
	var m traffic.Meter
	m.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n := m.Others(); n != 1 {
			t.Errorf("%d are counted while a read is served", n)
		}
	}), httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// TestCallersInTheProgramNeedNoMeter: a program may call the services without a request.
func TestCallersInTheProgramNeedNoMeter(t *testing.T) { traffic.Hashes(t.Context()) }
