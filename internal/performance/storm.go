package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// calm is what reading costs alone and in a storm of log-ins, on one store.
type calm struct {
	Store    string  `json:"store"`
	P50      float64 `json:"p50"` // of getSession alone, in microseconds
	P99      float64 `json:"p99"`
	StormP50 float64 `json:"stormP50"`
	StormP99 float64 `json:"stormP99"`
	Times    float64 `json:"times"`   // the median over the rounds of the ratios of the p99
	LogIns   float64 `json:"logIns"`  // a second
	Before   int64   `json:"before"`  // resident memory of the server before the first storm, in bytes
	Peak     int64   `json:"peak"`    // and at most in the storms
	Refused  int     `json:"refused"` // requests
}

// storm measures reads of sessions alone, and while clients log in with passwords as fast as they
// can.
func storm(ctx context.Context, args []string, out, log io.Writer) (err error) {
	s := defaults
	s.Stores = []string{"memory", "bolt"}
	flags := flag.NewFlagSet("performance storm", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.IntVar(&s.Rounds, "rounds", s.Rounds, "number of rounds, of which medians are taken")
	flags.DurationVar(&s.Time, "time", 2*time.Second, "time of one measurement")
	flags.StringVar(&s.Out, "out", "", "`directory` to write storm.json to")
	flags.Var(list[string]{&s.Stores, oneOf("memory", "bolt")}, "stores", "stores to measure")
	readers := flags.Int("readers", 8, "clients that read")
	stormers := flags.Int("logins", 32, "clients that log in")
	cheap := flags.Bool("cheap", false, "with hashes that cost next to nothing, to try the program out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *cheap {
		s.HashMemory, s.HashTime = 8, 1
	}
	l, err := newLab(log, s.HashMemory, s.HashTime)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var all []*calm
	fmt.Fprintf(out, "%-9s %9s %9s %10s %10s %6s %9s %9s %9s\n", "store", "p50", "p99", "storm p50", "storm p99", "times", "log-ins/s", "before", "peak")
	for _, store := range s.Stores {
		p, err := l.start(spec{Kind: "gatehouse", Store: store, Accounts: 100, PasswordAccounts: *stormers, Sessions: 1})
		if err != nil {
			return err
		}
		c, err := weather(ctx, newTarget(p, store, nil), s, *readers, *stormers)
		if err != nil {
			return err
		}
		all = append(all, c)
		fmt.Fprintf(out, "%-9s %9s %9s %10s %10s %6.1f %9.0f %6d MB %6d MB", c.Store, micros(c.P50), micros(c.P99),
			micros(c.StormP50), micros(c.StormP99), c.Times, c.LogIns, c.Before>>20, c.Peak>>20)
		if c.Refused > 0 {
			fmt.Fprintf(out, "; %d requests refused", c.Refused)
		}
		fmt.Fprintln(out)
	}
	return writeJSON(s.Out, "storm.json", all)
}

// weather measures a server alone and in a storm, in turns.
func weather(ctx context.Context, t *target, s settings, readers, stormers int) (*calm, error) {
	scripts := func(w func(*target, int, int) *script, n int) []*script {
		all := make([]*script, n)
		for i := range all {
			all[i] = w(t, i, n)
		}
		return all
	}
	at := func(run func()) { run() }
	logIn := func(t *target, i, n int) *script {
		return logIns(t, share(t.PasswordAccounts, i, n), func(a *account) string { return a.Password })
	}
	c := &calm{Store: t.store}
	var p50, p99, storm50, storm99, times, rates []float64
	pid := t.cmd.Process.Pid
	for round := range s.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		alone, err := load(dial, t.Addr, scripts(getSessions, readers), 0, s.Time, at)
		if err != nil {
			return nil, err
		}
		if round == 0 {
			c.Before, _ = residentOf(pid)
			resetPeak(pid)
		}
		type outcome struct {
			m   measured
			err error
		}
		ended := make(chan outcome)
		const blow = 300 * time.Millisecond // until the storm is at its height
		go func() {
			m, err := load(dial, t.Addr, scripts(logIn, stormers), 0, blow+s.Time, at)
			ended <- outcome{m, err}
		}()
		time.Sleep(blow)
		in, err := load(dial, t.Addr, scripts(getSessions, readers), 0, s.Time, at)
		o := <-ended
		if err := errors.Join(err, o.err); err != nil {
			return nil, err
		}
		c.Refused += alone.Failed + in.Failed + o.m.Failed
		p50, p99 = append(p50, alone.P50), append(p99, alone.P99)
		storm50, storm99 = append(storm50, in.P50), append(storm99, in.P99)
		times, rates = append(times, in.P99/alone.P99), append(rates, o.m.rate())
	}
	_, c.Peak = residentOf(pid)
	c.P50, c.P99, c.StormP50, c.StormP99 = median(p50), median(p99), median(storm50), median(storm99)
	c.Times, c.LogIns = median(times), median(rates)
	return c, nil
}
