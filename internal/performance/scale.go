package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// size is what a number of accounts costs in a bbolt file.
type size struct {
	Accounts int `json:"accounts"`
	// Imported and Opened are how many accounts were imported and sessions opened a second.
	Imported float64 `json:"imported"`
	Opened   float64 `json:"opened"`
	// Open is how long it takes to open the file and start a server on it, in microseconds.
	Open float64 `json:"open"`
	// Heap is what lives in the heap once it is open and was used, in bytes.
	Heap int64 `json:"heap"`
	// File is the size of the file, and Tables is that of the pages of each table with its indexes,
	// in bytes for each account.
	File   float64            `json:"file"`
	Tables map[string]float64 `json:"tables"`
	// The medians of latencies, in microseconds, of verifying an access token, answering getSession
	// without a network, logging in with a hash that costs next to nothing, and refreshing a session.
	Verify     float64 `json:"verify"`
	GetSession float64 `json:"getSession"`
	LogIn      float64 `json:"logIn"`
	Refresh    float64 `json:"refresh"`
}

// scale compares a store of many accounts with one of a thousand, by the Go API on bbolt.
func scale(ctx context.Context, args []string, out, log io.Writer) (err error) {
	flags := flag.NewFlagSet("performance scale", flag.ContinueOnError)
	flags.SetOutput(log)
	n := flags.Int("accounts", 100_000, "accounts of the larger store, each of which has a session")
	small := flags.Int("small", 1000, "accounts of the smaller store")
	rounds := flags.Int("rounds", 5, "number of rounds, of which medians are taken")
	d := flags.Duration("time", 500*time.Millisecond, "time of one measurement")
	workers := flags.Int("workers", 8, "workers")
	to := flags.String("out", "", "`directory` to write scale.json to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := newLab(log, 8, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var cities []*city
	var sizes []*size
	for _, n := range []int{*small, *n} {
		c, err := newCity(ctx, l, n)
		if err != nil {
			return err
		}
		l.closing = append(l.closing, c.close)
		cities, sizes = append(cities, c), append(sizes, &c.size)
	}
	directory, err := localLog(ctx, l)
	if err != nil {
		return err
	}
	samples := map[string]*[2][]float64{"verify": {}, "getSession": {}, "log in": {}, "refresh": {}}
	for round := range *rounds {
		for i, c := range cities {
			if err := ctx.Err(); err != nil {
				return err
			}
			for what, do := range map[string]func(worker int) error{
				"verify": c.verify(ctx), "getSession": c.getSession, "log in": c.logIn(ctx), "refresh": c.refresh(ctx, *workers),
			} {
				m := drive(*workers, *d, do)
				if m.Failed > 0 {
					return fmt.Errorf("%s: %s", what, m.Error)
				}
				samples[what][i] = append(samples[what][i], m.P50)
			}
		}
		fmt.Fprintf(log, "round %d of %d\n", round+1, *rounds)
	}
	fmt.Fprintf(out, "%9s %10s %10s %9s %8s %10s %9s %10s %9s %9s\n", "accounts", "imported/s", "sessions/s", "open", "heap",
		"bytes each", "verify", "getSession", "log in", "refresh")
	for i, s := range sizes {
		s.Verify, s.GetSession = median(samples["verify"][i]), median(samples["getSession"][i])
		s.LogIn, s.Refresh = median(samples["log in"][i]), median(samples["refresh"][i])
		fmt.Fprintf(out, "%9d %10.0f %10.0f %9s %5.1f MB %10.0f %9s %10s %9s %9s\n", s.Accounts, s.Imported, s.Opened, micros(s.Open),
			float64(s.Heap)/(1<<20), s.File, micros(s.Verify), micros(s.GetSession), micros(s.LogIn), micros(s.Refresh))
	}
	a, b := sizes[0], sizes[1]
	fmt.Fprintf(out, "ratio of the medians: verify %.2f, getSession %.2f, log in %.2f, refresh %.2f\n",
		b.Verify/a.Verify, b.GetSession/a.GetSession, b.LogIn/a.LogIn, b.Refresh/a.Refresh)
	fmt.Fprintln(out, "bytes for each account by table, with its indexes:")
	for _, name := range slices.Sorted(maps.Keys(b.Tables)) {
		if b.Tables[name] >= 1 {
			fmt.Fprintf(out, "%9.0f  %s\n", b.Tables[name], name)
		}
	}
	fmt.Fprintf(out, "%9.0f  more in the local DID directory, of an account that signs up\n", directory)
	return writeJSON(*to, "scale.json", sizes)
}

// city is a server with many accounts.
type city struct {
	size
	path   string
	store  *bolt.Store
	srv    *gatehouse.Server
	access []string // tokens
	tokens []string // refresh tokens
}

// handleOf returns the handle of an account by its number. Numbers that follow each other are far
// apart in the order of handles.
func handleOf(i int) string { return fmt.Sprintf("%07x.test", uint32(i)*2654435761>>4) }

// newCity makes a store with n accounts, opens it, and returns it.
func newCity(ctx context.Context, l *lab, n int) (_ *city, err error) {
	dir, err := l.newDir("city")
	if err != nil {
		return nil, err
	}
	c := &city{size: size{Accounts: n}, path: filepath.Join(dir, "gatehouse.db")}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.fill(ctx, n); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if err := c.close(); err != nil {
		return nil, err
	}
	if err := c.weigh(); err != nil {
		return nil, err
	}
	fmt.Fprintf(l.log, "%d accounts are there\n", n)
	debug.FreeOSMemory()
	before := heap()
	begun := time.Now()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	c.Open = float64(time.Since(begun)) / float64(time.Microsecond)
	drive(2, 100*time.Millisecond, c.verify(ctx))
	c.Heap = heap() - before
	return c, nil
}

// heap returns what lives in the heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (c *city) open(ctx context.Context) error {
	cfg, err := config(spec{}, "localhost:1")
	if err != nil {
		return err
	}
	if c.store, err = bolt.Open(c.path); err != nil {
		return err
	}
	if c.srv, err = gatehouse.New(ctx, c.store, cheaply(cfg)); err != nil {
		return errors.Join(err, c.store.Close())
	}
	return nil
}

func (c *city) close() error { return errors.Join(c.srv.Close(), c.store.Close()) }

// fill imports accounts and opens a session for each. Every so often a token is kept.
func (c *city) fill(ctx context.Context, n int) error {
	h, err := password.New(password.Config{Params: password.CheapParams})
	if err != nil {
		return err
	}
	hash, err := h.Hash(ctx, knownPassword)
	if err != nil {
		return err
	}
	const page = 10_000
	var importing, opening time.Duration
	for from := 0; from < n; from += page {
		list := make([]accounts.Import, min(page, n-from))
		for i := range list {
			id := make([]byte, 15)
			_, _ = rand.Read(id)
			list[i] = accounts.Import{
				DID:    syntax.DID("did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(id))),
				Handle: handleOf(from + i), Email: fmt.Sprintf("%d@example.com", from+i), PasswordHash: hash,
			}
		}
		begun := time.Now()
		imported, err := c.srv.Accounts.Import(ctx, list)
		if err != nil {
			return err
		}
		importing += time.Since(begun)
		begun = time.Now()
		const together = 500
		for i := 0; i < len(imported); i += together {
			some := imported[i:min(i+together, len(imported))]
			var tokens []*sessions.Tokens
			err := c.store.Update(ctx, func(tx storage.Tx) error {
				tokens = tokens[:0]
				for _, one := range some {
					if one.Refused != nil {
						return one.Refused
					}
					t, err := c.srv.Sessions.Open(tx, one.Account, sessions.Grant{Method: signin.MethodPassword})
					if err != nil {
						return err
					}
					tokens = append(tokens, t)
				}
				return nil
			})
			if err != nil {
				return err
			}
			for _, t := range tokens[:max(1, len(tokens)/max(1, n/10_000))] {
				c.access, c.tokens = append(c.access, t.AccessJWT), append(c.tokens, t.RefreshJWT)
			}
		}
		opening += time.Since(begun)
	}
	c.Imported, c.Opened = float64(n)/importing.Seconds(), float64(n)/opening.Seconds()
	return nil
}

// weigh measures the closed file.
func (c *city) weigh() error {
	info, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	c.File = float64(info.Size()) / float64(c.Accounts)
	c.Tables, err = tablesOf(c.path, c.Accounts)
	return err
}

// tablesOf returns how many bytes the pages of each table of a file have, for each of n accounts.
func tablesOf(path string, n int) (map[string]float64, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	tables := map[string]float64{}
	return tables, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			table, _, _ := strings.Cut(string(name), ".") // what follows is the name of an index
			s := b.Stats()
			tables[table] += float64(s.BranchAlloc+s.LeafAlloc) / float64(n)
			return nil
		})
	})
}

// localLog returns how many bytes the local DID directory needs for an account that signs up.
func localLog(ctx context.Context, l *lab) (float64, error) {
	const n = 1000
	dir, err := l.newDir("signups")
	if err != nil {
		return 0, err
	}
	c := &city{path: filepath.Join(dir, "gatehouse.db")}
	if err := c.open(ctx); err != nil {
		return 0, err
	}
	_, err = signUp(ctx, c.srv, n, "a", 64)
	if err := errors.Join(err, c.close()); err != nil {
		return 0, err
	}
	tables, err := tablesOf(c.path, n)
	return tables["plc_directory"], err
}

func (c *city) verify(ctx context.Context) func(int) error {
	next := c.access
	return func(int) error {
		_, err := c.srv.Sessions.Verify(ctx, sessions.Bearer(next[mrand.IntN(len(next))]))
		return err
	}
}

// getSession answers the method as over HTTP.
func (c *city) getSession(int) error {
	r, err := http.NewRequest("GET", getSession, nil)
	if err != nil {
		return err
	}
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Authorization", "Bearer "+c.access[mrand.IntN(len(c.access))])
	w := discard{http.Header{}, new(int)}
	if c.srv.ServeHTTP(w, r); *w.status != http.StatusOK {
		return fmt.Errorf("status %d", *w.status)
	}
	return nil
}

// discard is a ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status *int
}

func (d discard) Header() http.Header    { return d.header }
func (d discard) WriteHeader(status int) { *d.status = status }
func (d discard) Write(b []byte) (int, error) {
	*d.status = max(*d.status, http.StatusOK)
	return len(b), nil
}

func (c *city) logIn(ctx context.Context) func(int) error {
	n := c.Accounts
	return func(int) error {
		_, err := c.srv.SignIn.SignIn(ctx, signin.Attempt{Identifier: handleOf(mrand.IntN(n)), Password: knownPassword})
		return err
	}
}

func (c *city) refresh(ctx context.Context, workers int) func(int) error {
	next := make([]func() *string, workers)
	for w := range next {
		next[w] = around(share(pointers(c.tokens), w, workers))
	}
	return func(worker int) error {
		token := next[worker]()
		t, err := c.srv.Sessions.Refresh(ctx, *token)
		if err == nil {
			*token = t.RefreshJWT
		}
		return err
	}
}
