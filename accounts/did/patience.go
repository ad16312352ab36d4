package did

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How the Retry-After header is honored.
const (
	// maxWait is the longest time that a request waits before it is tried again. If it would have
	// to wait longer, it fails.
	maxWait = time.Minute
	// maxHold is the longest time for which no reads are made.
	maxHold = 5 * time.Minute
	// minHold is the shortest time for which no reads are made after a 429.
	minHold = time.Second
	// defaultHold is the time for which no reads are made after a 429 without the header.
	defaultHold = 5 * time.Second
)

// patience keeps the time until which a directory isn't to be asked.
type patience struct {
	mu      sync.Mutex
	until   time.Time
	waiting bool // whether a request waits for that time, to find out whether the directory answers again
}

// asked returns how long an answer asks the client to wait, which is 0 if it doesn't. For a read, a
// 429 always means some time.
func asked(status int, header http.Header, now time.Time, reads bool) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	wait, said := retryAfter(header.Get("Retry-After"), now)
	switch {
	case status == http.StatusServiceUnavailable || !reads:
		return wait
	case !said:
		return defaultHold
	}
	return max(wait, minHold)
}

// retryAfter parses a Retry-After header: a number of seconds or a date (source: RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) (wait time.Duration, said bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// left returns the time until which no reads are to be made, and whether it is in the future.
func (p *patience) left(now time.Time) (until time.Time, hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until, now.Before(p.until)
}

// hold lets no reads be made for some time, at most maxHold.
func (p *patience) hold(now time.Time, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := now.Add(min(wait, maxHold)); until.After(p.until) {
		p.until = until
	}
}

// enter makes a request the one that waits, and reports whether it could: of all requests that are
// told to wait only one does, since otherwise all would be tried again at the same moment.
func (p *patience) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting {
		return false
	}
	p.waiting = true
	return true
}

// leave ends the wait of the request that entered.
func (p *patience) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
}
