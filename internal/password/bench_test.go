package password

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// BenchmarkScryptWork measures the cost of scrypt. The metric "units" is the median ratio of the
// times of scrypt and argon2id with [DefaultParams], times the work of the latter.
func BenchmarkScryptWork(b *testing.B) {
	argon2 := &argon2Hash{Params: DefaultParams, salt: make([]byte, saltSize), size: hashSize}
	scrypt := &scryptHash{salt: "00112233445566778899aabbccddeeff"}
	took := func(v verifier) float64 {
		start := time.Now()
		if _, err := v.derive("password"); err != nil {
			b.Fatal(err)
		}
		return time.Since(start).Seconds()
	}
	var units []float64
	for b.Loop() {
		units = append(units, took(scrypt)/took(argon2)*float64(argon2.work()))
	}
	slices.Sort(units)
	b.ReportMetric(units[len(units)/2], "units")
}

// BenchmarkWrongPassword shows that failing logins take equally long whatever the reason.
func BenchmarkWrongPassword(b *testing.B) {
	h, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	highest := h.Work(knownScrypt)
	own, err := h.Hash(b.Context(), "pw")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, encoded string }{
		{"nobody", ""},
		{"default", own},
		{"cheap", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"scrypt", knownScrypt},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := wrongPassword(b.Context(), h, c.encoded, highest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkQueue measures what the queue adds to the cheapest hash when a worker is free, and when
// many callers wait for one.
func BenchmarkQueue(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		q := newQueue(1, 1, nil)
		for b.Loop() {
			if err := q.enter(b.Context(), "192.0.2.1"); err != nil {
				b.Fatal(err)
			}
			q.leave()
		}
	})
	b.Run("derive", func(b *testing.B) {
		v := &argon2Hash{Params: CheapParams, salt: make([]byte, saltSize), size: hashSize}
		for b.Loop() {
			if _, err := v.derive("password"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("free", func(b *testing.B) {
		h := cheap(b, 1)
		for b.Loop() {
			if err := h.Dummy(b.Context(), "password", 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("waiting", func(b *testing.B) {
		h, err := New(Config{Params: CheapParams, Workers: 1, Queue: 1 << 16})
		if err != nil {
			b.Fatal(err)
		}
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			ctx := ratelimit.NewContext(context.Background(), ratelimit.Client{Address: b.Name()})
			for pb.Next() {
				if err := h.Dummy(ctx, "password", 0); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
