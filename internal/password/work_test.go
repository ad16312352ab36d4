package password

import (
	"context"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

const (
	argon2Tail = "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	cheapest   = "$argon2id$v=19$m=8,t=1,p=1" + argon2Tail
)

func TestWorkOfHashes(t *testing.T) {
	h := cheap(t, 1)
	for encoded, want := range map[string]int64{
		"":       0,
		cheapest: 8,
		"$argon2id$v=19$m=19456,t=2,p=1" + argon2Tail:      38912,
		"$argon2id$v=19$m=65536,t=3,p=4" + argon2Tail:      196608,
		"$argon2id$v=19$m=1048576,t=4,p=1" + argon2Tail:    maxWork,
		"$argon2id$v=19$m=1048576,t=5,p=1" + argon2Tail:    0, // too much
		"$argon2id$v=19$m=8,t=4294967295,p=1" + argon2Tail: 0,
		"$argon2i$v=19$m=256,t=2,p=1" + argon2Tail:         0,
		"hunter2": 0,
	} {
		if got := h.Work(encoded); got != want {
			t.Errorf("%q: %d; want %d", encoded, got, want)
		}
	}
	if got, least := h.Work(knownScrypt), DefaultParams.work(); got < least || got > 2*least {
		t.Errorf("scrypt: %d; argon2id with DefaultParams: %d", got, least)
	}
}

// spending returns the total work of the derivations that a call makes.
func spending(h *Hasher, call func() error) (total int64, err error) {
	h.spent = func(work int64) { total += work }
	defer func() { h.spent = nil }()
	err = call()
	return total, err
}

// wrongPassword verifies a wrong password against a stored hash, or calls Dummy if that is empty.
func wrongPassword(ctx context.Context, h *Hasher, encoded string, work int64) error {
	if encoded == "" {
		return h.Dummy(ctx, "wrong", work)
	}
	ok, _, err := h.Verify(ctx, encoded, "wrong", work)
	if ok {
		return errors.New("the wrong password is right")
	}
	return err
}

func TestFailedLoginsCostTheSame(t *testing.T) {
	scrypt := cheap(t, 1).Work(knownScrypt)
	for _, c := range []struct {
		name   string
		params Params
		work   int64 // of the most expensive hash in use
		want   int64
		stored []string
	}{
		{"nothing known about those in use", Params{Time: 2, Memory: 256, Threads: 1}, 0, 512, []string{cheapest}},
		{"all are cheaper than new ones", Params{Time: 2, Memory: 256, Threads: 1}, 8, 512, []string{cheapest}},
		{"scrypt among them", Params{Time: 2, Memory: 256, Threads: 1}, scrypt, scrypt, []string{cheapest, knownScrypt}},
		{"costs were lowered", Params{Time: 1, Memory: 64, Threads: 2}, 3000, 3000, []string{
			cheapest, "$argon2id$v=19$m=1000,t=3,p=1" + argon2Tail, "$argon2id$v=19$m=500,t=4,p=4" + argon2Tail,
		}},
		{"costs were raised, scrypt too", Params{Time: 2, Memory: 28_000, Threads: 1}, scrypt, 56_000, []string{cheapest, knownScrypt}},
		{"no memory to speak of", CheapParams, 1000, 1000, []string{cheapest}},
	} {
		h, err := New(Config{Params: c.params})
		if err != nil {
			t.Fatal(err)
		}
		own, err := h.Hash(t.Context(), "pw")
		if err != nil {
			t.Fatal(err)
		}
		// Rounded down by less than a KiB for each pass, and by what is too little for a hash.
		tolerance := c.want/int64(c.params.Memory) + 1 + minMemory
		for _, encoded := range append(c.stored, own, "") {
			got, err := spending(h, func() error { return wrongPassword(t.Context(), h, encoded, c.work) })
			if err != nil || got > c.want || got < c.want-tolerance {
				t.Errorf("%s: a wrong password for %q took %d, %v; want %d, less %d at most", c.name, encoded, got, err, c.want, tolerance)
			}
		}
	}
}

func TestARightPasswordCostsItsOwnHash(t *testing.T) {
	h := cheap(t, 1)
	own, err := h.Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	for encoded, password := range map[string]string{
		own:         "password",
		knownScrypt: "correct horse battery staple",
		"$argon2id$v=19$m=256,t=2,p=1" + argon2Tail: "password",
	} {
		got, err := spending(h, func() error {
			ok, _, err := h.Verify(t.Context(), encoded, password, maxWork)
			if !ok {
				t.Errorf("%q: wrong", encoded)
			}
			return err
		})
		if want := h.Work(encoded); got != want || err != nil {
			t.Errorf("%q took %d, %v; want %d", encoded, got, err, want)
		}
	}
	got, err := spending(h, func() error { _, err := h.Hash(t.Context(), "password"); return err })
	if want := CheapParams.work(); got != want || err != nil {
		t.Errorf("a new hash took %d, %v; want %d", got, err, want)
	}
}

// TestAnEndedContextCostsNothing gives a context that has ended, with any amount of work.
func TestAnEndedContextCostsNothing(t *testing.T) {
	h := cheap(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, encoded := range []string{"", cheapest, knownScrypt} {
		if got, err := spending(h, func() error { return wrongPassword(ctx, h, encoded, 1000) }); got != 0 || err == nil {
			t.Errorf("%q took %d, %v", encoded, got, err)
		}
	}
}

func TestTheWorkArgumentIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Params{
			Threads: rapid.Uint8Range(1, maxThreads).Draw(t, "threads"),
			Memory:  rapid.OneOf(rapid.Uint32Range(minMemory, 64), rapid.Uint32Range(minMemory, maxMemory)).Draw(t, "memory"),
		}
		p.Threads = uint8(min(uint32(p.Threads), p.Memory/minMemory))
		p.Time = rapid.Uint32Range(1, maxWork/p.Memory).Draw(t, "time")
		h, err := New(Config{Params: p})
		if err != nil {
			t.Fatal(err)
		}
		stored := rapid.Int64Range(1, maxWork).Draw(t, "stored")
		work := rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, maxWork), rapid.Just[int64](math.MaxInt64),
			rapid.Just[int64](math.MinInt64)).Draw(t, "work")

		missing := h.missing(stored, work)
		if want := max(min(work, maxWork), p.work()) - stored; missing != want || missing >= maxWork {
			t.Fatalf("%d is missing; want %d", missing, want)
		}
		rest := h.rest(missing)
		if rest == nil {
			if missing >= minMemory {
				t.Fatalf("%d is missing, and nothing done", missing)
			}
			return
		}
		got := rest.(*argon2Hash)
		if err := got.Check(); err != nil || got.Memory > max(p.Memory, 2*minMemory-1) || got.Threads > p.Threads {
			t.Fatalf("for %d with %s: %s, %v", missing, p, got.Params, err)
		}
		if got.work() > missing || got.work() <= missing-int64(got.Time) {
			t.Fatalf("for %d with %s: %s, which is %d", missing, p, got.Params, got.work())
		}
	})
}
