// Package gatehouse is the account half of an AT Protocol server, to be mounted in a Go program:
// accounts, sessions, invite codes, app passwords, DIDs and handles, and the e-mail flows of
// com.atproto.server.
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
// This package only puts others together: [New] makes their services on one store, and an
// [http.Handler] on top of these. The rules are in the packages accounts, signin, sessions, invites
// and apppasswords, whose Go APIs the [Server] exposes. Package storage defines where data is kept,
// xrpc how methods are served, and web what else is served over HTTP. Package gatehousetest runs a
// server in a test.
package gatehouse
