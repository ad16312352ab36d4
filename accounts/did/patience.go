package did

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How a directory's wish that its client wait is honoured.
const (
	// maxWait is the longest that a request waits before it is made again; if it should wait
	// longer, it fails.
	maxWait = time.Minute
	// maxHold is how long, at most, no reading request is made.
	maxHold = 5 * time.Minute
	// minHold is how long, at least, none is made after a 429.
	minHold = time.Second
	// defaultHold is for a 429 that doesn't say how long.
	defaultHold = 5 * time.Second
)

// patience remembers until when a directory wants to be left alone.
type patience struct {
	mu      sync.Mutex
	until   time.Time
	waiting bool // whether a request waits for then, to see whether the directory answers again
}

// asked is how long a directory's answer asks its client to wait; 0 if it doesn't. To a request
// that reads, a 429 always means some time.
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

// retryAfter reads a Retry-After header: a number of seconds or a date (source: RFC 9110, 10.2.3).
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

// left returns until when no reading request is to be made, if that isn't past.
func (p *patience) left(now time.Time) (until time.Time, hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until, now.Before(p.until)
}

// hold lets no reading request be made for some time.
func (p *patience) hold(now time.Time, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := now.Add(min(wait, maxHold)); until.After(p.until) {
		p.until = until
	}
}

// enter makes a request the one that waits, and reports whether it is: of all that were told to
// wait only one does, since otherwise all would be made again at once.
func (p *patience) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting {
		return false
	}
	p.waiting = true
	return true
}

func (p *patience) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
}
