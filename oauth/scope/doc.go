// Package scope understands the OAuth scopes of the AT Protocol: what a client may ask for, which
// part of it a server knows, whether one scope is within another, what the permission sets in it
// contain, and what all of it allows, as data that a page puts in words.
//
// A [Set] is the scope of a request or a grant. [Sets] finds permission sets ("include:"), which
// are published on the network by those who design an application's record types and methods, and
// keeps them, so that signing in goes on while the network is unreachable. [Describe] lists what a
// person is asked to allow.
//
// What a session with a scope may do is decided by package sessions, from the scope that
// [Sets.Expand] returns.
//
// Sources: RFC 6749, section 3.3; https://atproto.com/specs/permission;
// https://atproto.com/specs/oauth.
package scope
