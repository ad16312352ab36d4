package main

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// plot returns the ratios of all workloads to their limits, with the most clients, as an SVG image:
// a bar for each, the target as a line across it. It can be read in light and in dark.
func (r *report) plot() string {
	most := slices.Max(r.Settings.Clients)
	groups, measured := map[string][]*row{}, map[string]bool{}
	for _, x := range r.Rows {
		if x.Store != "" && x.Clients == most {
			groups[x.Work] = append(groups[x.Work], x)
			measured[x.Store] = true
		}
	}
	stores := []string{"memory", "bolt", "postgres", "reference"}
	const (
		left, wide, bar, gap = 210, 480, 13, 12
		top                  = 64
	)
	scale := 1.0
	for _, g := range groups {
		for _, x := range g {
			scale = max(scale, math.Ceil(10*x.Ratio)/10)
		}
	}
	at := func(ratio float64) float64 { return left + wide*ratio/scale }
	var b strings.Builder
	y := top
	for _, w := range workloads {
		g := groups[w.name]
		if len(g) == 0 {
			continue
		}
		slices.SortStableFunc(g, func(a, b *row) int {
			return cmp.Compare(slices.Index(stores, a.Store), slices.Index(stores, b.Store))
		})
		fmt.Fprintf(&b, "<text class=\"name\" x=\"%d\" y=\"%d\">%s</text>\n", left-10, y+len(g)*bar/2+4, html.EscapeString(w.name))
		for _, x := range g {
			fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%s on %s: %.2f of the %s, %.0f a second</title></rect>\n",
				x.Store, left, y, at(x.Ratio)-left, bar-2, html.EscapeString(w.name), x.Store, x.Ratio, x.Limit, x.Rate)
			beside := at(x.Ratio)
			if target := at(x.Target); target > beside-3 && target < beside+32 { // it would be in the way
				beside = target
			}
			fmt.Fprintf(&b, "<text class=\"value\" x=\"%.1f\" y=\"%d\">%.2f</text>\n", beside+6, y+bar-3, x.Ratio)
			if x.Target > 0 {
				fmt.Fprintf(&b, "<path class=\"target\" d=\"M%.1f %dv%d\"/>\n", at(x.Target), y-1, bar)
			}
			y += bar
		}
		y += gap
	}
	var grid strings.Builder
	for tick := 0.0; tick <= scale+0.01; tick += 0.2 {
		fmt.Fprintf(&grid, "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\">%.1f</text>\n", at(tick), top-6, y, at(tick), y+14, tick)
	}
	var legend strings.Builder
	x := left
	for _, s := range stores {
		if !measured[s] {
			continue
		}
		fmt.Fprintf(&legend, "<rect class=\"%s\" x=\"%d\" y=\"38\" width=\"11\" height=\"11\"/><text x=\"%d\" y=\"48\">%s</text>\n", s, x, x+16, s)
		x += 95
	}
	fmt.Fprintf(&legend, "<path class=\"target\" d=\"M%d 37v13\"/><text x=\"%d\" y=\"48\">target</text>\n", x, x+8)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Ratio of each workload to its limit">
<style>
svg { font: 12px system-ui, sans-serif; background: #fff }
text { fill: #24292f } .name { text-anchor: end } .tick { text-anchor: middle; fill: #6e7781 } .value { font-size: 10px; fill: #6e7781 }
.title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d0d7de } .target { stroke: #cf222e; stroke-width: 2.5 }
.memory { fill: #79b8ff } .bolt { fill: #0969da } .postgres { fill: #8250df } .reference { fill: #9a6700 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #e6edf3 } .tick, .value { fill: #8b949e } .grid { stroke: #30363d } .target { stroke: #ff7b72 }
.memory { fill: #a5d6ff } .bolt { fill: #2f81f7 } .postgres { fill: #a371f7 } .reference { fill: #d29922 }
}
</style>
<text class="title" x="%d" y="22">Rate of each workload in proportion to its limit, %d clients</text>
%s%s%s</svg>
`, left+wide+50, y+24, left, most, legend.String(), grid.String(), b.String())
}
