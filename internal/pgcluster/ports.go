package pgcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// FreePorts returns a port on loopback such that the ports at all the given offsets from it are
// free. They are below the range of ephemeral ports, so that no other program gets one by chance
// while a server that uses it restarts. Other processes that call FreePorts get other ports while
// this process runs.
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

// reservations holds the sockets by which this process has reserved ports.
var reservations struct {
	sync.Mutex
	all []net.Listener
}

// reserve reserves ports until this process exits, by listening on a Unix socket in Linux's
// abstract namespace for each. It returns an error if one is reserved or in use.
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

// free returns an error if a TCP port on loopback is in use.
func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}
