// Package web serves what a server has over HTTP beside the methods below /xrpc/: the home page and
// robots.txt, the documents below /.well-known/, /tls-check for proxies, and a local DID directory.
// It also guards the host names that are handles of accounts.
//
// Pages are rendered with html/template. They run no scripts, load nothing and can't be framed:
// their Content-Security-Policy allows only their own style sheet.
package web
