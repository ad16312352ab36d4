package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// report is all that was measured.
type report struct {
	Date     time.Time         `json:"date"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Settings settings          `json:"settings"`
	Rows     []*row            `json:"rows"`
	Runs     []*run            `json:"runs"`
}

// machine is what it was measured on.
type machine struct {
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
}

// run is one measurement in one round.
type run struct {
	Round   int    `json:"round"`
	Clients int    `json:"clients"`
	Store   string `json:"store,omitempty"` // empty: it is a limit
	Work    string `json:"work"`
	measured
	ServerCPU float64 `json:"serverCPU"` // in microseconds for each request
	ClientCPU float64 `json:"clientCPU"`
	Limit     string  `json:"limit,omitempty"`
	LimitRate float64 `json:"limitRate,omitempty"` // in the same round
	Ratio     float64 `json:"ratio,omitempty"`

	serverCPU, clientCPU time.Duration
}

// row is the summary of the runs of one thing with one number of clients: medians over the rounds.
type row struct {
	Work      string  `json:"work"`
	Store     string  `json:"store,omitempty"`
	Clients   int     `json:"clients"`
	Rate      float64 `json:"rate"` // operations per second
	P50       float64 `json:"p50"`
	P95       float64 `json:"p95"`
	P99       float64 `json:"p99"`
	ServerCPU float64 `json:"serverCPU"`
	ClientCPU float64 `json:"clientCPU"`
	Limit     string  `json:"limit,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`  // to the limit
	Target    float64 `json:"target,omitempty"` // of the ratio
	// Reference is the ratio to the rate of the reference server in the same round.
	Reference float64 `json:"reference,omitempty"`
	Ops       int     `json:"ops"` // in all rounds
	Failed    int     `json:"failed"`
	Error     string  `json:"error,omitempty"`
}

// goal is the ratio that a workload should reach with 32 clients.
func goal(work, store string) float64 {
	switch {
	case store == "reference":
		return 0
	case work == "describeServer":
		return 0.85
	case work == "getSession" && store == "bolt":
		return 0.65
	case (work == "refreshSession" || work == "createSession app password") && store == "bolt":
		return 0.6
	case (work == "createSession" || work == "createAccount"):
		return 0.85
	case (work == "refreshSession" || work == "getSession") && store == "postgres":
		return 0.7
	}
	return 0
}

func newReport(s settings) *report {
	return &report{
		Date:     time.Now().UTC().Truncate(time.Second),
		Machine:  machine{runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU()},
		Versions: map[string]string{"Go": runtime.Version()},
		Settings: s,
	}
}

// processor returns the name of the processor, where Linux tells it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func postgresVersion(ctx context.Context, url string) (version string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	return version, conn.QueryRow(ctx, "SHOW server_version").Scan(&version)
}

// summarize makes the rows of the runs, in the order of their first runs.
func (r *report) summarize() {
	type key struct {
		work, store string
		clients     int
	}
	groups := map[key][]*run{}
	var order []key
	for _, one := range r.Runs {
		k := key{one.Work, one.Store, one.Clients}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], one)
	}
	for _, k := range order {
		g := groups[k]
		of := func(value func(*run) float64) float64 {
			var all []float64
			for _, one := range g {
				all = append(all, value(one))
			}
			return median(all)
		}
		sum := &row{
			Work: k.work, Store: k.store, Clients: k.clients, Limit: g[0].Limit,
			Rate: of(func(r *run) float64 { return r.rate() }),
			P50:  of(func(r *run) float64 { return r.P50 }), P95: of(func(r *run) float64 { return r.P95 }), P99: of(func(r *run) float64 { return r.P99 }),
			ServerCPU: of(func(r *run) float64 { return r.ServerCPU }), ClientCPU: of(func(r *run) float64 { return r.ClientCPU }),
			Ratio: of(func(r *run) float64 { return r.Ratio }),
		}
		if k.clients == 32 {
			sum.Target = goal(k.work, k.store)
		}
		if other := groups[key{k.work, "reference", k.clients}]; other != nil && k.store != "" && k.store != "reference" {
			var ratios []float64
			for i := range min(len(g), len(other)) {
				ratios = append(ratios, g[i].rate()/other[i].rate())
			}
			sum.Reference = median(ratios)
		}
		for _, one := range g {
			sum.Ops += one.Ops
			sum.Failed += one.Failed
			if sum.Error == "" {
				sum.Error = one.Error
			}
		}
		r.Rows = append(r.Rows, sum)
	}
}

// median returns the median, or the lower of two.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// print writes the rows as a table.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%-26s %-9s %7s %9s %9s %9s %9s %8s %8s %6s  %s\n",
		"work", "store", "clients", "ops/s", "p50", "p95", "p99", "CPU", "client", "ratio", "to")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%-26s %-9s %7d %9.0f %9s %9s %9s %8s %8s", x.Work, x.Store, x.Clients, x.Rate,
			micros(x.P50), micros(x.P95), micros(x.P99), micros(x.ServerCPU), micros(x.ClientCPU))
		if x.Limit != "" {
			fmt.Fprintf(w, " %6.2f  %s", x.Ratio, x.Limit)
		}
		if x.Target > 0 {
			fmt.Fprintf(w, " (target %.2f)", x.Target)
		}
		if x.Reference > 0 {
			fmt.Fprintf(w, "; %.2f × the reference", x.Reference)
		}
		if x.Failed > 0 {
			fmt.Fprintf(w, "; %d FAILED: %s", x.Failed, x.Error)
		}
		fmt.Fprintln(w)
	}
}

// micros returns microseconds as text with three digits.
func micros(us float64) string {
	switch {
	case us >= 99_950:
		return fmt.Sprintf("%.0f ms", us/1e3)
	case us >= 9_995:
		return fmt.Sprintf("%.1f ms", us/1e3)
	case us >= 999.5:
		return fmt.Sprintf("%.2f ms", us/1e3)
	case us >= 99.95:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.1f µs", us)
}

// failed returns an error if a request has failed.
func (r *report) failed() error {
	for _, x := range r.Rows {
		if x.Failed > 0 {
			return fmt.Errorf("%s on %s: %d requests failed: %s", x.Work, x.Store, x.Failed, x.Error)
		}
	}
	return nil
}

// write writes the report and its plot into a directory.
func (r *report) write(dir string) error {
	if err := writeJSON(dir, "performance.json", r); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "performance.svg"), []byte(r.plot()), 0o644)
}
