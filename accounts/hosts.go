package accounts

import (
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// HostKind is what a host name is to the server.
type HostKind int

const (
	// ForeignHost is a name of which the server knows nothing: an address, a name inside the
	// operator's network, somebody else's domain.
	ForeignHost HostKind = iota
	// OwnHost is one of the server's own names.
	OwnHost
	// HandleHost is a name on one of the handle domains that isn't one of the server's own. It stands
	// for an account, whether or not there is one.
	HandleHost
)

// HostKind tells what a host name is: in lower case, without a port and a trailing dot.
func (s *Service) HostKind(name string) HostKind {
	if slices.Contains(s.cfg.Hostnames, name) {
		return OwnHost
	}
	if _, hosted := hostedLabel(syntax.Handle(name), s.cfg.HandleDomains); hosted {
		return HandleHost
	}
	return ForeignHost
}
