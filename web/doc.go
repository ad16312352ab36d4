// Package web serves what a server has over HTTP beside the methods below /xrpc/: the home page and
// robots.txt, the documents below /.well-known/, /tls-check for proxies, a local DID directory, and
// the OAuth authorization server with its pages (see [Server.OAuth]). It also guards the host names
// that are handles of accounts.
//
// The home page is rendered once. It runs no scripts, loads nothing and can't be framed: its
// Content-Security-Policy allows only its own style sheet.
//
// The pages on which people sign in, consent and end the access of applications are rendered by
// package pages. A request for one goes through [Server.OAuth] to a visit (pagevisit.go), which
// charges its address, reads its parameters, refuses what isn't a person's navigation
// (fetchguard.go), and finds the browser by its cookie (devicecookie.go). Forms carry a token
// (csrf.go) and, between the steps of a sign-in, what was typed before, sealed (seal.go). A form
// that did something is answered with a redirect to a page of the server, or to the redirect URI of
// an authorization request, and nowhere else.
package web
