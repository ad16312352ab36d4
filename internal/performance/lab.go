package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// lab is a temporary directory, and what runs in it.
type lab struct {
	log      io.Writer
	dir      string
	memory   uint32 // the costs of real hashes; zero: the defaults
	passes   uint32
	closing  []func() error
	launched int
}

func newLab(log io.Writer, hashMemory, hashTime uint32) (*lab, error) {
	dir, err := os.MkdirTemp("", "gatehouse-performance-")
	return &lab{log: log, dir: dir, memory: hashMemory, passes: hashTime}, err
}

// newDir makes a directory in that of the lab.
func (l *lab) newDir(name string) (string, error) {
	l.launched++
	dir := filepath.Join(l.dir, fmt.Sprintf("%s%d", name, l.launched))
	return dir, os.Mkdir(dir, 0o700)
}

// start starts a server process, with a directory of its own, which is stopped at the end.
func (l *lab) start(s spec) (p *process, err error) {
	s.HashMemory, s.HashTime = l.memory, l.passes
	if s.Dir, err = l.newDir(s.Kind); err != nil {
		return nil, err
	}
	if p, err = start(s); err != nil {
		return nil, err
	}
	l.closing = append(l.closing, p.stop)
	return p, nil
}

// close stops everything, the last first, and removes the directory.
func (l *lab) close() error {
	var err error
	for _, c := range slices.Backward(l.closing) {
		err = errors.Join(err, c())
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// writeJSON writes what was measured to a file in a directory, unless that is empty.
func writeJSON(dir, name string, v any) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644)
}
