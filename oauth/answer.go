package oauth

import (
	"net/url"
	"strings"
)

// The response modes: how an [Answer] reaches the client (sources: OAuth 2.0 Multiple Response Type
// Encoding Practices, and OAuth 2.0 Form Post Response Mode).
const (
	modeQuery    = "query"
	modeFragment = "fragment"
	modeFormPost = "form_post"
)

// Answer is what the client is told at the end of an authorization request, by way of the owner's
// browser.
type Answer struct {
	// Mode is "query" or "fragment", in which the browser is redirected to [Answer.URL], or
	// "form_post", in which the browser posts the Params to the RedirectURI.
	Mode string
	// RedirectURI is one of the client's own.
	RedirectURI string
	// Params are iss, state if the client gave one, and either code or error with error_description.
	Params url.Values
}

// URL returns the URL to which the browser is redirected.
func (a *Answer) URL() string {
	params := a.Params.Encode()
	if a.Mode == modeFragment {
		return a.RedirectURI + "#" + params // a redirect URI has no fragment
	}
	separator := "?"
	if strings.Contains(a.RedirectURI, "?") {
		separator = "&"
	}
	return a.RedirectURI + separator + params
}

// answer returns an answer to a request, with the parameters that are in all answers.
func (s *Service) answer(p *params) *Answer {
	a := &Answer{Mode: p.ResponseMode, RedirectURI: p.RedirectURI, Params: url.Values{"iss": {s.cfg.Issuer}}}
	if p.State != "" {
		a.Params.Set("state", p.State)
	}
	return a
}

// failed returns the answer that a request failed with an error.
func (s *Service) failed(p *params, e *Error) *Answer {
	a := s.answer(p)
	a.Params.Set("error", e.Code)
	a.Params.Set("error_description", e.Description)
	return a
}
