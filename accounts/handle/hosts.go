package handle

import "github.com/bluesky-social/indigo/atproto/syntax"

// HostKind says whose name a host name is.
type HostKind int

const (
	// ForeignHost is a name that the server knows nothing of: an IP address, a name inside the
	// operator's network, somebody else's domain.
	ForeignHost HostKind = iota
	// OwnHost is one of the server's own names.
	OwnHost
	// AccountHost is a name on one of the server's domains that isn't one of its own names. It belongs
	// to an account, whether or not that account exists.
	AccountHost
)

// HostKind returns the kind of a host name, which is in lower case, without a port or a trailing
// dot.
func (s *Service) HostKind(name string) HostKind {
	switch h := syntax.Handle(name); {
	case s.isOwn(h):
		return OwnHost
	case s.Hosted(h):
		return AccountHost
	}
	return ForeignHost
}
