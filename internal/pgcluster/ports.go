package pgcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// FreePorts returns the first of some ports on loopback, given by how far they are from it, that
// are all free. They are below those that the system gives to whoever asks for any: one of those
// could be taken while a server that used it restarts.
func FreePorts(offsets ...int) (first int, err error) {
	const from, to, tries = 20000, 32000, 100
	for range tries {
		first = from + rand.N(to-from)
		if err = free(first, offsets); err == nil {
			return first, nil
		}
	}
	return 0, errors.Join(errors.New("pgcluster: no ports are free"), err)
}

func free(first int, offsets []int) error {
	for _, n := range offsets {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+n))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}
