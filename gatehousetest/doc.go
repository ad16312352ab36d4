// Package gatehousetest runs a Gatehouse server inside a test, in the manner of
// net/http/httptest: a real server on a loopback port, in memory, with cheap
// password hashing, a clock that stands still until it is told otherwise, and a
// mailbox to read codes from.
//
//	func TestLogin(t *testing.T) {
//		srv := gatehousetest.NewServer(t)
//		alice := srv.CreateAccount("alice.test")
//		// … a client of srv.URL, with alice.Handle and alice.Password
//	}
package gatehousetest
