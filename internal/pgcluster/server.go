package pgcluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is a PostgreSQL server for tests.
type Server struct {
	bin  string
	dir  string
	cred *syscall.Credential
	port int
	args []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a server for one test and stops it when the test ends. The settings are those of
// PostgreSQL, such as "fsync=off". It skips the test if there are no server binaries.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(need(t), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts a server in a new directory.
func start(bin string, settings ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "gatehouse-postgres-")
	if err != nil {
		return nil, err
	}
	s, err := startIn(bin, dir, settings...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// startIn starts a server in an empty directory. If a setting is given twice, the last one counts.
func startIn(bin, dir string, settings ...string) (*Server, error) {
	cred, err := account()
	if err != nil {
		return nil, fmt.Errorf("pgcluster: finding a user to run PostgreSQL: %w", err)
	}
	s := &Server{bin: bin, dir: dir, cred: cred}
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	s.args = []string{"-D", s.data(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "logging_collector=off"}
	for _, set := range settings {
		s.args = append(s.args, "-c", set)
	}
	if err := s.initialize(); err != nil {
		return nil, err
	}
	for range 5 { // another program may take the port before the server does
		if s.port, err = FreePorts(0); err == nil {
			if err = s.Start(); err == nil {
				return s, nil
			}
		}
	}
	return nil, err
}

// initialize creates the server's files. Where PostgreSQL supports it (from version 15, with ICU),
// the database has a linguistic collation, so that tests fail for queries that need byte order and
// don't ask for it.
func (s *Server) initialize() error {
	args := []string{"-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"}
	if s.command("initdb", append(args, "--locale-provider=icu", "--icu-locale=en-US")...).Run() == nil {
		return nil
	}
	if out, err := s.command("initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pgcluster: initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "LC_MESSAGES=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

// URL returns the URL of the server's database.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.Addr())
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Start starts the server again after Stop or Kill and returns when it accepts connections.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.command("postgres", append(s.args, "-p", strconv.Itoa(s.port))...)
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := startTied(cmd); err != nil {
		return fmt.Errorf("pgcluster: starting PostgreSQL: %w", err)
	}
	ready, exited := make(chan bool, 1), make(chan struct{})
	said := new(strings.Builder)
	go func() {
		defer close(exited)
		lines := bufio.NewScanner(log)
		for waiting := true; lines.Scan(); {
			if waiting {
				fmt.Fprintln(said, lines.Text())
				if strings.Contains(lines.Text(), "database system is ready to accept connections") {
					waiting = false
					ready <- true
				}
			}
		}
		_, _ = io.Copy(io.Discard, log)
		_ = cmd.Wait()
		close(ready)
	}()
	if !<-ready {
		return fmt.Errorf("pgcluster: PostgreSQL did not start: %s", said)
	}
	s.cmd, s.exited = cmd, exited
	return nil
}

// Stop shuts the server down in an orderly way and ends its sessions.
func (s *Server) Stop() error {
	return s.end(func(pid int) error { return syscall.Kill(pid, syscall.SIGINT) })
}

// Kill kills all processes of the server with SIGKILL, to simulate a power cut.
func (s *Server) Kill() error { return s.end(KillTree) }

func (s *Server) end(how func(pid int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	if err := how(s.cmd.Process.Pid); err != nil {
		return err
	}
	<-s.exited
	s.cmd = nil
	return nil
}

func (s *Server) remove() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }
