package gatehouse

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// IsLocal reports whether a host name, with or without a port, is local: a loopback address, or
// "localhost", "test" or "example" or a name under one of these. Such a name can only mean this
// machine or a test, so nothing about it should be published.
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

// checkHostname normalizes Hostname, fills in what depends on it, and returns it without its port.
// It returns "" if there is a mistake in it.
func (s *settings) checkHostname() string {
	raw := strings.TrimSpace(s.Hostname)
	name, port, err := hostname.Split(raw)
	switch {
	case raw == "":
		s.mistake("Hostname", "is required")
		return ""
	case strings.Contains(raw, "/"):
		s.mistake("Hostname", "%q is a URL, not a host name", raw)
		return ""
	case err != nil:
		s.mistake("Hostname", "%v", err)
		return ""
	case port != "" && !hostname.IsDefault(port) && !IsLocal(name):
		s.mistake("Hostname", "%q has a port, which only a local host name may have", raw)
		return ""
	}
	if _, err := syntax.ParseHandle(name); err != nil && !IsLocal(name) {
		s.mistake("Hostname", "%q is not a host name", raw)
		return ""
	}
	id, err := hostname.WebDID(raw)
	if err != nil { // such as an IPv6 address
		s.mistake("Hostname", "%q can't be part of a did:web", raw)
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

// checkHandleDomains normalizes the domains, and drops duplicates.
func (s *settings) checkHandleDomains() {
	if len(s.HandleDomains) == 0 {
		s.mistake("HandleDomains", "is required")
	}
	var domains []string
	for _, d := range s.HandleDomains {
		name, err := hostname.Name(strings.TrimPrefix(strings.TrimSpace(d), "."))
		if h, herr := syntax.ParseHandle("name." + name); err != nil || herr != nil || !h.AllowedTLD() {
			s.mistake("HandleDomains", "%q is not a domain that may have handles", d)
		} else if domain := "." + name; !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	s.HandleDomains = domains
}

// checkPublicURL normalizes PublicURL, which is empty if there is a mistake in Hostname.
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

// checkExtraHostnames adds the names in ExtraHostnames to those of the server.
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

// checkHostRedirect refuses a redirect to a host that requests can choose (an open redirect), and
// one to the name of an account (a loop).
func (s *settings) checkHostRedirect() {
	const field = "Handles.HostRedirect"
	redirect := s.Handles.HostRedirect
	if redirect == "" {
		return
	}
	u, err := url.Parse(strings.ReplaceAll(redirect, handlehost.Placeholder, "handle"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		s.mistake(field, "%q is not of the form https://HOST/PATH", redirect)
		return
	}
	_, rest, _ := strings.Cut(redirect, "://")
	end := strings.IndexAny(rest, "/?#")
	if at := strings.Index(rest, handlehost.Placeholder); at >= 0 && (end < 0 || at < end) {
		s.mistake(field, "%q has %s in its host", redirect, handlehost.Placeholder)
		return
	}
	host, err := hostname.Name(u.Hostname())
	if err != nil {
		s.mistake(field, "%v", err)
		return
	}
	onDomain := func(domain string) bool { return strings.HasSuffix(host, domain) }
	if slices.ContainsFunc(s.HandleDomains, onDomain) && !slices.Contains(s.hostnames, host) {
		s.mistake(field, "%q is at the name of an account, where browsers are redirected again", redirect)
	}
}

// warnOfNames logs a warning if one of Hostname and PublicURL is public and the other local. Others
// then can't resolve DIDs or reach the server, which nothing else would show.
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

// isPublic reports whether a host seems to be reachable from everywhere, judging by its name.
func isPublic(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsGlobalUnicast() && !addr.IsPrivate()
	}
	name, err := syntax.ParseHandle(host)
	return err == nil && name.AllowedTLD() && !IsLocal(host)
}
