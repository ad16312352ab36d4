// Package pgcluster provides tests with real PostgreSQL servers on loopback, which it starts as an
// unprivileged user with the server binaries installed on this machine, and removes afterwards.
//
// Most tests share one server, in which each has a schema:
//
//	func TestSomething(t *testing.T) {
//		store, err := postgres.Open(ctx, pgcluster.URL(t))
//
// All test binaries that run at the same time in one checkout share that server: see [URL].
// The environment variable GATEHOUSE_TEST_POSTGRES is the URL of a database to use instead. Without
// it and without server binaries the tests are skipped. They are also skipped in short mode.
//
// Tests that stop or kill servers start one with [Start].
package pgcluster
