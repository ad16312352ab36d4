// Package issuer knows the keys of another authorization server. A server that only holds
// resources, while an entryway signs people in, verifies the entryway's access tokens with them.
//
// Sources: RFC 8414 and RFC 7517.
package issuer
