package did_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// reading is a directory that can only be read.
type reading func(context.Context, syntax.DID) ([]*did.Operation, error)

func (r reading) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) { return r(ctx, id) }
func (reading) Submit(context.Context, syntax.DID, *did.Operation) error           { return did.ErrRefused }

func newResolver(t testing.TB, cfg did.ResolverConfig) *did.Resolver {
	t.Helper()
	r, err := did.NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// operation returns a log with one operation that has a handle and no signature.
func operation(handle string) []*did.Operation {
	return []*did.Operation{{Type: did.TypeOperation, AlsoKnownAs: []string{"at://" + handle}}}
}

func plc(i int) syntax.DID {
	return syntax.DID("did:plc:" + strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("%024d", i)))
}

// TestManyLookupsOfOneUnknownDID repeatedly looks up a DID that doesn't exist, or doesn't exist any
// longer.
func TestManyLookupsOfOneUnknownDID(t *testing.T) {
	for name, want := range map[string]error{
		"unknown": did.ErrNotFound, "tombstoned": did.ErrTombstoned, "without a directory": did.ErrUnavailable, "strange": did.ErrUnavailable,
	} {
		for _, method := range []string{"plc", "web"} {
			t.Run(name+" "+method, func(t *testing.T) {
				l, c := newLocal(t)
				ids := newIdentities(t, l)
				m := ids.mint()
				if name == "tombstoned" {
					ids.submit(m)
					if err := ids.Tombstone(ctx, m.DID); err != nil {
						t.Fatal(err)
					}
				}
				asked := 0
				fail := func() error {
					asked++
					switch {
					case name == "strange":
						return errors.New("strange")
					case want == did.ErrUnavailable || method == "web":
						return want
					}
					return nil
				}
				r := newResolver(t, did.ResolverConfig{
					Now: c.Now,
					Directory: reading(func(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
						if err := fail(); err != nil {
							return nil, err
						}
						return l.Log(ctx, id)
					}),
					Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) { return nil, fail() },
				})
				id := m.DID
				if method == "web" {
					id = "did:web:example.com"
				}
				lookUp := func(total int) {
					t.Helper()
					for range 500 {
						if doc, err := r.Resolve(ctx, id); doc != nil || !errors.Is(err, want) || err.Error() == "" {
							t.Fatalf("%s, %v; want %v", doc, err, want)
						}
					}
					if asked != total {
						t.Errorf("it was asked for %d times; want %d", asked, total)
					}
				}
				lookUp(1)
				c.now = c.now.Add(30*time.Second - 1)
				if want == did.ErrUnavailable { // which is remembered for 10 seconds
					lookUp(2)
					return
				}
				lookUp(1)
				c.now = c.now.Add(1)
				lookUp(2)
			})
		}
	}
}

// TestADIDIsFoundOnceItIsPublished looks a DID up right before it is published.
func TestADIDIsFoundOnceItIsPublished(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	r := newResolver(t, did.ResolverConfig{Directory: l, Now: c.Now})
	if _, err := r.Resolve(ctx, m.DID); !errors.Is(err, did.ErrNotFound) {
		t.Fatal(err)
	}
	ids.submit(m)
	r.Forget(m.DID)
	if _, err := r.Resolve(ctx, m.DID); err != nil {
		t.Errorf("after Forget: %v", err)
	}
	other := ids.mint()
	if _, err := r.Resolve(ctx, other.DID); !errors.Is(err, did.ErrNotFound) {
		t.Fatal(err)
	}
	ids.submit(other)
	c.now = c.now.Add(30 * time.Second)
	if _, err := r.Resolve(ctx, other.DID); err != nil {
		t.Errorf("after half a minute: %v", err)
	}
}

// TestUnknownDIDsEvictNoDocument looks up many DIDs that don't exist.
func TestUnknownDIDsEvictNoDocument(t *testing.T) {
	for _, failure := range []error{did.ErrNotFound, did.ErrTombstoned, did.ErrUnavailable} {
		_, c := newLocal(t)
		asked := 0
		known := plc(1)
		r := newResolver(t, did.ResolverConfig{
			Now: c.Now, Size: 100,
			Directory: reading(func(_ context.Context, id syntax.DID) ([]*did.Operation, error) {
				if id == known {
					asked++
					return operation("alice.test"), nil
				}
				return nil, failure
			}),
		})
		for i := range 1000 {
			if _, err := r.Resolve(ctx, plc(i+2)); !errors.Is(err, failure) {
				t.Fatal(err)
			}
			if i == 0 || i == 999 {
				if _, err := r.Resolve(ctx, known); err != nil || asked != 1 {
					t.Errorf("%v: a document is %v, asked for %d times", failure, err, asked)
				}
			}
		}
	}
}

// TestAnExpiredDocumentIsUsedForADay has a directory whose outage doesn't end.
func TestAnExpiredDocumentIsUsedForADay(t *testing.T) {
	_, c := newLocal(t)
	var down bool
	r := newResolver(t, did.ResolverConfig{Now: c.Now, Directory: reading(func(context.Context, syntax.DID) ([]*did.Operation, error) {
		if down {
			return nil, did.ErrUnavailable
		}
		return operation("alice.test"), nil
	})})
	if _, err := r.Resolve(ctx, plc(1)); err != nil {
		t.Fatal(err)
	}
	down = true
	end := c.now.Add(24*time.Hour + 5*time.Minute)
	for ; c.now.Before(end); c.now = c.now.Add(time.Hour) {
		if _, err := r.Resolve(ctx, plc(1)); err != nil {
			t.Fatalf("%v before the day is over: %v", end.Sub(c.now), err)
		}
	}
	c.now = end
	if doc, err := r.Resolve(ctx, plc(1)); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("after the day: %s, %v", doc, err)
	}
}

// TestEqualLookupsAreMerged has many concurrent callers, of whom the first leaves.
func TestEqualLookupsAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		r := newResolver(t, did.ResolverConfig{Directory: reading(func(ctx context.Context, _ syntax.DID) ([]*did.Operation, error) {
			asked.Add(1)
			select {
			case <-release:
				return operation("alice.test"), nil
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", did.ErrUnavailable, ctx.Err())
			}
		})})
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		left := make(chan error, 1)
		go func() {
			_, err := r.Resolve(first, plc(1))
			left <- err
		}()
		synctest.Wait()
		for range 500 {
			wg.Go(func() {
				if _, err := r.Identity(t.Context(), plc(1)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) || !errors.Is(err, did.ErrUnavailable) {
			t.Errorf("the one who left got %v", err)
		}
		close(release)
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("the directory was asked %d times", n)
		}
	})
}

// TestCallersWaitAsLongAsTheirContexts has a directory that doesn't answer.
func TestCallersWaitAsLongAsTheirContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver(t, did.ResolverConfig{Directory: reading(func(ctx context.Context, _ syntax.DID) ([]*did.Operation, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w: %w", did.ErrUnavailable, ctx.Err())
		})})
		begun := time.Now()
		var wg sync.WaitGroup
		for limit, want := range map[time.Duration]time.Duration{time.Second: time.Second, 2 * time.Second: 2 * time.Second, time.Minute: 5 * time.Second} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, err := r.Resolve(ctx, plc(1))
				if took := time.Since(begun); !errors.Is(err, did.ErrUnavailable) || took != want {
					t.Errorf("with %v to wait: %v after %v", limit, err, took)
				}
			})
		}
		wg.Wait()
	})
}

// TestForgetEndsTheMerging changes a DID while a lookup of it is under way: nobody may join that
// lookup any longer, and its result must not replace the new one, however late it comes.
func TestForgetEndsTheMerging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		r := newResolver(t, did.ResolverConfig{Directory: reading(func(context.Context, syntax.DID) ([]*did.Operation, error) {
			if asked.Add(1) == 1 {
				<-release
				return operation("old.test"), nil
			}
			return operation("new.test"), nil
		})})
		resolves := func(want string) {
			t.Helper()
			if doc, err := r.Resolve(t.Context(), plc(1)); err != nil || !strings.Contains(string(doc), want) {
				t.Errorf("%s, %v; want %s", doc, err, want)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { resolves("old.test") })
		synctest.Wait()
		r.Forget(plc(1))
		r.Forget(plc(2)) // another DID
		resolves("new.test")
		close(release)
		wg.Wait()
		resolves("new.test")
		if n := asked.Load(); n != 2 {
			t.Errorf("the directory was asked %d times", n)
		}
	})
}

// TestForgettingOneDIDKeepsAnother calls Forget during each lookup of another DID.
func TestForgettingOneDIDKeepsAnother(t *testing.T) {
	var r *did.Resolver
	asked := 0
	r = newResolver(t, did.ResolverConfig{Directory: reading(func(context.Context, syntax.DID) ([]*did.Operation, error) {
		asked++
		r.Forget(plc(2))
		return operation("alice.test"), nil
	})})
	for range 3 {
		if _, err := r.Resolve(ctx, plc(1)); err != nil || asked != 1 {
			t.Errorf("%v after %d questions", err, asked)
		}
	}
}

// TestLookupsAreLimited has hosts and a directory that take long to answer.
func TestLookupsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hosts, directory atomic.Int32
		slow := make(chan struct{})
		r := newResolver(t, did.ResolverConfig{
			Concurrency: 4,
			Directory: reading(func(_ context.Context, id syntax.DID) ([]*did.Operation, error) {
				directory.Add(1)
				if id == plc(0) {
					return operation("alice.test"), nil
				}
				<-slow
				return nil, did.ErrUnavailable
			}),
			Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) {
				hosts.Add(1)
				<-slow
				return nil, did.ErrUnavailable
			},
		})
		var callers sync.WaitGroup
		var refused atomic.Int32
		lookUp := func(name func(int) syntax.DID) {
			for i := range 100 {
				callers.Go(func() {
					if _, err := r.Resolve(t.Context(), name(i)); !errors.Is(err, did.ErrUnavailable) {
						t.Errorf("%s: %v", name(i), err)
					}
					refused.Add(1)
				})
			}
			synctest.Wait()
		}
		web := func(i int) syntax.DID { return syntax.DID(fmt.Sprintf("did:web:host%d.example.com", i)) }
		lookUp(web)
		if n := hosts.Load(); n != 4 {
			t.Errorf("%d hosts were asked at once", n)
		}
		if _, err := r.Resolve(t.Context(), plc(0)); err != nil {
			t.Errorf("a lookup at the directory while hosts are slow: %v", err)
		}
		lookUp(func(i int) syntax.DID { return plc(1 + i) })
		if n := directory.Load() - 1; n != 4 {
			t.Errorf("the directory was asked %d times at once", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := refused.Load(); n != 2*96 {
			t.Errorf("%d callers gave up in time", n)
		}
		close(slow)
		callers.Wait()
		// The lookups that had their turn have failed, which is cached. Of the others nothing is
		// known.
		lookUp(web)
		if n := hosts.Load(); n != 4+96 {
			t.Errorf("%d hosts were asked in all", n)
		}
	})
}

// TestALookupThatPanics checks that the caller panics, which can recover.
func TestALookupThatPanics(t *testing.T) {
	r := newResolver(t, did.ResolverConfig{Concurrency: 1, Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) { panic("oops") }})
	for range 2 {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "oops\n") || !strings.Contains(p, "resolver_load_test.go") {
					t.Errorf("the caller recovered from %q", p)
				}
			}()
			_, err := r.Resolve(ctx, "did:web:example.com")
			t.Errorf("returned %v", err)
		}()
	}
}

// TestRenew makes the lookups that badly signed tokens cause.
func TestRenew(t *testing.T) {
	_, c := newLocal(t)
	var asked int
	var failure error
	r := newResolver(t, did.ResolverConfig{
		Now: c.Now, NegativeTTL: time.Hour,
		Directory: reading(func(context.Context, syntax.DID) ([]*did.Operation, error) {
			asked++
			return operation("alice.test"), failure
		}),
	})
	if r.Renew(plc(1)) {
		t.Error("a DID that isn't cached was renewed")
	}
	// badTokens looks a key up for each token, finds the signature invalid, and looks the key up
	// again if it may have been changed.
	badTokens := func(n, want int, fails error) {
		t.Helper()
		before := asked
		for range n {
			if _, err := r.Identity(ctx, plc(1)); !errors.Is(err, fails) {
				t.Fatal(err)
			}
			if r.Renew(plc(1)) {
				if _, err := r.Identity(ctx, plc(1)); !errors.Is(err, fails) {
					t.Fatal(err)
				}
			}
		}
		if asked-before != want {
			t.Errorf("%d bad tokens caused %d lookups, want %d", n, asked-before, want)
		}
	}
	badTokens(500, 2, nil) // the first one may be signed with a new key
	c.now = c.now.Add(30*time.Second - 1)
	badTokens(500, 0, nil)
	c.now = c.now.Add(1)
	badTokens(500, 1, nil) // the key may have been changed since
	failure = did.ErrUnavailable
	c.now = c.now.Add(30 * time.Second)
	badTokens(500, 1, nil) // the expired document is still used
	c.now = c.now.Add(9 * time.Second)
	badTokens(500, 0, nil)
	for _, failure = range []error{did.ErrNotFound, did.ErrTombstoned} {
		r.Forget(plc(1))
		badTokens(500, 1, failure)
		c.now = c.now.Add(29 * time.Second)
		badTokens(500, 0, failure)
		c.now = c.now.Add(time.Second)
		badTokens(500, 1, failure)
	}
}

func TestResolverRefusesNegativeNumbers(t *testing.T) {
	for _, cfg := range []did.ResolverConfig{
		{TTL: -1}, {Stale: -1}, {NegativeTTL: -1}, {Retry: -1}, {MinRefresh: -1}, {Timeout: -1}, {Concurrency: -1}, {Size: -1}, {Bytes: -1},
	} {
		if _, err := did.NewResolver(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
