package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestClientsReadAnswers has both clients read the forms that answers have, one after the other on
// one connection.
func TestClientsReadAnswers(t *testing.T) {
	long := strings.Repeat("long ", 20_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"a.b"}`) })
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			fmt.Fprint(w, long)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding: %s", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, long)
		z.Close()
	})
	mux.HandleFunc("/nonce", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("dpop-nonce", "n")
		http.Error(w, "no", http.StatusUnauthorized)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	addr := server.Listener.Addr().String()
	for name, connect := range map[string]connector{"lean": dial, "usual": dialUsual} {
		c, err := connect(addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, want := range []struct {
			path, nonce, body string
			status            int
		}{
			{"/length", "", `{"token":"a.b"}`, 200},
			{"/chunks", "", long + long + long, 200},
			{"/empty", "", "", 200},
			{"/gzip", "", long, 200},
			{"/nonce", "n", "no\n", 401},
			{"/length", "", `{"token":"a.b"}`, 200},
		} {
			a, err := c.ask(request("GET", addr, want.path, nil))
			if err != nil {
				t.Fatalf("%s: %s: %v", name, want.path, err)
			}
			body, err := a.body()
			if err != nil || a.status != want.status || string(body) != want.body || a.nonce != want.nonce {
				t.Errorf("%s: %s: status %d, nonce %q, %d bytes, %v", name, want.path, a.status, a.nonce, len(body), err)
			}
		}
	}
}

func TestTextOfAnAnswer(t *testing.T) {
	if got, err := text([]byte(`{"a":"1","b":"2"}`), "b"); got != "2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, body := range []string{`{}`, `{"b":2}`, `{"b":"2`} {
		if got, err := text([]byte(body), "b"); err == nil {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// TestDriveCountsWhatItDoes has one worker that succeeds and one that fails.
func TestDriveCountsWhatItDoes(t *testing.T) {
	done := 0
	m := drive(2, time.Millisecond, func(worker int) error {
		if worker == 1 {
			return errors.New("no")
		}
		done++
		return nil
	})
	if m.Ops != done || m.Failed == 0 || !strings.HasPrefix(m.Error, "no") || m.P99 < m.P50 || m.Seconds <= 0 {
		t.Errorf("%d done, and measured is %+v", done, m)
	}
}

func TestPercentiles(t *testing.T) {
	var sorted []time.Duration
	for i := range 101 {
		sorted = append(sorted, time.Duration(i)*time.Microsecond)
	}
	for q, want := range map[float64]float64{0: 0, 0.5: 50, 0.99: 99, 1: 100} {
		if got := percentile(sorted, q); got != want {
			t.Errorf("the quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("the median is %v", got)
	}
}
