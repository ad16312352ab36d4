package fetch

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

func TestLifetime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing said":                  {http.Header{}, client.Unsaid},
		"a directive that says nothing": {http.Header{"Cache-Control": {"public"}}, client.Unsaid},
		"max-age":                       {http.Header{"Cache-Control": {"public, max-age=300"}}, 5 * time.Minute},
		"in capitals, quoted":           {http.Header{"Cache-Control": {`MAX-AGE="300"`}}, 5 * time.Minute},
		"in a second header":            {http.Header{"Cache-Control": {"public", "max-age=300"}}, 5 * time.Minute},
		"the shorter of two":            {http.Header{"Cache-Control": {"max-age=300, max-age=60"}}, time.Minute},
		"less the age":                  {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"100"}}, 200 * time.Second},
		"older than allowed":            {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"400"}}, 0},
		"no-store":                      {http.Header{"Cache-Control": {"max-age=300, no-store"}}, 0},
		"no-cache":                      {http.Header{"Cache-Control": {"no-cache"}, "Expires": {date(time.Hour)}}, 0},
		"not a number":                  {http.Header{"Cache-Control": {"max-age=soon"}}, 0},
		"a negative number":             {http.Header{"Cache-Control": {"max-age=-1"}}, 0},
		"a huge number":                 {http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, maxLifetime},
		"expires":                       {http.Header{"Expires": {date(time.Hour)}}, time.Hour},
		"expires, by their clock":       {http.Header{"Expires": {date(time.Hour)}, "Date": {date(30 * time.Minute)}}, 30 * time.Minute},
		"expired":                       {http.Header{"Expires": {date(-time.Hour)}}, 0},
		"expires 0":                     {http.Header{"Expires": {"0"}}, 0},
		"max-age before expires":        {http.Header{"Cache-Control": {"max-age=60"}, "Expires": {date(time.Hour)}}, time.Minute},
	} {
		if got := lifetime(c.header, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSiteOf(t *testing.T) {
	for host, want := range map[string]string{
		"app.example.com": "example.com", "a.b.EXAMPLE.com.": "example.com", "example.co.uk": "example.co.uk", "a.example.co.uk": "example.co.uk",
		"app.github.io": "app.github.io", "localhost": "localhost", "127.0.0.1": "127.0.0.1", "::1": "::1", "com": "com",
	} {
		if got := siteOf(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
