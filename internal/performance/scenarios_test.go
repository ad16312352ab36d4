package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
)

// command runs a command of the program, and decodes what it writes to a file.
func command(t *testing.T, result any, args ...string) (table string) {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	if err := commands[args[0]](t.Context(), append(args[1:], "-out", dir), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, args[0]+".json"))
	if err == nil {
		err = json.Unmarshal(b, result)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStorm(t *testing.T) {
	var all []calm
	table := command(t, &all, "storm", "-rounds", "1", "-time", "10ms", "-stores", "memory,bolt", "-readers", "2", "-logins", "3", "-cheap")
	if len(all) != 2 || strings.Count(table, "\n") != 3 {
		t.Fatalf("%+v\n%s", all, table)
	}
	for _, c := range all {
		if c.Store == "" || c.P50 <= 0 || c.P99 < c.P50 || c.StormP50 <= 0 || c.Times <= 0 || c.LogIns <= 0 || c.Refused > 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestScale(t *testing.T) {
	var sizes []size
	table := command(t, &sizes, "scale", "-accounts", "300", "-small", "100", "-rounds", "1", "-time", "10ms", "-workers", "2")
	if len(sizes) != 2 || sizes[0].Accounts != 100 || sizes[1].Accounts != 300 || !strings.Contains(table, "sessions") {
		t.Fatalf("%+v\n%s", sizes, table)
	}
	for _, s := range sizes {
		if s.Imported <= 0 || s.Opened <= 0 || s.Open <= 0 || s.File <= 0 || s.Tables["accounts"] <= 0 || s.Tables["sessions"] <= 0 ||
			s.Verify <= 0 || s.GetSession <= 0 || s.LogIn <= 0 || s.Refresh <= 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestStarts(t *testing.T) {
	var s starting
	if table := command(t, &s, "start"); s.Servers == 0 || s.Each <= 0 || s.Allocations == 0 || !strings.Contains(table, "NewServer") {
		t.Errorf("%+v: %s", s, table)
	}
}

func TestContention(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: no PostgreSQL in short mode")
	}
	server, err := pgcluster.Launch("fsync=off")
	if err != nil {
		t.Skip("skipped:", err)
	}
	defer server.Remove()
	var all []contest
	command(t, &all, "contention", "-database", server.URL(), "-rounds", "1", "-time", "20ms", "-accounts", "8", "-workers", "3", "-processes", "2")
	if len(all) != 7 {
		t.Fatalf("%d rows: %+v", len(all), all)
	}
	for _, c := range all {
		if c.Rate <= 0 || c.P50 <= 0 || c.P99 < c.P50 || c.Ratio <= 0 || c.Failed > 0 {
			t.Errorf("%+v", c)
		}
	}
}

// TestCommandLine has flags that are wrong.
func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"-stores", "sqlite"}, {"-work", "nothing"}, {"-clients", "many"}, {"-clients", "0"}, {"-rounds", "0"}, {"-nonsense"}, {"more"},
	} {
		if err := measure(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	if err := execute(t.Context(), []string{"nothing"}); err == nil {
		t.Error("there is a command that there isn't")
	}
}
