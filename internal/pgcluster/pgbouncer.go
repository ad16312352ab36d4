package pgcluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// StartPgbouncer starts pgbouncer in transaction mode in front of a server for the duration of a
// test and returns the address that it listens on. It skips the test if pgbouncer isn't installed.
func StartPgbouncer(t testing.TB, s *Server) (addr string) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: no pgbouncer on this machine (apt-get install pgbouncer)")
	}
	port, err := FreePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
`, s.port, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := startTied(cmd); err != nil {
		t.Fatal(err)
	}
	said, up, lines := "", false, bufio.NewScanner(log)
	for !up && lines.Scan() {
		said += lines.Text() + "\n"
		up = strings.Contains(lines.Text(), "process up")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, log)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-done
	})
	if !up {
		t.Fatalf("pgbouncer did not start: %s", said)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
