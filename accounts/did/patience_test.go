package did

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

const somebody = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")

// busy is a directory that answers with a status and a header until calm is called, and then that
// it doesn't know the DID.
type busy struct {
	*Client
	requests   atomic.Int32
	status     atomic.Int32
	retryAfter atomic.Value // a string

	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
	woken func() // runs after each pause
}

func newBusy(t *testing.T, status int, retryAfter string) *busy {
	t.Helper()
	b := &busy{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.status.Store(int32(status))
	b.retryAfter.Store(retryAfter)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.requests.Add(1)
		if after := b.retryAfter.Load().(string); after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(int(b.status.Load()))
		_, _ = io.WriteString(w, `{"message":"no"}`)
	}))
	t.Cleanup(server.Close)
	var err error
	if b.Client, err = NewClient(ClientConfig{URL: server.URL, Now: b.clock}); err != nil {
		t.Fatal(err)
	}
	b.sleep = b.pause
	return b
}

func (b *busy) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *busy) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// pause advances the clock instead of sleeping.
func (b *busy) pause(ctx context.Context, d time.Duration) error {
	b.advance(d)
	b.slept = append(b.slept, d)
	if b.woken != nil {
		b.woken()
	}
	return ctx.Err()
}

func (b *busy) calm() { b.status.Store(http.StatusNotFound) }

func (b *busy) lookUp(t *testing.T, want error, requests int32) {
	t.Helper()
	if _, err := b.Log(context.Background(), somebody); !errors.Is(err, want) || b.requests.Load() != requests {
		t.Errorf("%v after %d requests; want %v after %d", err, b.requests.Load(), want, requests)
	}
}

// TestLookupsOfABusyDirectory makes one lookup after another: the first waits and tries again, the
// others make no request.
func TestLookupsOfABusyDirectory(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		wait       time.Duration // after each request
	}{
		{429, "7", 7 * time.Second},
		{429, "0", time.Second},
		{429, "", 5 * time.Second},
		{429, "soon", 5 * time.Second},
		{429, "-1", 5 * time.Second},
		{429, "Thu, 01 Jan 2026 00:00:20 GMT", 20 * time.Second}, // the second request comes after that time
		{503, "7", 7 * time.Second},
		{503, " 60 ", time.Minute},
	} {
		t.Run(strconv.Itoa(c.status)+" "+c.retryAfter, func(t *testing.T) {
			b := newBusy(t, c.status, c.retryAfter)
			b.lookUp(t, ErrUnavailable, 3)
			if b.slept[0] != c.wait {
				t.Errorf("waited for %v", b.slept)
			}
			for range 30 {
				b.lookUp(t, ErrUnavailable, 3)
			}
		})
	}
}

// TestABusyDirectoryIsAskedAgain makes lookups after the time that the directory asked for.
func TestABusyDirectoryIsAskedAgain(t *testing.T) {
	t.Run("by the request that waited", func(t *testing.T) {
		b := newBusy(t, 429, "7")
		b.woken = b.calm
		b.lookUp(t, ErrNotFound, 2)
		b.lookUp(t, ErrNotFound, 3)
	})
	for _, c := range []struct {
		status int
		wait   string // too long for a request to wait
		hold   time.Duration
	}{
		{429, "61", 61 * time.Second},
		{503, "61", 61 * time.Second},
		{503, "3600", 5 * time.Minute},
		{429, "99999999999999999999", 5 * time.Minute},
		{503, "Fri, 02 Jan 2026 00:00:00 GMT", 5 * time.Minute},
	} {
		t.Run("by others after "+c.wait, func(t *testing.T) {
			b := newBusy(t, c.status, c.wait)
			b.lookUp(t, ErrUnavailable, 1)
			b.calm()
			b.advance(c.hold - 1)
			b.lookUp(t, ErrUnavailable, 1)
			b.advance(1)
			b.lookUp(t, ErrNotFound, 2)
		})
	}
	t.Run("with a 503 that doesn't say when", func(t *testing.T) {
		b := newBusy(t, 503, "")
		b.lookUp(t, ErrUnavailable, 3)
		b.calm()
		b.lookUp(t, ErrNotFound, 4)
	})
}

// TestOnlyOneRequestWaits makes many concurrent requests, all of which are told to wait.
func TestOnlyOneRequestWaits(t *testing.T) {
	const many = 30
	b := newBusy(t, 429, "7")
	// All requests arrive before the first is answered, and all are answered before the one that
	// waits continues.
	var arrived sync.WaitGroup
	arrived.Add(many)
	transport := b.http.Transport
	var count atomic.Int32
	b.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if count.Add(1) <= many {
			arrived.Done()
			arrived.Wait()
		}
		return transport.RoundTrip(r)
	})
	refused := make(chan error, many)
	b.woken = func() {
		if len(b.slept) > 1 {
			return
		}
		for range many - 1 {
			if err := <-refused; !errors.Is(err, ErrUnavailable) {
				t.Errorf("a request that doesn't wait: %v", err)
			}
		}
	}
	var lookups sync.WaitGroup
	for range many {
		lookups.Go(func() {
			_, err := b.Log(context.Background(), somebody)
			refused <- err
		})
	}
	lookups.Wait()
	if n := b.requests.Load(); n != many+2 || len(b.slept) != 2 {
		t.Errorf("%d lookups made %d requests, with pauses of %v", many, n, b.slept)
	}
}

// TestRequestsWaitNoLongerThanTheirContexts has contexts that end before the time that the
// directory asks for.
func TestRequestsWaitNoLongerThanTheirContexts(t *testing.T) {
	b := newBusy(t, 429, "30")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := b.Log(ctx, somebody); !errors.Is(err, ErrUnavailable) || len(b.slept) > 0 {
		t.Errorf("%v after pauses of %v", err, b.slept)
	}
	b.advance(30 * time.Second)
	// After the request that waited gave up, another one may wait.
	ctx, leave := context.WithCancel(context.Background())
	b.woken = leave
	if _, err := b.Log(ctx, somebody); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.woken = b.calm
	b.lookUp(t, ErrNotFound, 4)
}

// TestOperationsAreSubmittedToABusyDirectory submits an operation while reads are held.
func TestOperationsAreSubmittedToABusyDirectory(t *testing.T) {
	b := newBusy(t, 429, "61")
	b.lookUp(t, ErrUnavailable, 1)
	op, id := chain(t, 1).genesis()
	if err := b.Submit(context.Background(), id, op); !errors.Is(err, ErrUnavailable) || b.requests.Load() != 2 {
		t.Errorf("%v after %d requests", err, b.requests.Load())
	}
	b.status.Store(http.StatusOK)
	if err := b.Submit(context.Background(), id, op); err != nil {
		t.Error(err)
	}
}

// TestARefusedOperationLetsOthersRead has the directory answer 429 to an operation, which may be a
// limit of one DID.
func TestARefusedOperationLetsOthersRead(t *testing.T) {
	b := newBusy(t, 429, "7")
	op, id := chain(t, 1).genesis()
	if err := b.Submit(context.Background(), id, op); !errors.Is(err, ErrUnavailable) || len(b.slept) != 2 || b.slept[0] != 7*time.Second {
		t.Errorf("%v after pauses of %v", err, b.slept)
	}
	b.calm()
	b.lookUp(t, ErrNotFound, 4)
}
