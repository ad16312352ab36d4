package sessions

import (
	"encoding/json"
	"strconv"
	"time"
)

// maxReplaced bounds the refresh tokens of one session that are in their grace period.
const maxReplaced = 200

// graces says until when the refresh tokens before the present one of a session may be used again,
// in milliseconds of Unix time, oldest first. The tokens themselves aren't stored: each is derived
// from the one before it, so the way from any of them leads to the present one, and the number of
// steps says which it is.
//
// It is encoded as the first time and the differences between the others, which makes the document
// of a session that is refreshed very often a short one.
type graces []int64

// over reports whether the time of one of the graces, which is given by its index, is over.
func (g graces) over(i int, now time.Time) bool { return now.UnixMilli() >= g[i] }

// with returns the graces without those that are over, and with one more, which doesn't end before
// the others even if the clock was set back. It doesn't change g.
func (g graces) with(now, until time.Time) graces {
	end := until.UnixMilli()
	if n := len(g); n > 0 {
		end = max(end, g[n-1])
	}
	gone := 0
	for gone < len(g) && g.over(gone, now) {
		gone++
	}
	kept := g[max(gone, len(g)-maxReplaced+1):]
	return append(append(make(graces, 0, len(kept)+1), kept...), end)
}

// MarshalJSON implements [json.Marshaler].
func (g graces) MarshalJSON() ([]byte, error) {
	if len(g) == 0 {
		return []byte("[]"), nil
	}
	b, last := make([]byte, 0, 16+8*len(g)), int64(0)
	for _, end := range g {
		b = strconv.AppendInt(append(b, ','), end-last, 10)
		last = end
	}
	b[0] = '['
	return append(b, ']'), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. Earlier versions stored objects with the hash of each
// token and its time.
func (g *graces) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, (*[]int64)(g)) == nil {
		last := int64(0)
		for i, step := range *g {
			last += step
			(*g)[i] = last
		}
		return nil
	}
	var earlier []struct {
		Until time.Time `json:"until"`
	}
	if err := json.Unmarshal(b, &earlier); err != nil {
		return err
	}
	*g = make(graces, len(earlier))
	for i, e := range earlier {
		(*g)[i] = e.Until.UnixMilli()
	}
	return nil
}
