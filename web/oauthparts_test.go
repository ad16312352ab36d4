package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"crypto/rand"
)

func TestFormTokens(t *testing.T) {
	tokens := newFormTokens(bytes.Repeat([]byte("s"), 32), rand.Reader)
	issue := func(tokens formTokens, browser, purpose string) string {
		t.Helper()
		s, err := tokens.issue(browser, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := issue(tokens, "browser", "purpose")
	if good == issue(tokens, "browser", "purpose") {
		t.Error("a token looks the same twice")
	}
	other := newFormTokens(bytes.Repeat([]byte("t"), 32), rand.Reader)
	for name, c := range map[string]struct {
		token, browser, purpose string
		want                    bool
	}{
		"its own":           {good, "browser", "purpose", true},
		"another browser":   {good, "browse", "purpose", false},
		"another purpose":   {good, "browser", "purpos", false},
		"a moved border":    {good, "browserp", "urpose", false},
		"another server":    {issue(other, "browser", "purpose"), "browser", "purpose", false},
		"nothing":           {"", "browser", "purpose", false},
		"something shorter": {good[:80], "browser", "purpose", false},
		"something longer":  {good + "AA", "browser", "purpose", false},
		"junk":              {"!" + good[1:], "browser", "purpose", false},
		"zeros":             {strings.Repeat("A", len(good)), "browser", "purpose", false},
	} {
		if got := tokens.valid(c.token, c.browser, c.purpose); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := newFormTokens(nil, strings.NewReader("short")).issue("", ""); err == nil {
		t.Error("no error without randomness")
	}
}

func TestSealedSignIns(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, err := newSealer(bytes.Repeat([]byte("s"), 32), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := pending{Identifier: "alice.test", Password: "correct horse", Remember: true, ExpiresAt: now.Add(time.Minute)}
	sealed, err := s.seal(p, "browser", "purpose")
	if err != nil || strings.Contains(sealed, "horse") {
		t.Fatalf("%s, %v", sealed, err)
	}
	if got, err := s.open(sealed, "browser", "purpose", now); err != nil || got != p {
		t.Errorf("%v, %v", got, err)
	}
	for name, open := range map[string]func() (pending, error){
		"another browser": func() (pending, error) { return s.open(sealed, "other", "purpose", now) },
		"another purpose": func() (pending, error) { return s.open(sealed, "browser", "other", now) },
		"too late":        func() (pending, error) { return s.open(sealed, "browser", "purpose", now.Add(time.Minute)) },
		"changed":         func() (pending, error) { return s.open(sealed[:len(sealed)-2]+"AA", "browser", "purpose", now) },
		"empty":           func() (pending, error) { return s.open("", "browser", "purpose", now) },
	} {
		if got, err := open(); err != errPending || got != (pending{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestCookies(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	for origin, want := range map[string]string{
		"https://pds.test":      "__Host-gatehouse-device=b; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax",
		"https://pds.test:8443": "__Host-gatehouse-device-8443=b; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax",
		"http://127.0.0.1:2583": "gatehouse-device-2583=b; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax",
	} {
		u, err := url.Parse(origin)
		if err != nil {
			t.Fatal(err)
		}
		j := newCookieJar(u, now)
		w := httptest.NewRecorder()
		j.set(w, deviceCookie, "a", time.Time{})
		j.set(w, formCookie, "x", time.Time{})
		j.set(w, deviceCookie, "b", now().Add(time.Hour))
		got := w.Header()["Set-Cookie"]
		if len(got) != 2 || got[1] != want || strings.Contains(got[0], "Max-Age") {
			t.Errorf("%s: %q", origin, got)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: j.name(deviceCookie), Value: "a"})
		if j.get(r, deviceCookie) != "a" || j.get(r, formCookie) != "" {
			t.Errorf("%s: the cookie isn't found", origin)
		}
		r.AddCookie(&http.Cookie{Name: j.name(deviceCookie), Value: "b"}) // planted by somebody, for another path
		if got := j.get(r, deviceCookie); got != "" {
			t.Errorf("%s: of two cookies, %q is taken", origin, got)
		}
	}
}

func TestFormSources(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.test/cb": "https:", "http://127.0.0.1:1/": "http:", "com.example.app:/cb": "com.example.app:", "": "",
		"javascript;x:": "", "nothing": "", "a b:c": "", "x; script-src *:": "",
	} {
		if got := formSource(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

func TestNamesOfClients(t *testing.T) {
	for name, want := range map[string]string{
		"Skylight": "Skylight", " a\n\tb ": "a b", "\u202eevil\u200b": "evil", "": "", "\x00\xff": "?", strings.Repeat("é", 100): strings.Repeat("é", 80) + "…",
	} {
		if got := tidyName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// FuzzParams: whatever the body of a request is, its parameters are texts that occur once, or it is
// refused with a status and a text.
func FuzzParams(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "client_id=a&scope=atproto")
	f.Add("application/json", `{"client_id":"a","max_age":3,"x":true,"y":null}`)
	f.Add("application/json", `{"client_id":["a"]}`)
	f.Add("application/x-www-form-urlencoded; charset=utf-8", "a=%zz;b&&=&a")
	f.Add("text/plain", "")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth/par", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		params, err := readParams(r)
		if err != nil {
			refused, ok := err.(*bodyError)
			if !ok || refused.text == "" || refused.status < 400 || refused.status > 499 || params != nil {
				t.Fatalf("%v, %v", params, err)
			}
			return
		}
		for name, list := range params {
			if len(list) != 1 {
				t.Errorf("%q occurs %d times", name, len(list))
			}
		}
		if _, err := url.ParseQuery(params.Encode()); err != nil {
			t.Error(err)
		}
	})
}
