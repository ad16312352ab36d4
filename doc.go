// Package gatehouse is the account half of an AT Protocol server, to be mounted in
// a Go program: accounts, sessions, invite codes, app passwords and the
// e-mail flows of com.atproto.server.
//
//	srv, err := gatehouse.New(ctx, memory.New(), gatehouse.Config{
//		Hostname:      "localhost",
//		HandleDomains: []string{".test"},
//	})
//	…
//	mux.Handle("/xrpc/", srv)
//
// [Server.Handler] serves everything that a server without routes of its own needs.
//
// This package only wires: [New] makes the services of the domain packages on one store, and an
// [http.Handler] over them. The rules are in the packages accounts, sessions, invites and
// apppasswords, whose Go APIs the [Server] exposes; storage says where data is kept, xrpc how
// methods are served, and web what people see in a browser. Package gatehousetest runs a server in
// a test.
package gatehouse
