// Package gatehousetest runs a Gatehouse server inside a test, in the manner of net/http/httptest:
// a real server on a loopback port, in memory, with cheap password hashing, a clock that stands
// still until the test advances it, and a mailbox from which the test reads codes.
//
// The server does no background work, so that no test depends on when that runs. A test that needs
// it calls srv.Gatehouse.Maintain.
//
//	func TestLogin(t *testing.T) {
//		srv := gatehousetest.NewServer(t)
//		alice := srv.CreateAccount("alice.test")
//		// … a client of srv.URL, with alice.Handle and alice.Password
//	}
package gatehousetest
