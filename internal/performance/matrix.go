package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
)

// The names of the limits: what does the same as a workload and nothing else.
const (
	limitEmpty      = "empty handler"
	limitSame       = "same bytes"
	limitCommit     = "raw commit"
	limitHash       = "raw hashing"
	limitHashHTTP   = "raw hashing over HTTP"
	limitPgxRefresh = "raw pgx refresh"
	limitPgxRead    = "raw pgx read"
)

// shares is what the mix consists of: its limit is the rate at which the limits of its parts would
// do that.
var shares = map[string]float64{"getSession": 0.90, "refreshSession": 0.05, "createSession": 0.04, "createAccount": 0.01}

// limitOf returns the name of a workload's limit on a store.
func limitOf(work, store string) string {
	switch work {
	case "describeServer":
		return limitSame
	case "createSession", "createAccount":
		return limitHash
	case "getSession", "getSession DPoP":
		if store == "postgres" {
			return limitPgxRead
		}
		return limitEmpty
	}
	switch store {
	case "postgres":
		return limitPgxRefresh
	case "bolt", "reference":
		return limitCommit
	}
	return limitEmpty // nothing waits for a disk
}

// matrix measures all workloads on all stores beside their limits.
type matrix struct {
	*lab
	settings
	key      *oauthtest.Key
	targets  []*target
	cells    []*cell
	report   *report
	postgres string // the URL of the server of PostgreSQL
}

// cell is one thing that is measured in each round, at each number of clients.
type cell struct {
	work, store string // a limit has no store
	pid         int
	run         func(clients int, d time.Duration, meter func(run func())) (measured, error)
	lastOps     map[int]int // by the number of clients
}

// runMatrix is the program without a command.
func runMatrix(ctx context.Context, s settings, log io.Writer) (r *report, err error) {
	l, err := newLab(log, s.HashMemory, s.HashTime)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	m := &matrix{lab: l, settings: s, key: oauthtest.NewKey(), report: newReport(s)}
	if err := m.startTargets(ctx); err != nil {
		return nil, err
	}
	if err := m.startLimits(); err != nil {
		return nil, err
	}
	for _, t := range m.targets {
		for _, w := range workloads {
			if m.wants(w.name) && (w.everywhere || t.store != "reference") {
				m.cells = append(m.cells, m.httpCell(w, t))
			}
		}
	}
	for round := range m.Rounds {
		for _, clients := range m.Clients {
			if err := m.round(ctx, round, clients); err != nil {
				return nil, err
			}
		}
	}
	m.report.summarize()
	return m.report, nil
}

// round measures all cells once, and in every other round from the last to the first.
func (m *matrix) round(ctx context.Context, round, clients int) error {
	rates := map[string]float64{} // of the limits
	var runs []*run
	order := slices.Clone(m.cells)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, c := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.store == "reference" && clients != slices.Max(m.Clients) {
			continue
		}
		r, err := c.measure(round, clients, m.Time)
		if err != nil {
			return fmt.Errorf("%s %s with %d clients: %w", c.store, c.work, clients, err)
		}
		if c.store == "" {
			rates[c.work] = r.rate()
		}
		runs = append(runs, r)
	}
	for _, r := range runs {
		if r.Store != "" {
			r.limit(rates)
		}
	}
	m.report.Runs = append(m.report.Runs, runs...)
	fmt.Fprintf(m.log, "round %d of %d with %d clients: %d measurements\n", round+1, m.Rounds, clients, len(runs))
	return nil
}

// measure measures a cell once.
func (c *cell) measure(round, clients int, d time.Duration) (*run, error) {
	r := &run{Round: round, Clients: clients, Store: c.store, Work: c.work}
	var err error
	r.measured, err = c.run(clients, d, func(run func()) {
		server, own := cpuOf(c.pid), cpuOf(os.Getpid())
		run()
		r.serverCPU, r.clientCPU = cpuOf(c.pid)-server, cpuOf(os.Getpid())-own
	})
	if err != nil {
		return nil, err
	}
	if r.Ops > 0 {
		r.ServerCPU = float64(r.serverCPU.Microseconds()) / float64(r.Ops)
		r.ClientCPU = float64(r.clientCPU.Microseconds()) / float64(r.Ops)
	}
	return r, nil
}

// limit sets the ratio of a run to its limit, from the rates of the limits in the same round.
func (r *run) limit(rates map[string]float64) {
	if r.Work != "mix" {
		r.Limit = limitOf(r.Work, r.Store)
		r.LimitRate = rates[r.Limit]
	} else {
		r.Limit = "limits of its parts"
		seconds := 0.0
		for work, share := range shares {
			seconds += share / rates[limitOf(work, r.Store)]
		}
		r.LimitRate = 1 / seconds
	}
	if r.LimitRate > 0 {
		r.Ratio = r.rate() / r.LimitRate
	}
}

// httpCell returns the cell of a workload on a server.
func (s settings) httpCell(w workload, t *target) *cell {
	c := &cell{work: w.name, store: t.store, pid: t.cmd.Process.Pid, lastOps: map[int]int{}}
	c.run = func(clients int, d time.Duration, meter func(run func())) (measured, error) {
		scripts := make([]*script, clients)
		for i := range scripts {
			scripts[i] = w.script(t, i, clients)
		}
		// What is prepared should last for a round like the last one, and some more.
		n := c.lastOps[clients]*5/4 + int(5000*d.Seconds())/clients
		profiled := make(chan error, 1)
		m, err := load(s.connector(), t.Addr, scripts, n/max(1, min(clients, n))+1, d, func(run func()) {
			if s.Profiles == "" || t.Profiler == "" {
				profiled <- nil
				meter(run)
				return
			}
			file := strings.ReplaceAll(fmt.Sprintf("%s-%s-%d.pprof", t.store, w.name, clients), " ", "-")
			go func() { profiled <- t.profile(filepath.Join(s.Profiles, file), max(1, int(d.Seconds()))) }()
			meter(run)
		})
		if err != nil { // perhaps before anything ran, and was profiled
			return m, err
		}
		c.lastOps[clients] = m.Ops
		return m, <-profiled
	}
	return c
}

// limitCell returns the cell of a limit whose server answers a request.
func (m *matrix) limitCell(name string, p *process, request []byte) {
	c := &cell{work: name, pid: p.cmd.Process.Pid}
	c.run = func(clients int, d time.Duration, meter func(run func())) (measured, error) {
		scripts := make([]*script, clients)
		for i := range scripts {
			scripts[i] = &script{next: func() []byte { return request }}
		}
		return load(m.connector(), p.Addr, scripts, 0, d, meter)
	}
	m.cells = append(m.cells, c)
}

// loopCell returns the cell of a limit that is a loop inside of its process.
func (m *matrix) loopCell(name string, p *process, op string) {
	c := &cell{work: name, pid: p.cmd.Process.Pid}
	c.run = func(clients int, d time.Duration, meter func(run func())) (result measured, err error) {
		meter(func() { err = p.call("/loop", loop{op, clients, d.Seconds()}, &result) })
		return result, err
	}
	m.cells = append(m.cells, c)
}

// startTargets starts the servers that are measured.
func (m *matrix) startTargets(ctx context.Context) error {
	for _, store := range m.Stores {
		spec := spec{
			Kind: "gatehouse", Store: store, Accounts: m.Accounts, PasswordAccounts: m.PasswordAccounts,
			Sessions: m.Sessions, Key: m.key.Thumbprint(),
		}
		if store == "postgres" {
			server, err := pgcluster.Launch()
			if errors.Is(err, pgcluster.ErrNoBinaries) {
				fmt.Fprintln(m.log, "left out: postgres, since", err)
				continue
			}
			if err != nil {
				return err
			}
			m.closing = append(m.closing, server.Remove)
			m.postgres, spec.Store = server.URL(), server.URL()
			if m.report.Versions["PostgreSQL"], err = postgresVersion(ctx, m.postgres); err != nil {
				return err
			}
		}
		begun := time.Now()
		p, err := m.start(spec)
		if err != nil {
			return err
		}
		m.targets = append(m.targets, newTarget(p, store, m.key))
		fmt.Fprintf(m.log, "Gatehouse on %s has its accounts (%.1f s)\n", store, time.Since(begun).Seconds())
	}
	if m.Reference == "" {
		return nil
	}
	p, err := startReference(ctx, m.Reference, filepath.Join(m.dir, "reference"), m.PasswordAccounts)
	if err != nil {
		return err
	}
	m.closing = append(m.closing, p.stop)
	m.targets = append(m.targets, newTarget(p, "reference", nil))
	return nil
}

// startLimits starts what the servers are compared with.
func (m *matrix) startLimits() error {
	needed := map[string]bool{limitEmpty: true}
	record := 0
	for _, t := range m.targets {
		record = max(record, t.Record)
		for _, w := range workloads {
			if !m.wants(w.name) {
				continue
			}
			needed[limitOf(w.name, t.store)] = true
			for part := range shares {
				needed[limitOf(part, t.store)] = needed[limitOf(part, t.store)] || w.name == "mix"
			}
		}
	}
	start := func(s spec) (p *process, err error) {
		s.Record = record
		return m.start(s)
	}
	get := request("GET", "localhost", "/", nil)
	p, err := start(spec{Kind: "empty"})
	if err != nil {
		return err
	}
	m.limitCell(limitEmpty, p, get)
	if needed[limitSame] {
		answers, err := m.record(describeServer)
		if err != nil {
			return err
		}
		if p, err = start(spec{Kind: "same", Answers: answers}); err != nil {
			return err
		}
		m.limitCell(limitSame, p, request("GET", "localhost", describeServer, nil))
	}
	if needed[limitCommit] {
		if p, err = start(spec{Kind: "commit"}); err != nil {
			return err
		}
		m.limitCell(limitCommit, p, request("POST", "localhost", "/", nil))
	}
	if needed[limitHash] {
		if p, err = start(spec{Kind: "hash"}); err != nil {
			return err
		}
		m.loopCell(limitHash, p, "")
		m.limitCell(limitHashHTTP, p, request("POST", "localhost", "/hash", nil))
	}
	if needed[limitPgxRead] || needed[limitPgxRefresh] {
		if p, err = start(spec{Kind: "pgx", Store: m.postgres}); err != nil {
			return err
		}
		m.loopCell(limitPgxRead, p, "read")
		m.loopCell(limitPgxRefresh, p, "refresh")
	}
	return nil
}

// record asks a Gatehouse server for answers.
func (m *matrix) record(paths ...string) (map[string]recorded, error) {
	answers := map[string]recorded{}
	for _, path := range paths {
		r, err := http.NewRequest("GET", "http://"+m.targets[0].Addr+path, nil)
		if err != nil {
			return nil, err
		}
		r.Host = m.targets[0].Host
		r.Header.Set("Accept-Encoding", "gzip") // the body is recorded as it is sent
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
		}
		if err != nil {
			return nil, err
		}
		resp.Header.Del("Date") // net/http sends one
		answers[path] = recorded{resp.Header, body}
	}
	return answers, nil
}

// connector returns how clients connect.
func (s settings) connector() connector {
	if s.NetHTTP {
		return dialUsual
	}
	return dial
}

// wants reports whether a workload was asked for.
func (s settings) wants(work string) bool {
	return len(s.Work) == 0 || slices.ContainsFunc(s.Work, func(w string) bool { return strings.EqualFold(w, work) })
}
