package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is the server process if a test has started it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEverythingIsMeasured runs all workloads for moments, and reads what the program writes.
func TestEverythingIsMeasured(t *testing.T) {
	s := settings{
		Rounds: 2, Time: 10 * time.Millisecond, Clients: []int{1, 3}, Stores: []string{"memory", "bolt"},
		Accounts: 6, PasswordAccounts: 3, Sessions: 2, HashMemory: 8, HashTime: 1,
	}
	r, err := runMatrix(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.failed(); err != nil {
		t.Error(err)
	}
	measured := map[string]int{}
	for _, x := range r.Rows {
		measured[x.Store]++
		if x.Ops == 0 || x.Rate <= 0 || x.P50 <= 0 || x.P99 < x.P95 || x.P95 < x.P50 {
			t.Errorf("%s on %q with %d clients: %+v", x.Work, x.Store, x.Clients, x)
		}
		if x.Store != "" && (x.Limit == "" || x.Ratio <= 0) {
			t.Errorf("%s on %s with %d clients has no ratio: %+v", x.Work, x.Store, x.Clients, x)
		}
	}
	if each := len(workloads) * len(s.Clients); measured["memory"] != each || measured["bolt"] != each {
		t.Errorf("%v rows, want %d for each store", measured, each)
	}
	var table bytes.Buffer
	r.print(&table)
	if lines := strings.Count(table.String(), "\n"); lines != len(r.Rows)+1 {
		t.Errorf("the table has %d lines for %d rows:\n%s", lines, len(r.Rows), &table)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read report
	if err := json.Unmarshal(b, &read); err != nil || len(read.Rows) != len(r.Rows) || len(read.Runs) != len(r.Runs) || read.Machine.Cores == 0 {
		t.Errorf("performance.json: %v, with %d rows and %d runs", err, len(read.Rows), len(read.Runs))
	}
	if b, err = os.ReadFile(filepath.Join(dir, "performance.svg")); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("performance.svg: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			bars++
		}
	}
	if want := 2 * len(workloads); bars != want {
		t.Errorf("the plot has %d bars, want %d", bars, want)
	}
}

// TestTheGarbageCollectorIsThatOfTheStandalone: gc.go is a copy of the file there, since an example
// can't be imported and doesn't use what embedders can't.
func TestTheGarbageCollectorIsThatOfTheStandalone(t *testing.T) {
	theirs, err := os.ReadFile("../../examples/standalone/gc.go")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("gc.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, theirs) {
		t.Error("gc.go differs: copy examples/standalone/gc.go, and measure what that changes")
	}
}

// TestFailuresAreReported loads a server that knows none of the sessions.
func TestFailuresAreReported(t *testing.T) {
	p, err := start(spec{Kind: "gatehouse", Store: "memory", Dir: t.TempDir(), HashMemory: 8, HashTime: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	p.Accounts = []*account{{Handle: "nobody.test", Access: "a.b.c"}}
	r, err := defaults.httpCell(workloads[1], newTarget(p, "memory", nil)).measure(0, 1, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed == 0 || r.Ops != 0 || !strings.Contains(r.Error, "InvalidToken") {
		t.Errorf("the run is %+v", r)
	}
	all := newReport(defaults)
	all.Runs = append(all.Runs, r)
	all.summarize()
	if all.failed() == nil {
		t.Error("the report has no failure")
	}
}
