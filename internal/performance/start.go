package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// starting is what a server costs a test.
type starting struct {
	Servers     int     `json:"servers"`
	Each        float64 `json:"each"` // from gatehousetest.NewServer to the end of Close, in microseconds
	Allocations int64   `json:"allocations"`
	Bytes       int64   `json:"bytes"`
}

// starts measures how long it takes to start and close a server of gatehousetest.
func starts(_ context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("performance start", flag.ContinueOnError)
	flags.SetOutput(log)
	to := flags.String("out", "", "`directory` to write start.json to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			gatehousetest.NewServer(b).Close()
		}
	})
	if r.N == 0 {
		return fmt.Errorf("a server didn't start")
	}
	s := starting{r.N, float64(r.T) / float64(r.N) / float64(time.Microsecond), r.AllocsPerOp(), r.AllocedBytesPerOp()}
	fmt.Fprintf(out, "%d servers, each %s from NewServer to the end of Close, with %d allocations of %d KB\n", s.Servers, micros(s.Each), s.Allocations, s.Bytes>>10)
	return writeJSON(*to, "start.json", s)
}
