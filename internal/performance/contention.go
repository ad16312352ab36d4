package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// contest is how much work of one kind one or more processes do on one database.
type contest struct {
	Work      string  `json:"work"`
	Processes int     `json:"processes,omitempty"` // 0: it is the raw loop
	Rate      float64 `json:"rate"`                // operations per second
	P50       float64 `json:"p50"`                 // in microseconds
	P99       float64 `json:"p99"`
	Retries   float64 `json:"retries"` // for each operation
	Ratio     float64 `json:"ratio"`   // to the raw loop in the same round
	Failed    int     `json:"failed"`
	Error     string  `json:"error,omitempty"`

	run                       func() (measured, error)
	rates, p50s, p99s, ratios []float64
	retries                   uint64
	ops                       int
}

// The operations of a contender, inside of its process.
const (
	opNeighbours = "refreshSession, neighbours"
	opRandom     = "refreshSession, random"
	opSignUp     = "createAccount"
)

// contention measures transactions that get into each other's way in PostgreSQL, by the Go API:
// refreshes of sessions that were opened in the same moment, refreshes of random ones, and sign-ups
// with hashes that cost next to nothing.
func contention(ctx context.Context, args []string, out, log io.Writer) (err error) {
	s := defaults
	flags := flag.NewFlagSet("performance contention", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.IntVar(&s.Rounds, "rounds", s.Rounds, "number of rounds, of which medians are taken")
	flags.DurationVar(&s.Time, "time", s.Time, "time of one measurement")
	flags.IntVar(&s.Accounts, "accounts", 2000, "accounts, each of which has eight sessions")
	flags.StringVar(&s.Out, "out", "", "`directory` to write contention.json to")
	database := flags.String("database", "", "`URL` of a database to use, in place of a server of its own")
	workers := flags.Int("workers", 32, "workers, of all processes together")
	most := flags.Int("processes", 3, "number of processes that are compared with one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := newLab(log, 8, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if *database == "" {
		server, err := pgcluster.Launch()
		if err != nil {
			return err
		}
		l.closing = append(l.closing, server.Remove)
		*database = server.URL()
	}
	all, err := contests(ctx, l, s, *database, *workers, *most)
	if err != nil {
		return err
	}
	for round := range s.Rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		raw := 0.0
		for _, c := range all {
			m, err := c.run()
			if err != nil {
				return fmt.Errorf("%s: %w", c.Work, err)
			}
			if c.Processes == 0 {
				raw = m.rate()
			}
			c.add(m, raw)
		}
		fmt.Fprintf(log, "round %d of %d\n", round+1, s.Rounds)
	}
	fmt.Fprintf(out, "%-28s %9s %9s %9s %9s %9s %6s\n", "work", "processes", "ops/s", "p50", "p99", "retries", "ratio")
	for _, c := range all {
		c.summarize()
		fmt.Fprintf(out, "%-28s %9d %9.0f %9s %9s %9.3f %6.2f", c.Work, c.Processes, c.Rate, micros(c.P50), micros(c.P99), c.Retries, c.Ratio)
		if c.Failed > 0 {
			fmt.Fprintf(out, "; %d FAILED: %s", c.Failed, c.Error)
		}
		fmt.Fprintln(out)
	}
	return writeJSON(s.Out, "contention.json", all)
}

func (c *contest) add(m measured, raw float64) {
	c.rates, c.p50s, c.p99s = append(c.rates, m.rate()), append(c.p50s, m.P50), append(c.p99s, m.P99)
	c.ratios = append(c.ratios, m.rate()/raw)
	c.retries += m.Retries
	c.ops += m.Ops
	c.Failed += m.Failed
	if c.Error == "" {
		c.Error = m.Error
	}
}

func (c *contest) summarize() {
	c.Rate, c.P50, c.P99, c.Ratio = median(c.rates), median(c.p50s), median(c.p99s), median(c.ratios)
	c.Retries = float64(c.retries) / float64(max(1, c.ops))
}

// contests prepares all that is measured: the raw loop, and then everything with one process and
// with several. No two processes have the same sessions, since the tokens of a session that another
// process has refreshed would be answered without writing anything.
func contests(ctx context.Context, l *lab, s settings, url string, workers, most int) ([]*contest, error) {
	begun := time.Now()
	groups := []int{1}
	if most > 1 {
		groups = append(groups, most)
	}
	neighbours, random, err := contestants(ctx, url, s, len(groups), 5*workers)
	if err != nil {
		return nil, err
	}
	raw, err := l.start(spec{Kind: "pgx", Store: url})
	if err != nil {
		return nil, err
	}
	all := []*contest{{Work: limitPgxRefresh, run: func() (m measured, err error) {
		return m, raw.call("/loop", loop{"refresh", workers, s.Time.Seconds()}, &m)
	}}}
	for g, n := range groups {
		var processes []*process
		for i := range n {
			p, err := l.start(spec{
				Kind: "contender", Store: url, Number: len(processes) + 10*g,
				Neighbours: share(neighbours[g], i, n), Random: share(random[g], i, n),
			})
			if err != nil {
				return nil, err
			}
			processes = append(processes, p)
		}
		for _, op := range []string{opNeighbours, opRandom, opSignUp} {
			all = append(all, &contest{Work: op, Processes: n, run: func() (measured, error) {
				return together(processes, op, workers, s.Time)
			}})
		}
	}
	fmt.Fprintf(l.log, "%d accounts and their sessions are there (%.1f s)\n", s.Accounts, time.Since(begun).Seconds())
	return all, nil
}

// contestants creates accounts, and returns refresh tokens for each group of processes: of sessions
// that are opened one after the other, and of sessions whose order in time is none.
func contestants(ctx context.Context, url string, s settings, groups, count int) (neighbours, random [][]string, err error) {
	store, err := postgres.Open(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cfg, err := config(spec{}, "localhost:1")
	if err != nil {
		return nil, nil, err
	}
	srv, err := gatehouse.New(ctx, store, cheaply(cfg))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	all, err := signUp(ctx, srv, s.Accounts, "a", 4)
	if err != nil {
		return nil, nil, err
	}
	random = make([][]string, groups)
	for i, a := range all {
		tokens, err := openSome(ctx, store, srv, a, s.Sessions)
		if err != nil {
			return nil, nil, err
		}
		random[i%groups] = append(random[i%groups], tokens...)
	}
	neighbours = make([][]string, groups)
	for g := range groups {
		for i := range count {
			tokens, err := openSome(ctx, store, srv, all[i%len(all)], 1)
			if err != nil {
				return nil, nil, err
			}
			neighbours[g] = append(neighbours[g], tokens...)
		}
	}
	return neighbours, random, nil
}

// openSome opens sessions of an account, and returns their refresh tokens.
func openSome(ctx context.Context, store storage.Store, srv *gatehouse.Server, a *account, n int) (tokens []string, err error) {
	found, err := srv.Accounts.Find(ctx, a.Handle)
	if err != nil {
		return nil, err
	}
	err = store.Update(ctx, func(tx storage.Tx) error {
		tokens = nil
		for range n {
			t, err := srv.Sessions.Open(tx, found, sessions.Grant{Method: signin.MethodPassword})
			if err != nil {
				return err
			}
			tokens = append(tokens, t.RefreshJWT)
		}
		return nil
	})
	return tokens, err
}

// together has processes do the same at the same time, with some workers in all. Of the latencies it
// returns the mean median and the highest of the others.
func together(processes []*process, op string, workers int, d time.Duration) (measured, error) {
	all, errs := make([]measured, len(processes)), make([]error, len(processes))
	var running sync.WaitGroup
	for i, p := range processes {
		running.Go(func() {
			n := len(share(make([]struct{}, workers), i, len(processes)))
			errs[i] = p.call("/loop", loop{op, n, d.Seconds()}, &all[i])
		})
	}
	running.Wait()
	var sum measured
	for _, m := range all {
		sum.Ops += m.Ops
		sum.Failed += m.Failed
		sum.Retries += m.Retries
		sum.Error += m.Error
		sum.Seconds = max(sum.Seconds, m.Seconds)
		sum.P50 += m.P50 / float64(len(all))
		sum.P95, sum.P99 = max(sum.P95, m.P95), max(sum.P99, m.P99)
	}
	return sum, errors.Join(errs...)
}

// pointers returns pointers to the elements of a slice.
func pointers[T any](all []T) []*T {
	to := make([]*T, len(all))
	for i := range all {
		to[i] = &all[i]
	}
	return to
}

// contend is the kind contender: at "/loop", it refreshes its sessions or signs up.
func contend(ctx context.Context, s spec, _ net.Addr) (http.Handler, world, io.Closer, error) {
	store, err := postgres.Open(ctx, s.Store)
	if err != nil {
		return nil, world{}, nil, err
	}
	cfg, err := config(spec{}, "localhost:1")
	if err != nil {
		return nil, world{}, nil, err
	}
	srv, err := gatehouse.New(ctx, store, cheaply(cfg))
	if err != nil {
		return nil, world{}, nil, err
	}
	var created atomic.Int64
	operations := func(l loop) (func(worker int) error, error) {
		refresh := func(tokens []string) func(int) error {
			next := make([]func() *string, l.Workers)
			for w := range next {
				next[w] = around(share(pointers(tokens), w, l.Workers))
			}
			return func(worker int) error {
				token := next[worker]()
				t, err := srv.Sessions.Refresh(ctx, *token)
				if err == nil {
					*token = t.RefreshJWT
				}
				return err
			}
		}
		switch l.Op {
		case opNeighbours:
			return refresh(s.Neighbours), nil
		case opRandom:
			return refresh(s.Random), nil
		case opSignUp:
			return func(int) error {
				name := fmt.Sprintf("n%d-%d", s.Number, created.Add(1))
				_, err := srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: name + ".test", Email: name + "@example.com", Password: knownPassword})
				return err
			}, nil
		}
		return nil, fmt.Errorf("there is no operation %q", strings.TrimSpace(l.Op))
	}
	return handleLoop(func(l loop) (measured, error) {
		do, err := operations(l)
		if err != nil {
			return measured{}, err
		}
		before := store.Stats().Retries
		m := drive(l.Workers, l.duration(), do)
		m.Retries = store.Stats().Retries - before
		return m, nil
	}), world{}, closers{srv, store}, nil
}
