package sessions

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestGracesAreEncoded checks that what is stored is read again, and that what earlier versions have
// stored is.
func TestGracesAreEncoded(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	ms := at.UnixMilli()
	for stored, want := range map[string]graces{
		`[]`:                     {},
		`[1767323045678]`:        {ms},
		`[1767323045678,0,2500]`: {ms, ms, ms + 2500},
		`[{"refresh":"abc","until":"2026-01-02T03:04:05.678Z"},{"refresh":"def","until":"2026-01-02T03:04:06Z"}]`: {ms, ms + 322},
	} {
		var g graces
		if err := json.Unmarshal([]byte(stored), &g); err != nil || !slices.Equal(g, want) {
			t.Errorf("%s: %v, %v", stored, g, err)
		}
	}
	for _, damaged := range []string{`{}`, `["x"]`, `[1.5]`, `[{"until":1}]`, `"x"`} {
		var g graces
		if err := json.Unmarshal([]byte(damaged), &g); err == nil {
			t.Errorf("%s is read as %v", damaged, g)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		now, g := at, graces(nil)
		for range rapid.IntRange(0, 300).Draw(t, "refreshes") {
			now = now.Add(time.Duration(rapid.IntRange(-1000, 100_000).Draw(t, "ms")) * time.Millisecond)
			before := slices.Clone(g)
			next := g.with(now, now.Add(time.Hour))
			if !slices.Equal(g, before) {
				t.Fatal("with has changed its receiver")
			}
			if g = next; len(g) > maxReplaced || !slices.IsSorted(g) || g[len(g)-1] < now.Add(time.Hour).UnixMilli() {
				t.Fatalf("at %v: %v", now, g)
			}
		}
		b, err := json.Marshal(g)
		var again graces
		if err == nil {
			err = json.Unmarshal(b, &again)
		}
		if err != nil || !slices.Equal(g, again) {
			t.Fatalf("%v is stored as %s, and read as %v, %v", g, b, again, err)
		}
		if len(b) > 32+8*len(g) {
			t.Fatalf("%d graces take %d bytes", len(g), len(b))
		}
	})
}
