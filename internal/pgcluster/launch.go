package pgcluster

import "errors"

// ErrNoBinaries is returned by [Launch] on a machine without PostgreSQL.
var ErrNoBinaries = errors.New("pgcluster: no PostgreSQL server on this machine (apt-get install postgresql)")

// Launch starts a server outside of a test. The settings are those of [Start]. The caller removes
// the server with [Server.Remove]. Error: [ErrNoBinaries].
func Launch(settings ...string) (*Server, error) {
	dir := binaries()
	if dir == "" {
		return nil, ErrNoBinaries
	}
	return start(dir, settings...)
}

// Remove stops the server, and removes its files.
func (s *Server) Remove() error { return s.remove() }
