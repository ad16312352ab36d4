package did

import (
	"net/url"
	"strings"
	"testing"
)

func TestNormalizeEndpoint(t *testing.T) {
	for raw, want := range map[string]string{
		"https://pds.example.com": "https://pds.example.com", "HTTPS://PDS.Example.com./": "https://pds.example.com",
		"https://pds.example.com:443/": "https://pds.example.com", "http://pds.example.com:80": "http://pds.example.com",
		"https://pds.example.com:80": "https://pds.example.com:80", "http://pds.example.com:443": "http://pds.example.com:443",
		"https://pds.example.com:": "https://pds.example.com", "https://pds.example.com:0443": "https://pds.example.com",
		"http://LocalHost:2583": "http://localhost:2583", "http://[::1]:2583/": "http://[::1]:2583", "http://[0:0::1]:80": "http://[::1]",
		"https://München.example/": "https://xn--mnchen-3ya.example", "https://m%C3%BCnchen.example": "https://xn--mnchen-3ya.example",
	} {
		if got, err := NormalizeEndpoint(raw); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", raw, got, err, want)
		}
		if !SameEndpoint(raw, want) || !SameEndpoint(want, raw) {
			t.Errorf("%s isn't the same as %s", raw, want)
		}
	}
}

// lookalikes are URLs that look like https://pds.example.com and are other endpoints, or not valid.
var lookalikes = []string{
	"", "https://", "pds.example.com", "//pds.example.com", "https:pds.example.com", "https:/pds.example.com", "ftp://pds.example.com",
	"http://pds.example.com", "http://pds.example.com:443", "https://pds.example.com:80", "https://pds.example.com:8443",
	"https://pds.example.com:0", "https://pds.example.com:443443", "https://pds.example.com:x", "https://pds.example.com::443",
	"https://user@pds.example.com", "https://@pds.example.com", "https://:@pds.example.com", "https://pds.example.com@evil.example.com",
	"https://pds.example.com:443@evil.example.com", "https://evil.example.com\\@pds.example.com", "https://pds.example.com\\@evil.example.com",
	"https://pds.example.com/path", "https://pds.example.com//", "https://pds.example.com/.", "https://pds.example.com/%2F",
	"https://pds.example.com?", "https://pds.example.com/?x", "https://pds.example.com#", "https://pds.example.com/#x",
	"https://x.pds.example.com", "https://example.com", "https://pds.example.com.evil.example.com", "https://pds.example.com..",
	"https://pds-example.com", "https://pds%2Eexample%2Ecom", "https://pds.example.com%00", "https://pds.exam\u0440le.com",
	" https://pds.example.com", "https://pds.example.com ", "https://pds.example.com\n", "https://pds.example.com\t",
	"https://pds.example.com,evil.example.com", "https://[pds.example.com]",
}

func TestLookalikesAreOtherEndpoints(t *testing.T) {
	for _, other := range lookalikes {
		if SameEndpoint(other, "https://pds.example.com") || SameEndpoint("https://pds.example.com", other) {
			t.Errorf("%q is the same as https://pds.example.com", other)
		}
	}
	if SameEndpoint("", "") || SameEndpoint("nonsense", "nonsense") {
		t.Error("two invalid endpoints are the same")
	}
}

// FuzzSameEndpoint checks that URLs that are the same endpoint have the same host for net/url too.
func FuzzSameEndpoint(f *testing.F) {
	for _, other := range lookalikes {
		f.Add(other)
	}
	f.Add("HTTPS://PDS.example.com.:443/")
	f.Fuzz(func(t *testing.T, other string) {
		if normal, err := NormalizeEndpoint(other); err == nil {
			if again, err := NormalizeEndpoint(normal); err != nil || again != normal {
				t.Errorf("%q: %q, and again %q, %v", other, normal, again, err)
			}
		}
		if !SameEndpoint(other, "https://pds.example.com") {
			return
		}
		u, err := url.Parse(other)
		if err != nil || u.Scheme != "https" || u.User != nil || u.RequestURI() != "/" || u.Fragment != "" {
			t.Errorf("%q is not https://pds.example.com", other)
		}
		if host := u.Hostname(); len(host) < 0x80 && strings.Trim(host, "pdsexamlcoPDSEXAMLCO.") == "" && !strings.EqualFold(strings.TrimSuffix(host, "."), "pds.example.com") {
			t.Errorf("%q is not https://pds.example.com", other)
		}
	})
}
