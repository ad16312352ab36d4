package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spec says what a server process serves. It is the first line of the process's standard input,
// whose end ends the process.
type spec struct {
	// Kind is one of the names in kinds.
	Kind string `json:"kind"`
	// Store and Dir are where a Gatehouse server or a raw loop keeps its data. The store is memory,
	// bolt or the URL of a PostgreSQL database.
	Store string `json:"store,omitempty"`
	Dir   string `json:"dir,omitempty"`
	// Accounts and PasswordAccounts are how many accounts a Gatehouse server has: with hashes that
	// cost nothing, and with real ones. Each of the former has so many Sessions, an app password, and
	// a session of an OAuth client with the key of this thumbprint.
	Accounts         int    `json:"accounts,omitempty"`
	PasswordAccounts int    `json:"passwordAccounts,omitempty"`
	Sessions         int    `json:"sessions,omitempty"`
	Key              string `json:"key,omitempty"`
	// HashMemory and HashTime are the costs of real hashes. Zero: the defaults.
	HashMemory uint32 `json:"hashMemory,omitempty"`
	HashTime   uint32 `json:"hashTime,omitempty"`
	// Answers are what the kind same answers, by path.
	Answers map[string]recorded `json:"answers,omitempty"`
	// Record is the size of a session as the store has it, which the kind commit writes.
	Record int `json:"record,omitempty"`
	// Neighbours and Random are the refresh tokens of a contender, and Number tells its accounts from
	// those of others.
	Neighbours []string `json:"neighbours,omitempty"`
	Random     []string `json:"random,omitempty"`
	Number     int      `json:"number,omitempty"`
}

// ready is what a server process says, in a line on its standard output, once it serves.
type ready struct {
	Addr string `json:"addr"`
	// Profiler is the address that serves profiles of the process, of as many seconds as they are
	// asked for.
	Profiler string `json:"profiler,omitempty"`
	world
}

// recorded is an answer that was recorded.
type recorded struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// kinds are what a server process can serve. A kind returns its handler, and what to close.
var kinds = map[string]func(ctx context.Context, s spec, addr net.Addr) (http.Handler, world, io.Closer, error){
	"empty": func(context.Context, spec, net.Addr) (http.Handler, world, io.Closer, error) {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), world{}, nil, nil
	},
	"same":      same,
	"commit":    rawCommit,
	"hash":      rawHash,
	"pgx":       rawPgx,
	"gatehouse": serveGatehouse,
	"contender": contend,
}

// same serves recorded answers.
func same(_ context.Context, s spec, _ net.Addr) (http.Handler, world, io.Closer, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := s.Answers[r.URL.Path]
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		_, _ = w.Write(a.Body)
	}), world{}, nil, nil
}

// serve is the program as a server process. It serves until its standard input ends.
func serve() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading what to serve: %w", err)
	}
	var s spec
	if err := json.Unmarshal(line, &s); err != nil {
		return err
	}
	kind, ok := kinds[s.Kind]
	if !ok {
		return fmt.Errorf("there is no kind %q", s.Kind)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler, w, closer, err := kind(context.Background(), s, listener.Addr())
	if err != nil {
		return err
	}
	server := newHTTPServer(handler)
	go func() { _ = server.Serve(listener) }()
	profiler, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	profiles := newHTTPServer(http.HandlerFunc(pprof.Profile))
	go func() { _ = profiles.Serve(profiler) }()
	if err := json.NewEncoder(os.Stdout).Encode(ready{listener.Addr().String(), profiler.Addr().String(), w}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	err = errors.Join(err, server.Close(), profiles.Close())
	if closer != nil {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// newHTTPServer returns a server with the settings of examples/standalone.
func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}

// process is a server process.
type process struct {
	ready
	cmd *exec.Cmd
	in  io.Closer
}

// start starts a server process, which serves when start returns.
func start(s spec) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return launch(exec.Command(self, "serve"), append(line, '\n'), s.Kind)
}

// launch starts a command, writes to its standard input, which stays open, and reads from its
// standard output that it is ready.
func launch(cmd *exec.Cmd, say []byte, name string) (*process, error) {
	errs := new(bytes.Buffer)
	cmd.Stderr = errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, in: in}
	_, err = in.Write(say)
	if err == nil {
		err = json.NewDecoder(out).Decode(&p.ready)
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, errors.Join(err, p.stop(), errors.New(errs.String())))
	}
	return p, nil
}

// stop ends the process, and waits until it has ended.
func (p *process) stop() error {
	_ = p.in.Close()
	patience := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Signal(syscall.SIGKILL) })
	defer patience.Stop()
	return p.cmd.Wait()
}

// call posts to the process, and decodes the answer.
func (p *process) call(path string, input, output any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	resp, err := http.Post("http://"+p.Addr+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, answer)
	}
	return json.Unmarshal(answer, output)
}

// profile writes a profile of the process to a file, of so many seconds.
func (p *process) profile(path string, seconds int) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/?seconds=%d", p.Profiler, seconds))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile: %s: %s", resp.Status, b)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// cpuOf returns the processor time that a process has used. It is zero where there is no /proc.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The format is "pid (name) state …", and the name may contain any characters. The times are the
	// 14th and 15th field, in hundredths of a second.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// residentOf returns the resident memory of a process in bytes: now, and at most since it was last reset
// by resetPeak. It is zero where there is no /proc.
func residentOf(pid int) (now, peak int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}

// resetPeak makes the peak of residentOf begin anew.
func resetPeak(pid int) { _ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) }
