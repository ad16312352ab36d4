package password

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

func cheap(t testing.TB, workers int) *Hasher {
	t.Helper()
	h, err := New(Config{Params: CheapParams, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHashVerifiesOnlyItsOwnPassword(t *testing.T) {
	h := cheap(t, 1)
	for _, pw := range []string{"", "correct horse", "pässwörd-✓", strings.Repeat("x", 512)} {
		encoded, err := h.Hash(t.Context(), pw)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(encoded, "$argon2id$v=19$m=8,t=1,p=1$") {
			t.Errorf("encoded as %q", encoded)
		}
		if ok, rehash, err := h.Verify(t.Context(), encoded, pw, 0); !ok || rehash || err != nil {
			t.Errorf("right password %q: ok %t, rehash %t, %v", pw, ok, rehash, err)
		}
		if ok, rehash, err := h.Verify(t.Context(), encoded, pw+" ", 0); ok || rehash || err != nil {
			t.Errorf("wrong password for %q: ok %t, rehash %t, %v", pw, ok, rehash, err)
		}
	}
}

func TestEqualPasswordsHaveDifferentHashes(t *testing.T) {
	h := cheap(t, 1)
	a, _ := h.Hash(t.Context(), "same")
	b, _ := h.Hash(t.Context(), "same")
	if a == b {
		t.Errorf("both are %q", a)
	}
}

// Computed by Node.js 20: crypto.scryptSync("correct horse battery staple", salt, 64).
const knownScrypt = "00112233445566778899aabbccddeeff:5699cfee2c5c280e66678242092f368ce88ff05305af2c75a9e629d473deb2165b3797e0e31ec3cda30414573befb697f928384c38b187e8c176107e5be20f01"

func TestKnownHashes(t *testing.T) {
	h := cheap(t, 1)
	for _, c := range []struct{ name, encoded, password string }{
		// From the test suite of the argon2 reference implementation.
		{"argon2id, small", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
		{"argon2id, two lanes", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"},
		{"argon2id, 64 MiB", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
		{"scrypt", knownScrypt, "correct horse battery staple"},
		{"scrypt, not ASCII", "8f3b1c0d9e7a6f5544332211deadbeef:e8a9de6ef57ae5d4daa86f053467123bdd5889eda13cf25ba71f9fef0b5c9cafc25cebd61fb336681d24b809a23704291ac35dfb4e51df5d27e32000eecd5509", "pässwörd-✓"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ok, rehash, err := h.Verify(t.Context(), c.encoded, c.password, 0); !ok || !rehash || err != nil {
				t.Errorf("right password: ok %t, rehash %t, %v", ok, rehash, err)
			}
			if ok, rehash, err := h.Verify(t.Context(), c.encoded, "wrong", 0); ok || rehash || err != nil {
				t.Errorf("wrong password: ok %t, rehash %t, %v", ok, rehash, err)
			}
		})
	}
}

func TestRehashFollowsTheConfiguration(t *testing.T) {
	old, err := cheap(t, 1).Hash(t.Context(), "pw")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		params Params
		want   bool
	}{
		{CheapParams, false},
		{Params{Time: 2, Memory: 8, Threads: 1}, true},
		{Params{Time: 1, Memory: 16, Threads: 1}, true},
		{Params{Time: 1, Memory: 16, Threads: 2}, true},
	} {
		h, err := New(Config{Params: c.params})
		if err != nil {
			t.Fatal(err)
		}
		if ok, rehash, err := h.Verify(t.Context(), old, "pw", 0); !ok || rehash != c.want || err != nil {
			t.Errorf("configured %s: ok %t, rehash %t, %v; want rehash %t", c.params, ok, rehash, err, c.want)
		}
	}
}

func TestUnusableHashesAreErrors(t *testing.T) {
	const salt, sum = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	h := cheap(t, 1)
	for name, encoded := range map[string]string{
		"empty":                "",
		"plain text":           "hunter2",
		"argon2i":              "$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + sum,
		"old version":          "$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + sum,
		"no version":           "$argon2id$m=256,t=2,p=1$" + salt + "$" + sum,
		"memory too big":       "$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + sum,
		"time too long":        "$argon2id$v=19$m=8,t=4294967295,p=1$" + salt + "$" + sum,
		"product too big":      "$argon2id$v=19$m=1048576,t=5,p=1$" + salt + "$" + sum,
		"too many threads":     "$argon2id$v=19$m=65536,t=1,p=255$" + salt + "$" + sum,
		"no time":              "$argon2id$v=19$m=256,t=0,p=1$" + salt + "$" + sum,
		"no threads":           "$argon2id$v=19$m=256,t=1,p=0$" + salt + "$" + sum,
		"negative":             "$argon2id$v=19$m=-1,t=1,p=1$" + salt + "$" + sum,
		"parameters swapped":   "$argon2id$v=19$t=2,m=256,p=1$" + salt + "$" + sum,
		"a parameter too many": "$argon2id$v=19$m=256,t=2,p=1,x=1$" + salt + "$" + sum,
		"short salt":           "$argon2id$v=19$m=256,t=2,p=1$YQ$" + sum,
		"empty hash":           "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$",
		"huge hash":            "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + strings.Repeat("A", 1<<16),
		"padded base64":        "$argon2id$v=19$m=256,t=2,p=1$" + salt + "=$" + sum,
		"a part too many":      "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum + "$",
		"scrypt, short hash":   "00112233445566778899aabbccddeeff:00",
		"scrypt, not hex":      "00112233445566778899aabbccddeeff:" + strings.Repeat("zz", 64),
		"scrypt, no salt":      ":" + strings.Repeat("00", 64),
		"scrypt, huge salt":    strings.Repeat("0", 1<<16) + ":" + strings.Repeat("00", 64),
	} {
		t.Run(name, func(t *testing.T) {
			ok, rehash, err := h.Verify(t.Context(), encoded, "password", 0)
			if ok || rehash || !errors.Is(err, ErrUnknownFormat) {
				t.Errorf("ok %t, rehash %t, %v", ok, rehash, err)
			}
			if err != nil && (strings.Contains(err.Error(), sum) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("the error contains the secret: %v", err)
			}
		})
	}
}

func TestBadConfigurations(t *testing.T) {
	for name, cfg := range map[string]Config{
		"negative workers": {Workers: -1},
		"negative queue":   {Queue: -1},
		"no passes":        {Params: Params{Memory: 64, Threads: 1}},
		"too little":       {Params: Params{Time: 1, Memory: 8, Threads: 4}},
		"too much":         {Params: Params{Time: 1, Memory: 2 << 20, Threads: 1}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestZeroConfigWorks(t *testing.T) {
	h, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := h.Hash(t.Context(), "pw")
	if err != nil || !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", encoded, err)
	}
	if ok, rehash, err := h.Verify(t.Context(), encoded, "pw", 0); !ok || rehash || err != nil {
		t.Errorf("ok %t, rehash %t, %v", ok, rehash, err)
	}
	if h.queue.free < 1 || h.queue.limit != 64*h.queue.free {
		t.Errorf("%d workers and room for %d to wait", h.queue.free, h.queue.limit)
	}
}

func TestSaltsComeFromTheConfiguredSource(t *testing.T) {
	h, err := New(Config{Params: CheapParams, Rand: bytes.NewReader(make([]byte, saltSize))})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := h.Hash(t.Context(), "pw")
	if err != nil || !strings.Contains(encoded, "$AAAAAAAAAAAAAAAAAAAAAA$") {
		t.Errorf("%q, %v", encoded, err)
	}
	if _, err := h.Hash(t.Context(), "pw"); err == nil {
		t.Error("no error from a source that is too short")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	h := cheap(t, 1)
	encoded, err := h.Hash(t.Context(), "pw")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.enter(t.Context()); err != nil { // the only worker is busy
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := map[string]func() error{
		"Hash":   func() error { _, err := h.Hash(ctx, "pw"); return err },
		"Verify": func() error { _, _, err := h.Verify(ctx, encoded, "pw", 0); return err },
		"Dummy":  func() error { return h.Dummy(ctx, "pw", 0) },
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			if err := call(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	cancel()
	wg.Wait()

	h.queue.leave() // the worker is free, but the contexts have ended
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a free worker: %v", name, err)
		}
	}
	if err := h.Dummy(t.Context(), "pw", 0); err != nil {
		t.Errorf("the pool doesn't recover: %v", err)
	}
}

// counting is a verifier that records how many of them run at the same time.
type counting struct {
	mu           *sync.Mutex
	running, top *int
	inside       chan struct{}
	leave        chan struct{}
}

func (c counting) want() []byte { return nil }

func (c counting) work() int64 { return 0 }

func (c counting) derive(string) ([]byte, error) {
	c.mu.Lock()
	*c.running++
	*c.top = max(*c.top, *c.running)
	c.mu.Unlock()
	c.inside <- struct{}{}
	<-c.leave
	c.mu.Lock()
	*c.running--
	c.mu.Unlock()
	return nil, nil
}

func TestConcurrentHashesAreBounded(t *testing.T) {
	const workers, callers = 3, 20
	h := cheap(t, workers)
	c := counting{new(sync.Mutex), new(int), new(int), make(chan struct{}, callers), make(chan struct{})}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := h.try(t.Context(), c, "", 0); err != nil {
				t.Error(err)
			}
		})
	}
	for range workers {
		<-c.inside // all workers are taken
	}
	close(c.leave)
	wg.Wait()
	if *c.top != workers {
		t.Errorf("%d ran at once; want %d", *c.top, workers)
	}
}

// blocking is a verifier that reports when it begins, and continues when it is allowed to.
type blocking struct {
	name string
	at   chan string
	on   chan struct{}
}

func (b blocking) want() []byte { return []byte(b.name) }

func (b blocking) work() int64 { return 0 }

func (b blocking) derive(string) ([]byte, error) {
	b.at <- b.name
	<-b.on
	return []byte(b.name), nil
}

func TestClientsWaitInLinesByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{Params: CheapParams, Workers: 1, Queue: 4})
		if err != nil {
			t.Fatal(err)
		}
		b := blocking{at: make(chan string), on: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		start := func(name, address string, want error) {
			b.name = name
			b := b
			wg.Go(func() {
				ctx := ratelimit.NewContext(ctx, ratelimit.Client{Address: address})
				if _, err := h.try(ctx, b, "", 0); !errors.Is(err, want) {
					t.Errorf("%s: %v; want %v", name, err, want)
				}
			})
			synctest.Wait() // it is in line, or turned away
		}
		const storm, user = "192.0.2.1", "198.51.100.7"
		start("first", storm, nil)
		if name := <-b.at; name != "first" {
			t.Fatal(name)
		}
		for range 3 {
			start("storm", storm, nil)
		}
		start("the storm's newest", storm, ErrBusy)
		start("storm beyond the bound", storm, ErrBusy)
		start("user", user, nil)

		busy := ratelimit.NewContext(ctx, ratelimit.Client{Address: storm})
		if _, err := h.Hash(busy, "pw"); !errors.Is(err, ErrBusy) {
			t.Errorf("Hash: %v", err)
		}
		if _, _, err := h.Verify(busy, cheapest, "pw", 0); !errors.Is(err, ErrBusy) {
			t.Errorf("Verify: %v", err)
		}
		if err := h.Dummy(busy, "pw", 0); !errors.Is(err, ErrBusy) {
			t.Errorf("Dummy: %v", err)
		}

		for _, want := range []string{"storm", "user", "storm", "storm"} {
			b.on <- struct{}{}
			if name := <-b.at; name != want {
				t.Errorf("%s is served; want %s", name, want)
			}
		}
		b.on <- struct{}{}
		wg.Wait()

		// Callers without an address share a line, and leave it when their contexts end.
		start("first", "", nil)
		<-b.at
		for range 4 {
			start("without an address", "", context.Canceled)
		}
		start("beyond the bound", "", ErrBusy)
		cancel()
		synctest.Wait()
		if h.queue.waiting != 0 {
			t.Errorf("%d wait with contexts that ended", h.queue.waiting)
		}
		b.on <- struct{}{} // what was begun is finished
		wg.Wait()
		if h.queue.free != 1 {
			t.Errorf("%d workers are free", h.queue.free)
		}
	})
}

func FuzzVerify(f *testing.F) {
	h := cheap(f, 1)
	for _, encoded := range []string{
		"", "$$$$$", ":", cheapest, knownScrypt,
		"$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$nf65EOgL",
		"$argon2id$v=19$m=8,t=4294967295,p=1" + argon2Tail,
		"00112233445566778899aabbccddeeff:" + strings.Repeat("00", 64),
	} {
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		work := h.Work(encoded)
		if work < 0 || work > maxWork {
			t.Fatalf("%q: work %d", encoded, work)
		}
		if a, err := parseArgon2(encoded); err == nil {
			again, err := parseArgon2(a.String())
			if err != nil || again.String() != a.String() || again.Params != a.Params {
				t.Fatalf("%q reads as %q, which reads as %q, %v", encoded, a, again, err)
			}
			if want := int64(a.Memory) * int64(a.Time); work != want {
				t.Fatalf("%q: work %d; want %d", encoded, work, want)
			}
			if a.Memory > 1024 || a.Time > 8 {
				return // allowed, but slow
			}
		}
		ok, rehash, err := h.Verify(t.Context(), encoded, "x", 0)
		if err != nil && (ok || !errors.Is(err, ErrUnknownFormat)) || rehash && !ok {
			t.Fatalf("%q: ok %t, rehash %t, %v", encoded, ok, rehash, err)
		}
		if (err == nil) != (work > 0) {
			t.Fatalf("%q: work %d, but Verify says %v", encoded, work, err)
		}
	})
}
