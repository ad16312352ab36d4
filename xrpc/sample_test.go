package xrpc

import (
	_ "embed"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// A table of methods that between them have everything that a row and a lexicon can declare, to
// test the machinery without any domain.

//go:embed testdata/sample.json
var sampleJSON []byte

// sampleLexicons returns the lexicons of the methods of sampleTable, and the official ones, to
// which they refer.
var sampleLexicons = sync.OnceValue(func() lexicon.Catalog { return must(parseLexicons(lexiconsJSON, sampleJSON)) })

var sampleMethods = sync.OnceValue(func() map[string]*method { return must(compileTable(sampleLexicons(), sampleTable())) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type sampleInput struct {
	Text    string                                          `json:"text"`
	Count   int64                                           `json:"count"`
	Actor   *string                                         `json:"actor,omitempty"`
	Dids    []string                                        `json:"dids,omitempty"`
	Flag    *bool                                           `json:"flag,omitempty"`
	Number  *int64                                          `json:"number,omitempty"`
	Own     *string                                         `json:"own,omitempty"`
	Subject *atproto.AdminUpdateSubjectStatus_Input_Subject `json:"subject,omitempty"`
	Status  *atproto.AdminDefs_StatusAttr                   `json:"status,omitempty"`
	Unknown *any                                            `json:"unknown,omitempty"`
	When    *string                                         `json:"when,omitempty"`
	Who     *string                                         `json:"who,omitempty"`
	Whose   []string                                        `json:"whose,omitempty"`
}

type sampleParams struct {
	Q      string   `json:"q"`
	Limit  int64    `json:"limit"`
	All    bool     `json:"all"`
	Cursor *string  `json:"cursor,omitempty"`
	Dids   []string `json:"dids,omitempty"`
	Sizes  []int64  `json:"sizes,omitempty"`
	Who    *string  `json:"who,omitempty"`
}

var errSample = errors.New("a cause that clients must not see")

// sampleAuth authenticates the account whose DID is in the Authorization header.
func sampleAuth(_ *Server, c *call) (caller, error) {
	private(c)
	_, raw, err := authorization(c.Request)
	if err != nil || raw == "" {
		return caller{}, errAuthMissing
	}
	return caller{session: &sessions.Auth{Account: &accounts.Account{DID: syntax.DID(raw)}, Session: &sessions.Session{}}}, nil
}

// sampleServiceAuth authenticates the service whose DID is in the Authorization header.
func sampleServiceAuth(s *Server, c *call) (caller, error) {
	who, err := sampleAuth(s, c)
	if err != nil {
		return caller{}, nil
	}
	return caller{service: &sessions.ServiceAuth{Issuer: who.did()}}, nil
}

// echo returns its input. indigo decodes an unknown member of an open union as an empty union,
// which it can't encode.
func echo(_ *Server, _ *call, in *sampleInput) (*sampleInput, error) {
	if s := in.Subject; s != nil && *s == (atproto.AdminUpdateSubjectStatus_Input_Subject{}) {
		in.Subject = nil
	}
	return in, nil
}

func sampleTable() []*method {
	return []*method{
		procedure("com.example.echo", anyone, echo).typed("who", "whose"),
		procedure("com.example.strict", anyone, func(_ *Server, c *call, in *atproto.ServerResetPassword_Input) (*nothing, error) { return nil, nil }),
		procedure("com.example.nothing", anyone, func(_ *Server, c *call, _ *nothing) (*nothing, error) { return nil, nil }),
		query("com.example.search", anyone, func(_ *Server, c *call, in *sampleParams) (*sampleParams, error) { return in, nil }).typed("who"),
		query("com.example.plain", anyone, func(_ *Server, c *call, _ *nothing) (*map[string]string, error) {
			return &map[string]string{"hello": "world"}, nil
		}),
		query("com.example.large", anyone, func(_ *Server, c *call, _ *nothing) (*map[string]string, error) {
			return &map[string]string{"hello": strings.Repeat("x", gzipAbove)}, nil
		}),
		query("com.example.private", bySession{find: sampleAuth}, func(_ *Server, c *call, _ *nothing) (*map[string]string, error) {
			return &map[string]string{"did": string(c.did())}, nil
		}).costs(per(5, time.Minute)),
		procedure("com.example.arrive", byAddress(sampleServiceAuth), func(_ *Server, c *call, _ *nothing) (*nothing, error) { return nil, nil }).costs(per(5, time.Minute)),
		query("com.example.fails", anyone, func(_ *Server, c *call, _ *nothing) (*nothing, error) { return nil, errSample }),
		query("com.example.panics", anyone, func(_ *Server, c *call, _ *nothing) (*nothing, error) { panic(errSample) }),
		query("com.example.aborts", anyone, func(_ *Server, c *call, _ *nothing) (*nothing, error) { panic(http.ErrAbortHandler) }),
		query("com.example.unencodable", anyone, func(_ *Server, c *call, _ *nothing) (*func(), error) { return new(func()), nil }),
		procedure("com.example.login", anyone, func(_ *Server, c *call, in *sampleLogin) (*nothing, error) { return nil, nil }).
			costs(per(3, time.Minute), per(4, time.Hour)),
	}
}

type sampleLogin struct {
	Name string `json:"name"`
}

func sampleServer(t testing.TB, configure func(*Config)) *Server {
	t.Helper()
	cfg := Config{Limiter: ratelimit.Off{}, Version: "1.2.3"}
	if configure != nil {
		configure(&cfg)
	}
	s, err := newServer(cfg, sampleMethods())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask makes a request without a network. Headers are given as name, value, name, value.
func ask(h http.Handler, verb, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(verb, path, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
