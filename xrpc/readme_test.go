package xrpc

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReadmeListsTheMethods reads the README's tables: they have all methods that are served, no other, and
// their limits.
func TestReadmeListsTheMethods(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Methods\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]string{}
	prefix, limits := "", -1
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		name := strings.TrimSpace(cells[0])
		switch {
		case len(cells) < 3 || strings.HasPrefix(name, "---"):
		case strings.HasPrefix(name, "com.atproto."):
			prefix, _, _ = strings.Cut(name, " ")
			limits = slices.IndexFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "limit" })
		default:
			limit := ""
			if limits >= 0 {
				limit, _, _ = strings.Cut(strings.TrimSpace(cells[limits]), ",")
			}
			for m := range strings.SplitSeq(name, ", ") {
				nsid := prefix + m
				if strings.HasPrefix(m, "temp.") {
					nsid = "com.atproto." + m
				}
				listed[nsid] = limit
			}
		}
	}
	served := map[string]string{}
	for _, m := range (&Server{}).table() {
		var windows []string
		if m.limit != nil {
			for _, w := range m.limit.windows {
				per := map[time.Duration]string{5 * time.Minute: "5 min", time.Hour: "h", day: "day"}[w.Per]
				windows = append(windows, fmt.Sprintf("%d / %s", w.Points, per))
			}
		}
		served[m.nsid] = strings.Join(windows, " and ")
	}
	for _, nsid := range slices.Sorted(maps.Keys(served)) {
		limit, ok := listed[nsid]
		switch {
		case !ok:
			t.Errorf("%s is served, and not in the README", nsid)
		case limit != served[nsid]:
			t.Errorf("%s: the README has the limit %q, the table %q", nsid, limit, served[nsid])
		}
		delete(listed, nsid)
	}
	for nsid := range listed {
		t.Errorf("%s is in the README, and not served", nsid)
	}
}
