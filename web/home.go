package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"sync"
)

// Home is what the home page of a server says.
type Home struct {
	// ServiceName is the name of the server.
	ServiceName string
	// ServiceDID is the DID of the server.
	ServiceDID string
	// HandleDomains are the domains under which accounts take handles.
	HandleDomains []string
	// PrivacyPolicyURL and TermsOfServiceURL are links, and ContactEmail is an address to write to.
	// Empty ones aren't shown.
	PrivacyPolicyURL, TermsOfServiceURL, ContactEmail string
	// Version is the version of the server, or empty so as not to show it.
	Version string
}

//go:embed home.html
var homeHTML string

var homeTemplate = template.Must(template.New("home").Parse(homeHTML))

// newHome returns a handler that serves the home page. The page is rendered when it is asked for the
// first time, and is the same for everybody.
func (s *Server) newHome() http.Handler {
	var policy string
	render := sync.OnceValues(func() ([]byte, error) {
		var page bytes.Buffer
		if err := homeTemplate.Execute(&page, s.cfg.Home); err != nil {
			return nil, fmt.Errorf("web: the home page: %w", err)
		}
		policy = policyFor(styleOf(page.Bytes()))
		return page.Bytes(), nil
	})
	return readOnly(func(w http.ResponseWriter, r *http.Request) {
		page, err := render()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		secure(w.Header(), policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(page)
	})
}

// Robots serves robots.txt, which lets crawlers in: what can be read without a token is public.
func Robots() http.Handler {
	return readOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = io.WriteString(w, "# What this server shows without a login is public: crawl it, within the rate limits.\nUser-agent: *\nAllow: /\n")
	})
}

// readOnly answers GET and HEAD, and refuses other methods.
func readOnly(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		serve(w, r)
	})
}

// policyFor returns the Content-Security-Policy of a page that needs only its own style sheet.
func policyFor(style []byte) string {
	sum := sha256.Sum256(style)
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// secure sets the security headers of a page.
func secure(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
}

// styleOf returns the content of the style element of a page.
func styleOf(page []byte) []byte {
	_, rest, _ := bytes.Cut(page, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	return style
}
