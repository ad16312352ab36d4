package fetch

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// turns bounds how many requests are under way, in all and at one site.
type turns struct {
	all     chan struct{}
	perSite int

	mu    sync.Mutex
	sites map[string]int // requests that are under way or wait for their turn
}

func newTurns(concurrency, perSite int) *turns {
	return &turns{all: make(chan struct{}, concurrency), perSite: perSite, sites: map[string]int{}}
}

// take waits for a turn at a host. The caller calls done at the end of its request.
func (t *turns) take(ctx context.Context, host string) (done func(), err error) {
	site := siteOf(host)
	if !t.enter(site) {
		return nil, unreachable("too many requests to its site are under way; try again in some seconds", nil)
	}
	select {
	case t.all <- struct{}{}:
		return func() { <-t.all; t.leave(site) }, nil
	case <-ctx.Done():
		t.leave(site)
		return nil, unreachable("too many requests to other servers are under way; try again in some seconds", ctx.Err())
	}
}

func (t *turns) enter(site string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sites[site] >= t.perSite {
		return false
	}
	t.sites[site]++
	return true
}

func (t *turns) leave(site string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sites[site]--; t.sites[site] <= 0 {
		delete(t.sites, site)
	}
}

// siteOf returns the registrable domain of a host, whose owner answers for all hosts below it. For
// addresses and public suffixes that is the host itself.
func siteOf(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}

// gaveUp is the error of a caller that doesn't wait for a document any longer.
func gaveUp(err error) error { return unreachable("the request was given up", err) }
