package scope

import "errors"

// ErrScope is returned for a scope that can't be granted: its syntax is wrong, it lacks "atproto",
// or a permission set in it can't be resolved. Clients are answered the error "invalid_scope"; the
// error has a message that tells the client's developer what is wrong (source: RFC 6749, section
// 5.2).
var ErrScope = errors.New("oauth/scope: invalid scope")
