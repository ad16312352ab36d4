package xrpc

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// FuzzSampleTable sends anything to the methods of the sample table, which between them have all
// that a row and a lexicon can declare: responses are always well-formed, and only the methods that
// are made to fail answer with an internal error.
func FuzzSampleTable(f *testing.F) {
	const asJSON = "application/json"
	for _, seed := range []struct{ verb, path, contentType, encoding, forwarded, body string }{
		{"GET", "/xrpc/com.example.plain", "", "", "", ""},
		{"HEAD", "/xrpc/com.example.large", "", "", "198.51.100.1", ""},
		{"GET", "/xrpc/com.example.search?q=a&limit=7&all=false&cursor=c&dids=did:web:a.test&sizes=1&sizes=2", "", "", "[2001:db8::1]:5,1.2.3.4", ""},
		{"GET", "/xrpc/com.example.search?q=%ff&limit=9223372036854775808&dids[]=x&sizes=-0", "", "", "", ""},
		{"POST", "/xrpc/com.example.echo", asJSON, "", "", `{"text":"t","count":1,"actor":"a.test","dids":["did:web:a.test"],"flag":true,"number":3,"unknown":{},"when":"2026-01-02T03:04:05Z"}`},
		{"POST", "/xrpc/com.example.echo", asJSON, "identity", "", `{"count":-1e-1,"number":1e19,"unknown":[[],{"a":null}],"text":"\ud800"}`},
		{"POST", "/xrpc/com.example.echo", asJSON, "", "", `{"subject":{"$type":"com.atproto.repo.strongRef","uri":"at://a.test/a.b.c/d","cid":"x"},"status":{"applied":true,"ref":"r"}}`},
		{"POST", "/xrpc/com.example.echo", asJSON, "", "", `{"subject":{"$type":"#other"},"status":null}`},
		{"POST", "/xrpc/com.example.echo", asJSON, "", "", `{"subject":{"$type":"com.example.other","did":"did:web:a.test"}}`},
		{"POST", "/xrpc/com.example.echo", asJSON, "", "", `{"subject":{"$type":"com.atproto.admin.defs#repoBlobRef","did":"did:web:a.test","cid":"b","recordUri":null}}`},
		{"POST", "/xrpc/com.example.login", "application/json; charset=utf-8", "gzip", "", `{"name":"n"}`},
		{"POST", "/xrpc/com.example.login", asJSON, "gzip", "", "\x1f\x8b\x08\x00"},
		{"POST", "/xrpc/com.example.nothing", "", "", "", ""},
		{"GET", "/xrpc/_health", "", "", "", ""},
		{"DELETE", "/xrpc/com..example//", ";;", "br", ",,", "x"},
	} {
		f.Add(seed.verb, seed.path, seed.contentType, seed.encoding, seed.forwarded, []byte(seed.body))
	}
	made := map[string]bool{"/xrpc/com.example.fails": true, "/xrpc/com.example.panics": true, "/xrpc/com.example.unencodable": true}
	s := sampleServer(f, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		c.Limiter = ratelimit.NewMemory(ratelimit.Config{Size: 1000})
	})
	f.Fuzz(func(t *testing.T, verb, path, contentType, encoding, forwarded string, body []byte) {
		u, err := url.Parse(path)
		if err != nil || made[u.Path] || made[u.Path+"/"] || len(u.Path) > 1 && made[u.Path[:len(u.Path)-1]] || bytes.Contains([]byte(u.Path), []byte("aborts")) {
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		if len(body) == 0 {
			r.Body = http.NoBody
		}
		r.Method, r.URL = verb, u
		r.Header = http.Header{
			"Content-Type": {contentType}, "Content-Encoding": {encoding}, "X-Forwarded-For": {forwarded},
			"Accept-Encoding": {encoding}, "Authorization": {contentType},
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if verb == http.MethodOptions || verb == http.MethodHead || w.Body.Len() == 0 && w.Code == http.StatusOK {
			return
		}
		answer := io.Reader(w.Body)
		if w.Header().Get("Content-Encoding") == "gzip" {
			if answer, err = gzip.NewReader(answer); err != nil {
				t.Fatal(err)
			}
		}
		var v struct{ Error, Message string }
		if err := json.NewDecoder(answer).Decode(&v); err != nil {
			t.Fatalf("%d: the answer isn't JSON: %v", w.Code, err)
		}
		if w.Code >= 400 && (v.Error == "" || v.Message == "") {
			t.Fatalf("%d: an error without a name or a message", w.Code)
		}
	})
}
