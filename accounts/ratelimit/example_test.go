package ratelimit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// Two windows of one key are each kept exactly, and the state is that of the window that is nearest
// to exhaustion.
func Example() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	limiter := ratelimit.NewMemory(ratelimit.Config{Now: func() time.Time { return now }})
	windows := []ratelimit.Window{{Points: 2, Per: time.Minute}, {Points: 3, Per: time.Hour}}

	for range 5 {
		state, err := limiter.Take(context.Background(), "login 192.0.2.1", windows...)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(now.Format(time.TimeOnly), state.Allowed, state.Remaining, "left per", state.Per, "until", state.Reset.Format(time.TimeOnly))
		now = now.Add(25 * time.Second)
	}

	// Output:
	// 12:00:00 true 1 left per 1m0s until 12:01:00
	// 12:00:25 true 0 left per 1m0s until 12:01:00
	// 12:00:50 false 0 left per 1m0s until 12:01:00
	// 12:01:15 true 0 left per 1h0m0s until 13:00:00
	// 12:01:40 false 0 left per 1h0m0s until 13:00:00
}
