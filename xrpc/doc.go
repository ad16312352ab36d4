// Package xrpc serves the account methods of the AT Protocol over HTTP.
//
// It is thin: one table of methods says what each is called, who may call it and
// what it costs, and which function of a domain package answers. There are no rules in
// it but those of XRPC itself: requests are checked against the lexicon's types, and errors of the
// domains are turned into the lexicon's names in one place, errors.go.
//
// An error is answered with a status and {"error": NAME, "message": TEXT}. One that isn't meant for
// clients is InternalServerError without detail; its cause is in the log, under the request id that
// the client finds in X-Request-Id. The log has a line for each request: method, status, time
// taken, account, address and request id, and never a header, a body, a parameter or a token.
package xrpc
