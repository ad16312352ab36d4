// Package xrpc serves the account methods of the AT Protocol over HTTP.
//
// It is thin. One table, in methods.go, lists for each method who may call it, how often, and which
// function answers it. The only rules of the package are those of XRPC itself: inputs are
// validated against the official lexicons, which are embedded, and the errors of the domain
// packages are mapped to the error names of the lexicons in one place, errors.go.
//
// An error is answered with a status and {"error": NAME, "message": TEXT}. An error that isn't
// meant for clients is answered 500 InternalServerError without detail; its cause is logged with
// the request ID that the client receives in X-Request-Id. Each request is logged with its method,
// status, duration, account, client address and request ID, and never with a header, a body, a
// parameter or a token.
package xrpc
