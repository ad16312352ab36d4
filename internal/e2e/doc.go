// Package e2e holds the suites that drive a whole server over HTTP: the life of an
// account, every declared error, races, crashes and fuzzing, each on every
// storage backend from one definition.
package e2e
