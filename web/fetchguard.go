package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// fetchGuard refuses requests for pages that aren't a person's navigation of a browser: those of
// frames and scripts, and forms that other websites send. It judges by the headers that browsers
// send of themselves (sources: Fetch Metadata Request Headers, and RFC 6454). Old browsers send
// none. Forms are guarded by [formTokens] besides.
type fetchGuard struct {
	crossOrigin *http.CrossOriginProtection
}

func newFetchGuard(origin *url.URL) (fetchGuard, error) {
	g := fetchGuard{http.NewCrossOriginProtection()}
	// A proxy may have changed the Host header, with which the Origin would be compared.
	return g, g.crossOrigin.AddTrustedOrigin(origin.Scheme + "://" + origin.Host)
}

// embedded reports whether a page is requested for anything else than to be the document of a
// window that a person looks at: browsers may also load pages in advance.
func (fetchGuard) embedded(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") ||
		!oneOf(r.Header.Get("Sec-Fetch-Mode"), "", "navigate") || !oneOf(r.Header.Get("Sec-Fetch-Dest"), "", "document")
}

// foreign reports whether a form may have been sent by another website. A browser that sends a form
// once more on behalf of its person alone, when a page is reloaded or a tab is restored, may say
// that no website has: "none".
func (g fetchGuard) foreign(r *http.Request) bool {
	return !oneOf(r.Header.Get("Sec-Fetch-Site"), "", "same-origin", "none") || g.crossOrigin.Check(r) != nil
}

func oneOf(value string, allowed ...string) bool { return slices.Contains(allowed, value) }
