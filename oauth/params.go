package oauth

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

// Prompt says what the client wants the person to be asked (source: OpenID Connect Core, section
// 3.1.2.1).
type Prompt string

// The prompts.
const (
	// PromptDefault asks for what is necessary.
	PromptDefault Prompt = ""
	// PromptNone asks for nothing: the request fails if something has to be asked.
	PromptNone Prompt = "none"
	// PromptLogin asks for the password again.
	PromptLogin Prompt = "login"
	// PromptConsent asks for consent again.
	PromptConsent Prompt = "consent"
	// PromptSelect asks which account to use.
	PromptSelect Prompt = "select_account"
	// PromptCreate offers to sign up.
	PromptCreate Prompt = "create"
)

var prompts = []Prompt{PromptNone, PromptLogin, PromptConsent, PromptSelect, PromptCreate}

// displays are the values of the parameter display.
var displays = []string{"page", "popup", "touch"}

// unlimited is a max_age than which no sign-in is older.
const unlimited = 10 * 365 * 24 * time.Hour

// params are the parameters of an authorization request that have been checked.
type params struct {
	RedirectURI  string `json:"redirectUri"`
	ResponseMode string `json:"responseMode"`
	Scope        string `json:"scope"`
	State        string `json:"state,omitempty"`
	Challenge    string `json:"challenge"`
	LoginHint    string `json:"loginHint,omitempty"`
	Prompt       Prompt `json:"prompt,omitempty"`
	UILocales    string `json:"uiLocales,omitempty"`
	Display      string `json:"display,omitempty"`
	// MaxAge is how old the person's sign-in may be, in seconds; -1 if the client doesn't mind.
	MaxAge int `json:"maxAge"`
}

// The most characters of a parameter that are stored.
const (
	maxState  = 2048
	maxHint   = 512
	maxShort  = 128 // of ui_locales
	maxLength = 8 << 10
)

// single refuses repeated parameters, which two readers could understand in two ways (source: RFC
// 6749, section 3.1), and ones that are too long for any.
func single(p url.Values) *Error {
	for name, values := range p {
		switch {
		case len(values) > 1:
			return refuse(codeInvalidRequest, "the parameter %.40q is repeated", name)
		case len(values) == 1 && len(values[0]) > maxLength && name != "request" && name != "token": // which have bounds of their own
			return refuse(codeInvalidRequest, "the parameter %.40q is too long", name)
		}
	}
	return nil
}

// parse checks the parameters of an authorization request of a client. Unknown parameters are
// ignored.
func parse(p url.Values, c *client.Client) (*params, error) {
	if p.Get("redirect_uri") == "" {
		return nil, refuse(codeInvalidRequest, "redirect_uri is required")
	}
	redirect, err := c.RedirectURI(p.Get("redirect_uri"))
	if err != nil {
		return nil, translate(err)
	}
	r := &params{
		RedirectURI: redirect, ResponseMode: p.Get("response_mode"), State: p.Get("state"), Challenge: p.Get("code_challenge"),
		LoginHint: strings.TrimSpace(p.Get("login_hint")), Prompt: Prompt(p.Get("prompt")),
		UILocales: p.Get("ui_locales"), Display: p.Get("display"), MaxAge: -1,
	}
	if r.ResponseMode == "" {
		r.ResponseMode = modeQuery
	}
	if !slices.Contains(displays, r.Display) { // it is a wish
		r.Display = ""
	}
	if e := r.check(p, c); e != nil {
		return nil, e
	}
	set, err := requestedScope(p.Get("scope"), c)
	if err != nil {
		return nil, translate(err)
	}
	r.Scope = set.String()
	return r, nil
}

// check checks the parameters except for the redirect URI and the scope.
func (r *params) check(p url.Values, c *client.Client) *Error {
	switch kind := p.Get("response_type"); {
	case kind == "":
		return refuse(codeInvalidRequest, "response_type is required")
	case kind != "code":
		return refuse(codeUnsupportedResponse, "the response_type must be \"code\"")
	case !slices.Contains([]string{modeQuery, modeFragment, modeFormPost}, r.ResponseMode):
		return refuse(codeInvalidRequest, "the response_mode must be query, fragment or form_post")
	case len(r.State) > maxState:
		return refuse(codeInvalidRequest, "the state is longer than %d bytes", maxState)
	case len(r.LoginHint) > maxHint:
		return refuse(codeInvalidRequest, "the login_hint is longer than %d bytes", maxHint)
	case len(r.UILocales) > maxShort:
		return refuse(codeInvalidRequest, "the ui_locales are longer than %d bytes", maxShort)
	case r.Challenge == "":
		return refuse(codeInvalidRequest, "code_challenge is required")
	case p.Get("code_challenge_method") != "S256":
		return refuse(codeInvalidRequest, "the code_challenge_method must be \"S256\"")
	case !isChallenge(r.Challenge):
		return refuse(codeInvalidRequest, "the code_challenge is not a SHA-256 hash in base64url")
	case r.Prompt != PromptDefault && !slices.Contains(prompts, r.Prompt):
		return refuse(codeInvalidRequest, "the prompt is not one of %q", prompts)
	case r.Prompt == PromptNone && !c.Confidential():
		return refuse(codeInvalidRequest, "the prompt \"none\" is for confidential clients")
	}
	if age := p.Get("max_age"); age != "" {
		seconds, err := strconv.Atoi(age)
		if err != nil || seconds < 0 {
			return refuse(codeInvalidRequest, "max_age is not a number of seconds")
		}
		r.MaxAge = min(seconds, int(unlimited/time.Second))
	}
	return nil
}

// isChallenge reports whether a code_challenge can be one of the method S256.
func isChallenge(c string) bool {
	hash, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(hash) == 32
}

// requestedScope returns what a client asks for, without what this server doesn't understand. A
// client may ask only for what its document declares.
func requestedScope(raw string, c *client.Client) (scope.Set, error) {
	set, err := scope.Parse(raw)
	if err != nil {
		return nil, err
	}
	if undeclared := c.Undeclared(set); len(undeclared) > 0 {
		return nil, refuse(codeInvalidScope, "the client's metadata doesn't declare the scope %q", undeclared[0])
	}
	return set.Known(), nil
}
