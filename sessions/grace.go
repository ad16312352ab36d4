package sessions

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// maxReplaced bounds the refresh tokens of one session that are in their grace period.
const maxReplaced = 200

// graces says until when the refresh tokens before the present one of a session may be used again,
// oldest first. The tokens themselves aren't stored: each is derived from the one before it, so the
// way from any of them leads to the present one, and the number of steps says which it is.
//
// It is encoded as milliseconds of Unix time, the first as it is and the others as the difference
// from the one before, which makes a session that is refreshed very often a short document.
type graces []time.Time

// with returns the graces without those that are over, and with one more, which doesn't end before
// the others even if the clock was set back. It doesn't change g.
func (g graces) with(now, until time.Time) graces {
	if n := len(g); n > 0 && until.Before(g[n-1]) {
		until = g[n-1]
	}
	over := 0
	for over < len(g) && !now.Before(g[over]) {
		over++
	}
	over = max(over, len(g)-maxReplaced+1)
	return append(slices.Clone(g[over:]), until)
}

// MarshalJSON implements [json.Marshaler].
func (g graces) MarshalJSON() ([]byte, error) {
	b, last := make([]byte, 0, 16+8*len(g)), int64(0)
	for _, until := range g {
		b = append(b, ',')
		b = strconv.AppendInt(b, until.UnixMilli()-last, 10)
		last = until.UnixMilli()
	}
	if len(b) == 0 {
		return []byte("[]"), nil
	}
	b[0] = '['
	return append(b, ']'), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. Earlier versions stored objects with the hash of each
// token and its time.
func (g *graces) UnmarshalJSON(b []byte) error {
	var steps []int64
	if json.Unmarshal(b, &steps) == nil {
		*g = make(graces, len(steps))
		last := int64(0)
		for i, step := range steps {
			last += step
			(*g)[i] = time.UnixMilli(last).UTC()
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
		(*g)[i] = e.Until
	}
	return nil
}
