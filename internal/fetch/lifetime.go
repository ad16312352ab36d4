package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// maxLifetime is more than anybody caches a document for. It keeps arithmetic from overflowing.
const maxLifetime = 365 * 24 * time.Hour

// lifetime is how long an answer may be cached by its headers, as [client.Document] has it (source:
// RFC 9111, for a private cache; no-cache counts as no-store).
func lifetime(h http.Header, now time.Time) time.Duration {
	age := seconds(h.Get("Age"))
	said, found := maxAge(h.Values("Cache-Control"))
	if !found {
		values := h.Values("Expires")
		if len(values) == 0 {
			return client.Unsaid
		}
		expires, err := http.ParseTime(values[0])
		if err != nil {
			return 0 // "Expires: 0" and the like: the answer has expired
		}
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		said = expires.Sub(now)
	}
	return min(max(said-age, 0), maxLifetime)
}

// maxAge returns what Cache-Control headers say.
func maxAge(headers []string) (said time.Duration, found bool) {
	for _, header := range headers {
		for directive := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				if age := seconds(strings.Trim(strings.TrimSpace(value), `"`)); !found || age < said {
					said, found = age, true
				}
			}
		}
	}
	return said, found
}

// seconds parses a number of seconds. What isn't a number is 0.
func seconds(raw string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(raw), 10, 31)
	if err != nil {
		if strings.Trim(raw, "0123456789") == "" && raw != "" {
			return maxLifetime // a number that is too large
		}
		return 0
	}
	return min(time.Duration(n)*time.Second, maxLifetime)
}
