// Package pgcluster gives tests a real PostgreSQL: throw-away servers on loopback, run by the server
// binaries of this machine as an unprivileged user.
//
// Most tests share one server and get a schema each:
//
//	func TestSomething(t *testing.T) {
//		store, err := postgres.Open(ctx, pgcluster.URL(t))
//
// All test binaries that run at the same time in one checkout share that server: see [URL].
// GATEHOUSE_TEST_POSTGRES names a database to use instead. Without that, and without server
// binaries, the tests are skipped, and say so. They are also skipped in short mode.
//
// Tests that kill servers start their own with [Start].
package pgcluster
