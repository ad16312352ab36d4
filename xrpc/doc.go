// Package xrpc serves the account methods of the AT Protocol over HTTP.
//
// It is thin: one table of methods says what each is called, who may call it and
// what it costs, and which function of a domain package answers. There are no rules in
// it but those of XRPC itself: requests are checked against the lexicon's types, and errors of the
// domains are turned into the lexicon's names in one place, errors.go.
package xrpc
