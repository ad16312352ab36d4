// Package client knows the clients of OAuth, which are applications of the network. A client isn't
// registered: its identifier is the URL of a JSON document, which says what the application is
// called, where it may be answered and with which keys it authenticates. A [Registry] gets such
// documents, validates them rule by rule, and caches them; and it verifies what clients sign.
//
// Whoever can publish a file can be a client, so nothing in a document is true but what its address
// proves: the host. See [Client.Host].
//
// Sources: the atproto OAuth specification (https://atproto.com/specs/oauth), the draft on client
// ID metadata documents (draft-ietf-oauth-client-id-metadata-document), RFC 7591, RFC 7523, RFC
// 8252 and RFC 9101.
package client
