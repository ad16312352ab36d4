package accounts

import "github.com/bluesky-social/indigo/atproto/syntax"

// HostKind says whose name a host name is.
type HostKind int

const (
	// ForeignHost is a name that the server knows nothing of: an IP address, a name inside the
	// operator's network, somebody else's domain.
	ForeignHost HostKind = iota
	// OwnHost is one of the server's own names.
	OwnHost
	// HandleHost is a name on one of the handle domains that isn't one of the server's own. It is the
	// name of an account, whether or not that account exists.
	HandleHost
)

// HostKind returns the kind of a host name, which is in lower case, without a port or a trailing
// dot.
func (s *Service) HostKind(name string) HostKind {
	if s.isOwn(syntax.Handle(name)) {
		return OwnHost
	}
	if _, hosted := hostedLabel(syntax.Handle(name), s.cfg.HandleDomains); hosted {
		return HandleHost
	}
	return ForeignHost
}
