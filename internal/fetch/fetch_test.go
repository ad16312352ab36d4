package fetch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/fetch"
	"github.com/gatehouse-at/gatehouse/oauth/client"
)

const max = 1000

// toServer is a transport that connects to a TLS server of a test, whatever the host of the URL.
func toServer(srv *httptest.Server) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a server of the test
	}
}

// serve returns a client whose requests to any host are answered by a handler.
func serve(t *testing.T, cfg fetch.Config, answer http.HandlerFunc) *fetch.Client {
	t.Helper()
	srv := httptest.NewTLSServer(answer)
	t.Cleanup(srv.Close)
	cfg.Transport = toServer(srv)
	return fetch.New(cfg)
}

func message(err error) string {
	var public interface{ PublicMessage() string }
	if errors.As(err, &public) {
		return public.PublicMessage()
	}
	return ""
}

func TestADocumentIsReturnedAsItIs(t *testing.T) {
	c := serve(t, fetch.Config{UserAgent: "test/1"}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.Host != "app.example.com" || r.URL.String() != "/client.json?a=b" ||
			r.Header.Get("Accept") != "application/json" || r.UserAgent() != "test/1" || r.Header.Get("Cookie") != "" {
			t.Errorf("asked %s %s%s with %v", r.Method, r.Host, r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "Application/JSON; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", "a=b")
		_, _ = w.Write([]byte(`{"a":1}`))
	})
	for range 2 { // the second request brings no cookie
		doc, err := c.Get(context.Background(), "https://app.example.com/client.json?a=b", max)
		if err != nil || string(doc.Body) != `{"a":1}` || doc.ContentType != "application/json" || doc.Lifetime != time.Minute {
			t.Errorf("got %+v, %v", doc, err)
		}
	}
}

// TestAnswersThatAreNoDocuments: what hostile and broken servers answer is refused, with a message
// that tells a developer why.
func TestAnswersThatAreNoDocuments(t *testing.T) {
	json := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") }
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   error
		want   string
	}{
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, client.ErrUnfit, "it answered with the status 302 Found, and redirects aren't followed"},
		"a redirect that has a document": {func(w http.ResponseWriter, r *http.Request) {
			json(w)
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusPermanentRedirect)
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, "redirects aren't followed"},
		"not found": {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, client.ErrUnfit, "it answered with the status 404 Not Found, and 200 is needed"},
		"created": {func(w http.ResponseWriter, _ *http.Request) {
			json(w)
			w.WriteHeader(201)
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, "status 201 Created"},
		"no content":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, client.ErrUnfit, "status 204"},
		"an unheard-of status": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) }, client.ErrUnreachable, "it answered with the status 799"},
		"overload":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, client.ErrUnreachable, "status 429"},
		"a broken server":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, client.ErrUnreachable, "status 502"},
		"HTML": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, `its Content-Type is "text/html", and application/json is needed`},
		"text that is JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/json")
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, `"text/json"`},
		"a broken type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; ;")
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, "Content-Type"},
		"two types": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json", "text/html"}
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, "it has 2 Content-Type headers"},
		"no type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = w.Write([]byte(`{}`))
		}, client.ErrUnfit, "it has 0 Content-Type headers"},
		"a body that is said to be large": {func(w http.ResponseWriter, _ *http.Request) {
			json(w)
			w.Header().Set("Content-Length", strconv.Itoa(max+1))
			_, _ = w.Write(make([]byte, max+1))
		}, client.ErrUnfit, "it has more than 1000 bytes"},
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			json(w)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, client.ErrUnfit, "it has more than 1000 bytes"},
		"a small body that unpacks to a large one": {func(w http.ResponseWriter, _ *http.Request) {
			json(w)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb(t))
		}, client.ErrUnfit, "it has more than 1000 bytes"},
		"a body that breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			json(w)
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write([]byte(`{`))
		}, client.ErrUnreachable, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, fetch.Config{}, c.answer)
			doc, err := f.Get(context.Background(), "https://app.example.com/client.json", max)
			if !errors.Is(err, c.kind) || !strings.Contains(message(err), c.want) {
				t.Errorf("got %v, %v; want an error with %q", doc, err, c.want)
			}
		})
	}
}

// TestASlowServerIsGivenUp: a server that sends a byte now and then is given up when the time of
// the whole request is over.
func TestASlowServerIsGivenUp(t *testing.T) {
	c := serve(t, fetch.Config{Timeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the client hangs up
	})
	_, err := c.Get(context.Background(), "https://app.example.com/client.json", max)
	if !errors.Is(err, client.ErrUnreachable) || message(err) != "its server didn't answer within 50ms" {
		t.Errorf("got %v", err)
	}
}

// TestTheCallersContextEnds: a caller that is gone doesn't wait, and the request goes on for
// others.
func TestTheCallersContextEnds(t *testing.T) {
	asked, answer := make(chan bool, 1), make(chan bool)
	c := serve(t, fetch.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-answer
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	})
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() { _, err := c.Get(ctx, "https://app.example.com/", max); gone <- err }()
	<-asked
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Get(ctx, "https://app.example.com/", max); !errors.Is(err, context.Canceled) {
		t.Errorf("a call with a context that has ended: %v", err)
	}
	var stays sync.WaitGroup
	stays.Go(func() {
		if _, err := c.Get(context.Background(), "https://app.example.com/", max); err != nil {
			t.Error(err)
		}
	})
	close(answer)
	stays.Wait()
}

// TestAddressesThatAreNotPublic: the default transport connects to public addresses alone, whatever
// the form in which a URL has them.
func TestAddressesThatAreNotPublic(t *testing.T) {
	asked := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	c := fetch.New(fetch.Config{})
	for _, at := range []string{
		srv.URL, "https://localhost:" + port, "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
		"https://0.0.0.0/", "https://10.0.0.1/", "https://169.254.169.254/latest/", "https://192.168.1.1/", "https://[fe80::1]/",
		"https://[fc00::1]/", "https://100.64.0.1/",
	} {
		_, err := c.Get(context.Background(), at, max)
		if !errors.Is(err, client.ErrUnfit) || message(err) != "the addresses of its host aren't public, or its port isn't 443" {
			t.Errorf("%s: got %v", at, err)
		}
	}
	if asked {
		t.Error("a server on loopback was asked")
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server was asked") }))
	t.Cleanup(srv.Close)
	strict, lenient := fetch.New(fetch.Config{}), fetch.New(fetch.Config{AllowLoopback: true})
	for _, at := range []string{
		"", "client.json", "/client.json", "https:", "https:///client.json", "https://user:password@app.example.com/", "https:app.example.com",
		"ftp://app.example.com/", "file:///etc/passwd", "http://app.example.com/", "http://10.0.0.1/", "data:application/json,{}", "https://a b/", "%",
		"http://127.0.0.1.example.com/", "http://localhost.example.com/",
	} {
		for _, c := range []*fetch.Client{strict, lenient} {
			if _, err := c.Get(context.Background(), at, max); !errors.Is(err, client.ErrUnfit) || message(err) == "" {
				t.Errorf("%q: got %v", at, err)
			}
		}
	}
	if _, err := strict.Get(context.Background(), srv.URL, max); message(err) != "its URL must be an https one" {
		t.Errorf("http on loopback: %v", err)
	}
}

func TestLoopbackIsAllowedOnRequest(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/manifest+json")
		_, _ = w.Write([]byte(`[]`))
	}))
	t.Cleanup(srv.Close)
	doc, err := fetch.New(fetch.Config{AllowLoopback: true}).Get(context.Background(), srv.URL, max)
	if err != nil || doc.ContentType != "application/manifest+json" || doc.Lifetime != client.Unsaid {
		t.Errorf("got %+v, %v", doc, err)
	}
}

// TestConcurrentRequestsAreMerged: a crowd of callers with one URL is one request for its server.
func TestConcurrentRequestsAreMerged(t *testing.T) {
	var requests atomic.Int32
	asked, answer := make(chan bool), make(chan bool)
	c := serve(t, fetch.Config{PerSite: 1}, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		asked <- true
		<-answer
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	})
	var all sync.WaitGroup
	get := func() {
		if _, err := c.Get(context.Background(), "https://app.example.com/", max); err != nil {
			t.Error(err)
		}
	}
	all.Go(get)
	<-asked
	waits := make(chan bool, 20)
	for range 20 {
		all.Go(func() { waits <- true; get() })
	}
	for range 20 {
		<-waits
	}
	// The other request of the site is refused while the first is under way: one slow site can't
	// take all turns.
	_, err := c.Get(context.Background(), "https://other.EXAMPLE.com/", max)
	if !errors.Is(err, client.ErrUnreachable) || !strings.Contains(message(err), "too many requests to its site") {
		t.Errorf("another host of the site: %v", err)
	}
	go func() { // late callers may ask again
		for range asked {
		}
	}()
	close(answer)
	all.Wait()
	close(asked)
	if n := requests.Load(); n > 20 {
		t.Errorf("%d requests", n)
	}
}

// TestTurnsAreGivenBack: after failures of every kind, the next request has its turn.
func TestTurnsAreGivenBack(t *testing.T) {
	fail := true
	c := serve(t, fetch.Config{Concurrency: 1, PerSite: 1, Timeout: time.Minute}, func(w http.ResponseWriter, _ *http.Request) {
		if fail {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	})
	for range 5 {
		if _, err := c.Get(context.Background(), "https://app.example.com/", max); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	}
	fail = false
	if _, err := c.Get(context.Background(), "https://app.example.com/", max); err != nil {
		t.Error(err)
	}
}

// TestATransportThatPanics: the caller gets the panic, and not a goroutine that nobody can recover.
func TestATransportThatPanics(t *testing.T) {
	c := fetch.New(fetch.Config{Transport: broken{}})
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "out of order") {
			t.Errorf("recovered %v", p)
		}
	}()
	_, _ = c.Get(context.Background(), "https://app.example.com/", max)
	t.Error("no panic")
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { panic("out of order") }
