package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// measured is what one closed loop has measured.
type measured struct {
	Ops     int     `json:"ops"`
	Failed  int     `json:"failed,omitempty"`
	Error   string  `json:"error,omitempty"` // the first failure
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50"` // latencies, in microseconds
	P95     float64 `json:"p95"`
	P99     float64 `json:"p99"`
	Retries uint64  `json:"retries,omitempty"` // transactions that PostgreSQL made the store run again
}

// rate returns the operations per second.
func (m measured) rate() float64 {
	if m.Seconds == 0 {
		return 0
	}
	return float64(m.Ops) / m.Seconds
}

// drive calls do from some workers at once, each again as soon as it has returned, for a time. The
// calls that are running then are waited for and counted, and so is their time.
func drive(workers int, d time.Duration, do func(worker int) error) measured {
	type tally struct {
		took   []time.Duration
		failed int
		err    error
	}
	tallies := make([]tally, workers)
	var all sync.WaitGroup
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			t := tally{took: make([]time.Duration, 0, 1<<10)}
			for now := start; now.Sub(start) < d; {
				err := do(w)
				after := time.Now()
				if err != nil {
					t.failed++
					t.err = errors.Join(t.err, err)
					if t.failed == 10 {
						break // it is broken
					}
				} else {
					t.took = append(t.took, after.Sub(now))
				}
				now = after
			}
			tallies[w] = t
		})
	}
	all.Wait()
	m := measured{Seconds: time.Since(start).Seconds()}
	var took []time.Duration
	for _, t := range tallies {
		took = append(took, t.took...)
		m.Failed += t.failed
		if t.err != nil && m.Error == "" {
			m.Error = t.err.Error()
		}
	}
	m.Ops = len(took)
	slices.Sort(took)
	m.P50, m.P95, m.P99 = percentile(took, 0.50), percentile(took, 0.95), percentile(took, 0.99)
	return m
}

// percentile returns a quantile of sorted durations in microseconds.
func percentile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Microsecond)
}

// script is what one client sends.
type script struct {
	// prepare makes things for about n requests beforehand. It may be nil.
	prepare func(n int) error
	// next returns the next request.
	next func() []byte
	// took is given each good answer, which is only valid until it returns. It may be nil.
	took func(*answer) error
}

// load drives scripts, each on a connection of its own, for a time. Connecting and preparing for
// about n requests each isn't counted.
func load(connect connector, addr string, scripts []*script, n int, d time.Duration, meter func(run func())) (measured, error) {
	clients := make([]client, len(scripts))
	for i := range scripts {
		c, err := connect(addr)
		if err != nil {
			return measured{}, err
		}
		defer c.Close()
		clients[i] = c
	}
	var preparing sync.WaitGroup
	problems := make([]error, len(scripts))
	for i, s := range scripts {
		if s.prepare != nil {
			preparing.Go(func() { problems[i] = s.prepare(n) })
		}
	}
	preparing.Wait()
	if err := errors.Join(problems...); err != nil {
		return measured{}, err
	}
	var m measured
	meter(func() {
		m = drive(len(scripts), d, func(i int) error { return do(clients[i], scripts[i]) })
	})
	return m, nil
}

// client sends requests on one connection that is kept open.
type client interface {
	// ask sends a request. The answer is valid until the next call.
	ask(request []byte) (*answer, error)
	io.Closer
}

// connector returns a new client of a server.
type connector func(addr string) (client, error)

// answer is what a client reads of a response.
type answer struct {
	status  int
	nonce   string // that of the DPoP-Nonce header
	zipped  bool
	content []byte
}

// do sends the next request of a script, and gives it the answer.
func do(c client, s *script) error {
	a, err := c.ask(s.next())
	switch {
	case err != nil:
		return err
	case a.status != http.StatusOK:
		body, _ := a.body()
		return fmt.Errorf("status %d: %s", a.status, body)
	case s.took == nil:
		return nil
	}
	return s.took(a)
}

// lean is a client that does as little as it can, since it shares the machine with the server.
type lean struct {
	net.Conn
	in     *bufio.Reader
	nonce  string // the last one
	answer answer
}

func dial(addr string) (client, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &lean{Conn: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (c *lean) ask(request []byte) (*answer, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	a := &c.answer
	*a = answer{content: a.content[:0]}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	if len(line) < 12 {
		return nil, fmt.Errorf("not a status line: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return nil, fmt.Errorf("not a status line: %q", line)
	}
	length := -1 // unknown: it is sent in chunks
	for {
		if line, err = c.line(); err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if length, err = strconv.Atoi(string(value)); err != nil {
					return nil, err
				}
			}
		case len("Content-Encoding"):
			if bytes.EqualFold(name, []byte("Content-Encoding")) {
				a.zipped = string(value) == "gzip"
			}
		case len("DPoP-Nonce"):
			if bytes.EqualFold(name, []byte("DPoP-Nonce")) {
				if string(value) != c.nonce { // it seldom changes
					c.nonce = string(value)
				}
				a.nonce = c.nonce
			}
		}
	}
	if length >= 0 {
		return a, c.read(length)
	}
	return a, c.chunks()
}

// line reads a line of a header, which is valid until the next read.
func (c *lean) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// read appends n bytes to the content of the answer.
func (c *lean) read(n int) error {
	have := len(c.answer.content)
	c.answer.content = slices.Grow(c.answer.content, n)[:have+n]
	_, err := io.ReadFull(c.in, c.answer.content[have:])
	return err
}

// chunks reads a body of the chunked transfer coding.
func (c *lean) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return err
		}
		if err := c.read(int(size)); err != nil {
			return err
		}
		if _, err := c.line(); err != nil || size == 0 {
			return err
		}
	}
}

// usual is a client as programs in Go use them, which costs several times as much as a lean one.
type usual struct {
	transport http.Transport
	addr      string
	answer    answer
}

func dialUsual(addr string) (client, error) {
	return &usual{transport: http.Transport{DisableCompression: true}, addr: addr}, nil
}

func (u *usual) ask(request []byte) (*answer, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", u.addr
	resp, err := u.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	u.answer = answer{resp.StatusCode, resp.Header.Get("DPoP-Nonce"), resp.Header.Get("Content-Encoding") == "gzip", content}
	return &u.answer, err
}

func (u *usual) Close() error {
	u.transport.CloseIdleConnections()
	return nil
}

var unzips = sync.Pool{New: func() any { return new(gzip.Reader) }}

// body returns the body of the answer as the server made it before it compressed it.
func (a *answer) body() ([]byte, error) {
	if !a.zipped {
		return a.content, nil
	}
	z := unzips.Get().(*gzip.Reader)
	defer unzips.Put(z)
	if err := z.Reset(bytes.NewReader(a.content)); err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// text returns the value of a member of a JSON object whose value is a string without escapes.
func text(body []byte, member string) (string, error) {
	_, rest, ok := bytes.Cut(body, []byte(`"`+member+`":"`))
	value, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return "", fmt.Errorf("the answer has no %s: %s", member, body)
	}
	return string(value), nil
}

// request returns the bytes of an HTTP request. The headers are lines "Name: value".
func request(method, host, path string, body []byte, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: performance\r\nAccept-Encoding: gzip\r\n", method, path, host)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != nil || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return []byte(b.String())
}
