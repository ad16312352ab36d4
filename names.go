package gatehouse

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// IsLocal reports whether a host name, with or without a port, can only mean this machine or a
// test, so that nothing about it belongs in public: a loopback address, or a name under .localhost,
// .test or .example.
func IsLocal(host string) bool {
	name, _, err := hostname.Split(strings.TrimSpace(host))
	if err != nil {
		return false
	}
	for _, suffix := range []string{"localhost", "test", "example"} {
		if name == suffix || strings.HasSuffix(name, "."+suffix) {
			return true
		}
	}
	return hostname.IsLoopback(name)
}

// checkHostname brings Hostname into its normal form, fills in what follows from it, and returns it
// without its port.
func (s *settings) checkHostname() string {
	raw := strings.TrimSpace(s.Hostname)
	name, port, err := hostname.Split(raw)
	switch {
	case raw == "":
		s.mistake("Hostname", "is missing")
		return ""
	case strings.Contains(raw, "/"):
		s.mistake("Hostname", "%q is a URL; a host name is wanted", raw)
		return ""
	case err != nil:
		s.mistake("Hostname", "%v", err)
		return ""
	case port != "" && !hostname.IsDefault(port) && !IsLocal(name):
		s.mistake("Hostname", "%q has a port; only a loopback host may", raw)
		return ""
	}
	if _, err := syntax.ParseHandle(name); err != nil && !IsLocal(name) {
		s.mistake("Hostname", "%q is not a host name", raw)
		return ""
	}
	id, err := hostname.WebDID(raw)
	if err != nil { // of an IPv6 address, for one
		s.mistake("Hostname", "there is no did:web of %q", raw)
		return ""
	}
	s.serviceDID = id.String()
	if s.Hostname, err = hostname.Normal(raw); err != nil {
		s.mistake("Hostname", "%v", err)
		return ""
	}
	if s.PublicURL == "" {
		scheme := "https://"
		if IsLocal(name) && port != "443" {
			scheme = "http://"
		}
		s.PublicURL = scheme + s.Hostname
	}
	return name
}

// checkHandleDomains brings the domains into their normal form, each once.
func (s *settings) checkHandleDomains() {
	var domains []string
	for _, d := range s.HandleDomains {
		name, err := hostname.Name(strings.TrimPrefix(strings.TrimSpace(d), "."))
		if h, herr := syntax.ParseHandle("name." + name); err != nil || herr != nil || !h.AllowedTLD() {
			s.mistake("HandleDomains", "%q can't have handles under it", d)
		} else if domain := "." + name; !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	s.HandleDomains = domains
}

// checkPublicURL brings PublicURL into its normal form. It is empty if Hostname is at fault.
func (s *settings) checkPublicURL() {
	if s.PublicURL == "" {
		return
	}
	normal, err := did.NormalizeEndpoint(strings.TrimSpace(s.PublicURL))
	if err != nil {
		s.mistake("PublicURL", "%q is not of the form https://HOST", s.PublicURL)
		return
	}
	u, err := url.Parse(normal)
	if err != nil {
		s.mistake("PublicURL", "%v", err)
		return
	}
	s.PublicURL, s.publicHost = normal, u.Hostname()
}

// checkExtraHostnames checks the names beside Hostname and PublicURL.
func (s *settings) checkExtraHostnames() {
	for _, name := range s.ExtraHostnames {
		host, err := hostname.Name(strings.TrimSpace(name))
		if _, herr := syntax.ParseHandle(host); err != nil || herr != nil && host != "localhost" {
			s.mistake("ExtraHostnames", "%q is not a host name", name)
			continue
		}
		s.hostnames = append(s.hostnames, host)
	}
}

// warnOfNames warns in the log if one of Hostname and PublicURL is public and the other local: DIDs
// then lead nowhere, and nothing else would show it.
func (s *settings) warnOfNames(ctx context.Context) {
	switch local := IsLocal(s.Hostname); {
	case local && isPublic(s.publicHost):
		s.Logger.WarnContext(ctx, "PublicURL is public and Hostname is local: other servers can't resolve the server's DID or, by default, those of its accounts",
			"hostname", s.Hostname, "publicURL", s.PublicURL, "try", "the public host name as Hostname")
	case !local && IsLocal(s.publicHost):
		s.Logger.WarnContext(ctx, "Hostname is public and PublicURL is local: the DIDs of accounts name an endpoint that others can't reach",
			"hostname", s.Hostname, "publicURL", s.PublicURL, "try", "no PublicURL, or https://"+s.Hostname)
	}
}

// isPublic reports whether a host can be reached from everywhere, as far as its name tells.
func isPublic(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsGlobalUnicast() && !addr.IsPrivate()
	}
	name, err := syntax.ParseHandle(host)
	return err == nil && name.AllowedTLD() && !IsLocal(host)
}
