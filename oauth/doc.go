// Package oauth is an OAuth authorization server for the profile of the AT Protocol: applications
// send the owner of an account to this server, which asks who they are and whether they agree, and
// hands tokens back.
//
// An application is known by the URL of its metadata document (package client). It pushes an
// authorization request ([Service.Push]), and sends the owner's browser here with the request's
// URI. [Service.Open] finds the request and binds it to that browser, [Service.Next] says what the
// browser has to be shown, and [Service.Accept] or [Service.Deny] ends the request with an [Answer]
// that goes back to the application. The application exchanges the code of the answer for tokens
// ([Service.Token]), refreshes them, and may revoke them ([Service.Revoke]).
//
// What comes out of it is a session of package sessions, which is listed, charged and ended like
// all others. Its tokens are bound to a key of the application (DPoP, package dpop), and what they
// allow is what the owner granted (package scope).
//
// The package knows no HTTP: package web has the endpoints and the pages.
//
// Sources: https://atproto.com/specs/oauth and https://atproto.com/specs/permission; RFC 6749 and
// 9700 (OAuth), 7009 (revocation), 7636 (PKCE), 7662 (introspection), 8414 and 9728 (metadata),
// 9101 (request objects), 9126 (pushed requests), 9207 (issuer in answers), 9449 (DPoP).
package oauth
