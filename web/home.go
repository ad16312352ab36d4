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
)

// Home is what the server's own page says.
type Home struct {
	// ServiceName is what the server is called.
	ServiceName string
	// ServiceDID is its DID.
	ServiceDID string
	// HandleDomains are those under which accounts take handles.
	HandleDomains []string
	// PrivacyPolicyURL and TermsOfServiceURL are links, ContactEmail an address to write to. What is
	// empty isn't shown.
	PrivacyPolicyURL, TermsOfServiceURL, ContactEmail string
	// Version is that of the server. What is empty isn't shown.
	Version string
}

//go:embed home.html
var homeHTML string

var homeTemplate = template.Must(template.New("home").Parse(homeHTML))

// NewHome returns the page, which is made once: it is the same for everybody.
func NewHome(h Home) (http.Handler, error) {
	var page bytes.Buffer
	if err := homeTemplate.Execute(&page, h); err != nil {
		return nil, fmt.Errorf("web: the server's page: %w", err)
	}
	policy := policyFor(styleOf(page.Bytes()))
	return readOnly(func(w http.ResponseWriter) {
		secure(w.Header(), policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(page.Bytes())
	}), nil
}

// Robots is robots.txt. Whatever can be read without a token is public.
func Robots() http.Handler {
	return readOnly(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = io.WriteString(w, "# What this server shows without a login is public: crawl it, within the rate limits.\nUser-agent: *\nAllow: /\n")
	})
}

// readOnly serves GET and HEAD.
func readOnly(serve func(http.ResponseWriter)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		serve(w)
	})
}

// policyFor is the Content-Security-Policy of a page that has a style of its own, and nothing else.
func policyFor(style []byte) string {
	sum := sha256.Sum256(style)
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// secure sets the headers of a page.
func secure(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
}

// styleOf returns what is in the style element of a page.
func styleOf(page []byte) []byte {
	_, rest, _ := bytes.Cut(page, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	return style
}
