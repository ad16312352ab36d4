package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// init runs the keeper, and doesn't return, if control.startKeeper started this program.
func init() {
	dir := os.Getenv(keeperVariable)
	if dir == "" {
		return
	}
	const descriptor = 3 // the first of exec.Cmd.ExtraFiles
	answer := os.NewFile(descriptor, "answer")
	syscall.CloseOnExec(descriptor) // or PostgreSQL would keep it open
	if err := keep(dir, answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		fmt.Fprint(answer, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// The answers of a keeper: its server accepts connections, or there is another keeper.
const (
	keeperReady = "ready"
	keeperBusy  = "busy"
)

// keep runs the server of a control until it hasn't been used for the linger time, or until the
// server exits or this process gets a signal.
func keep(dir string, answer *os.File) error {
	linger, err := time.ParseDuration(os.Getenv(lingerVariable))
	if err != nil {
		return err
	}
	c := &control{dir, linger}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	keeper, err := c.lock(keeperLock, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_, err = answer.WriteString(keeperBusy)
		return err
	}
	if err != nil {
		return err
	}
	defer keeper.Close()
	if err := os.Mkdir(c.cluster(), 0o700); err != nil {
		return err
	}
	// Tests are faster without fsync, and may lose their data in a power cut.
	s, err := startIn(binaries(), c.cluster(), "max_connections=500", "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	if err != nil {
		return errors.Join(err, c.remove())
	}
	guard, err := c.serve(s, answer, stop)
	err = errors.Join(err, s.Stop(), c.remove())
	if guard != nil {
		err = errors.Join(err, guard.Close())
	}
	return err
}

// serve tells others of a server, and returns as untilUnused does.
func (c *control) serve(s *Server, answer *os.File, stop <-chan os.Signal) (guard *os.File, err error) {
	if err := os.WriteFile(c.urlFile(), []byte(s.URL()), 0o600); err != nil {
		return nil, err
	}
	// Whoever started this process may be gone, and others may have come.
	_, _ = answer.WriteString(keeperReady)
	_ = answer.Close()
	return c.untilUnused(s, stop)
}

// untilUnused returns when a server hasn't been used for the linger time. It returns with the guard
// locked, so that no process joins while the server stops. It also returns, without the guard, when
// the server has exited or a signal arrives.
func (c *control) untilUnused(s *Server, stop <-chan os.Signal) (guard *os.File, err error) {
	tick := time.NewTicker(min(time.Second, c.linger/4+time.Millisecond))
	defer tick.Stop()
	last := time.Now() // when the server was last in use
	for {
		select {
		case <-stop:
			return nil, nil
		case <-s.exited:
			return nil, nil
		case <-tick.C:
		}
		if used, err := c.held(usersLock); err != nil {
			return nil, err
		} else if used {
			last = time.Now()
		}
		if time.Since(last) < c.linger {
			continue
		}
		guard, err := c.lock(guardLock, syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue // another process is joining
		}
		if err != nil {
			return nil, err
		}
		if used, err := c.held(usersLock); err == nil && !used {
			return guard, nil
		}
		guard.Close()
	}
}
