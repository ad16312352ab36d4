package pgcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// FreePorts returns the first of some ports on loopback, given by their distances from it, that are
// all free. They are below the ports that the system gives to programs that ask for any: one of those
// could be taken while a server that used it restarts. Other processes that call FreePorts get other
// ports while this process lives.
func FreePorts(offsets ...int) (first int, err error) {
	const from, to, tries = 20000, 32000, 100
	for range tries {
		first = from + rand.N(to-from)
		if err = reserve(first, offsets); err == nil {
			return first, nil
		}
	}
	return 0, errors.Join(errors.New("pgcluster: no ports are free"), err)
}

// reservations are the ports that this process has reserved.
var reservations struct {
	sync.Mutex
	all []net.Listener
}

// reserve reserves ports until this process ends, by listening on a Unix socket named after each in
// Linux's abstract namespace, and returns an error if one is taken.
func reserve(first int, offsets []int) error {
	var reserved []net.Listener
	for _, n := range offsets {
		l, err := net.Listen("unix", fmt.Sprintf("@gatehouse-test-port-%d", first+n))
		if err == nil {
			reserved = append(reserved, l)
			err = free(first + n)
		}
		if err != nil {
			for _, l := range reserved {
				l.Close()
			}
			return err
		}
	}
	reservations.Lock()
	defer reservations.Unlock()
	reservations.all = append(reservations.all, reserved...)
	return nil
}

func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}
