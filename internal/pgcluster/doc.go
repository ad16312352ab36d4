// Package pgcluster gives tests a real PostgreSQL: throw-away servers on loopback, run
// by the server binaries of this machine as an unprivileged user.
//
// Most tests share one server, which lives as long as the test binary, and get a
// schema each:
//
//	func TestMain(m *testing.M) { pgcluster.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		store, err := postgres.Open(ctx, pgcluster.URL(t))
//
// GATEHOUSE_TEST_POSTGRES names a database to use instead. Without that, and without
// server binaries, the tests are skipped, and say so.
//
// Tests that kill servers start their own with [Start].
package pgcluster
