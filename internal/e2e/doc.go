// Package e2e contains the test suites that drive a whole server over HTTP: the life of an account,
// every declared error, races, crashes and fuzzing. Suites that involve stored data run on every
// storage backend.
package e2e
