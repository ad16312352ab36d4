package scope_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// network is a SetResolver in memory, and the clock of a test.
type network struct {
	mu    sync.Mutex
	now   time.Time
	docs  map[syntax.NSID]json.RawMessage
	err   error         // of all lookups, if it isn't nil
	begun chan struct{} // receives a value when a lookup begins, if it has room for it
	hold  chan struct{} // lookups wait until it is closed, if it isn't nil
	asked []syntax.NSID
}

func newNetwork() *network {
	return &network{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), docs: map[syntax.NSID]json.RawMessage{}, begun: make(chan struct{}, 1)}
}

func (n *network) publish(nsid syntax.NSID, permissions ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.docs[nsid] = lexiconOf(nsid.String(), permissions...)
}

func (n *network) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *network) advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = n.now.Add(d)
}

func (n *network) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// lookups returns how often the network was asked since the last call.
func (n *network) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := len(n.asked)
	n.asked = nil
	return asked
}

func (n *network) Resolve(ctx context.Context, nsid syntax.NSID) (json.RawMessage, error) {
	n.mu.Lock()
	n.asked = append(n.asked, nsid)
	doc, err, hold := n.docs[nsid], n.err, n.hold
	n.mu.Unlock()
	select {
	case n.begun <- struct{}{}:
	default:
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if nsid == "app.example.panic" {
		panic("a mistake in the resolver")
	}
	if err == nil && doc == nil {
		err = refusal.New(scope.ErrScope, "it isn't there")
	}
	return doc, err
}

// sets returns Sets that ask a network.
func (n *network) sets(t *testing.T, store storage.Store, cfg scope.SetsConfig) *scope.Sets {
	t.Helper()
	cfg.Resolver, cfg.Now, cfg.Logger = n, n.Now, slog.New(slog.DiscardHandler)
	s, err := scope.NewSets(context.Background(), store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantExpansion checks what a scope stands for.
func wantExpansion(t *testing.T, sets *scope.Sets, raw, want string) {
	t.Helper()
	if got, err := sets.Expand(context.Background(), parse(t, raw)); err != nil || got.String() != want {
		t.Errorf("Expand(%q) = %q, %v; want %q", raw, got, err, want)
	}
}

// wantRefusal checks that a scope is refused with a message.
func wantRefusal(t *testing.T, sets *scope.Sets, raw, want string) {
	t.Helper()
	got, err := sets.Expand(context.Background(), parse(t, raw))
	if got != nil || !errors.Is(err, scope.ErrScope) || err.Error() != want {
		t.Errorf("Expand(%q) = %q, %v; want %q", raw, got, err, want)
	}
}

const (
	day         = 24 * time.Hour
	posts       = "atproto include:app.example.auth"
	unreachable = "The permission set app.example.auth can't be resolved: it can't be reached at the moment"
)

var errNetwork = errors.New("dial tcp 10.0.0.7:443: connection refused")

func TestExpand(t *testing.T) {
	n := newNetwork()
	n.publish("app.example.auth", repo("app.example.post", ""), rpc("app.example.getFeed", `,"inheritAud":true`))
	n.publish("com.other.auth", repo("com.other.post", ""), repo("com.other.post", ""))
	sets := n.sets(t, memory.New(), scope.SetsConfig{})
	wantExpansion(t, sets, "atproto repo:*?action=delete", "atproto repo:*?action=delete")
	if n.lookups() != 0 {
		t.Error("a scope without permission sets asks the network")
	}
	wantExpansion(t, sets, "blob:*/* include:app.example.auth atproto", "blob:*/* repo:app.example.post atproto")
	wantExpansion(t, sets, "atproto include:app.example.auth include:app.example.auth?aud=did:web:x.com%23y include:com.other.auth repo:com.other.post",
		"atproto repo:app.example.post rpc:app.example.getFeed?aud=did%3Aweb%3Ax.com%23y repo:com.other.post")
	wantExpansion(t, sets, "atproto include:APP.Example.auth", "atproto repo:app.example.post")
	if asked := n.lookups(); asked != 2 {
		t.Errorf("two permission sets took %d lookups", asked)
	}
	wantRefusal(t, sets, "atproto include:app.example.auth include:app.example.none", "The permission set app.example.none can't be resolved: it isn't there")
	n.publish("app.example.broken")
	n.docs["app.example.broken"] = json.RawMessage(`{"lexicon":1,"id":"app.example.broken","defs":{}}`)
	wantRefusal(t, sets, "atproto include:app.example.broken",
		`The permission set app.example.broken can't be resolved: the main definition has the type "", not "permission-set"`)
	wantRefusal(t, sets, "atproto include:app.example.panic", "The permission set app.example.panic can't be resolved: it can't be reached at the moment")
}

func TestTooMuchIsRefused(t *testing.T) {
	n := newNetwork()
	sets := n.sets(t, memory.New(), scope.SetsConfig{})
	many := "atproto"
	for i := range 21 {
		many += fmt.Sprintf(" include:app.example.auth%d", i)
	}
	wantRefusal(t, sets, many, "The scope contains more than 20 permission sets")
	if n.lookups() != 0 {
		t.Error("the network was asked for too many permission sets")
	}
	var large []string
	for i := range 600 {
		large = append(large, repo(fmt.Sprintf("app.example.collection%d", i), ""))
	}
	n.publish("app.example.large", large...)
	wantRefusal(t, sets, "atproto include:app.example.large",
		"The scope is too long: with the permissions of its permission sets it has more than 10240 bytes")
}

// A set is kept while the network is unreachable, for 90 days, and also by a server that was
// started in the meantime.
func TestSetsAreKept(t *testing.T) {
	n := newNetwork()
	store := memory.New()
	sets := n.sets(t, store, scope.SetsConfig{})
	n.publish("app.example.auth", repo("app.example.post", ""))
	wantExpansion(t, sets, posts, "atproto repo:app.example.post")
	n.publish("app.example.auth", repo("app.example.like", ""))
	n.advance(day - time.Second)
	wantExpansion(t, sets, posts, "atproto repo:app.example.post")
	wantExpansion(t, n.sets(t, store, scope.SetsConfig{}), posts, "atproto repo:app.example.post")
	if asked := n.lookups(); asked != 1 {
		t.Errorf("%d lookups in a day", asked)
	}
	n.advance(time.Second)
	wantExpansion(t, sets, posts, "atproto repo:app.example.like")
	if asked := n.lookups(); asked != 1 {
		t.Errorf("%d lookups after a day", asked)
	}

	n.fail(errNetwork)
	for _, later := range []time.Duration{day, 4 * time.Minute, time.Minute, 30 * day, 58 * day} {
		n.advance(later)
		wantExpansion(t, sets, posts, "atproto repo:app.example.like")
	}
	if asked := n.lookups(); asked != 4 { // not after 4 minutes
		t.Errorf("%d lookups in an outage", asked)
	}
	wantExpansion(t, n.sets(t, store, scope.SetsConfig{}), posts, "atproto repo:app.example.like")
	n.advance(day)
	wantRefusal(t, sets, posts, unreachable)
	wantRefusal(t, n.sets(t, store, scope.SetsConfig{}), posts, unreachable)
	n.fail(nil)
	n.advance(10 * time.Second)
	wantExpansion(t, sets, posts, "atproto repo:app.example.like")
}

// A set that was withdrawn or broken by its publisher is kept too: a mistake there mustn't keep
// people from signing in.
func TestBrokenSetsAreKept(t *testing.T) {
	n := newNetwork()
	sets := n.sets(t, memory.New(), scope.SetsConfig{})
	n.publish("app.example.auth", repo("app.example.post", ""))
	wantExpansion(t, sets, posts, "atproto repo:app.example.post")
	for _, doc := range []string{"", "{}", `{"lexicon":1,"id":"app.example.other","defs":{"main":{"type":"permission-set","permissions":[]}}}`} {
		n.docs["app.example.auth"] = json.RawMessage(doc)
		n.advance(day)
		wantExpansion(t, sets, posts, "atproto repo:app.example.post")
	}
	n.publish("app.example.auth") // an empty set is no mistake
	n.advance(day)
	wantExpansion(t, sets, posts, "atproto")
}

// What can't be resolved isn't asked for again at once, by whoever, and its failure says nothing
// about the server's network.
func TestFailuresAreRemembered(t *testing.T) {
	n := newNetwork()
	sets := n.sets(t, memory.New(), scope.SetsConfig{})
	n.fail(errNetwork)
	for range 5 {
		wantRefusal(t, sets, posts, unreachable)
		n.advance(time.Second)
	}
	n.fail(nil)
	n.publish("app.example.auth", repo("app.example.post", ""))
	wantRefusal(t, sets, posts, unreachable)
	if asked := n.lookups(); asked != 1 {
		t.Errorf("%d lookups in 5 seconds", asked)
	}
	n.advance(5 * time.Second)
	wantExpansion(t, sets, posts, "atproto repo:app.example.post")
}

func TestConcurrentLookupsAreMerged(t *testing.T) {
	n := newNetwork()
	n.hold = make(chan struct{})
	n.publish("app.example.auth", repo("app.example.post", ""))
	sets := n.sets(t, memory.New(), scope.SetsConfig{})
	impatient, cancel := context.WithCancel(context.Background())
	first := make(chan error)
	go func() {
		_, err := sets.Expand(impatient, parse(t, posts))
		first <- err
	}()
	<-n.begun
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wantExpansion(t, sets, posts, "atproto repo:app.example.post") })
	}
	cancel() // the others still get their answer
	if err := <-first; !errors.Is(err, context.Canceled) || errors.Is(err, scope.ErrScope) {
		t.Errorf("the caller that went away got %v", err)
	}
	close(n.hold)
	all.Wait()
	if asked := n.lookups(); asked != 1 {
		t.Errorf("%d lookups", asked)
	}
}

// A publisher that doesn't answer holds up nobody for longer than the timeout, and those that wait
// for their turn aren't refused forever.
func TestSlowPublishers(t *testing.T) {
	n := newNetwork()
	n.hold = make(chan struct{})
	sets := n.sets(t, memory.New(), scope.SetsConfig{Timeout: time.Millisecond, Concurrency: 1})
	raw := "atproto include:app.example.auth include:app.example.more"
	if _, err := sets.Expand(context.Background(), parse(t, raw)); !errors.Is(err, scope.ErrScope) {
		t.Errorf("Expand: %v", err)
	}
	close(n.hold)
	n.publish("app.example.auth")
	n.publish("app.example.more")
	n.advance(time.Minute)
	roomy := n.sets(t, memory.New(), scope.SetsConfig{Concurrency: 1})
	wantExpansion(t, roomy, raw, "atproto")
}

// Whoever owns a domain can publish any number of sets. They push out each other, not those of
// others.
func TestOneDomainDoesNotFillTheStore(t *testing.T) {
	n := newNetwork()
	store := memory.New()
	sets := n.sets(t, store, scope.SetsConfig{})
	n.publish("app.example.auth", repo("app.example.post", ""))
	wantExpansion(t, sets, posts, "atproto repo:app.example.post")
	for i := range 60 {
		n.advance(time.Second)
		nsid := syntax.NSID(fmt.Sprintf("com.evil.sub%d.auth", i)) // each in a domain of its own below evil.com
		n.publish(nsid)
		wantExpansion(t, sets, "atproto include:"+nsid.String(), "atproto")
	}
	if got := stored(t, store); len(got) != 51 || got[0] != "app.example.auth" || strings.Contains(strings.Join(got, " ")+" ", "sub9.auth ") {
		t.Errorf("%d sets are stored: %q", len(got), got)
	}
}

func TestMaintain(t *testing.T) {
	n := newNetwork()
	store := memory.New()
	sets := n.sets(t, store, scope.SetsConfig{})
	n.publish("app.example.old")
	wantExpansion(t, sets, "atproto include:app.example.old", "atproto")
	n.advance(89 * day)
	n.publish("app.example.auth")
	wantExpansion(t, sets, posts, "atproto")
	for _, step := range []struct {
		later time.Duration
		want  string
	}{{0, "[app.example.auth app.example.old]"}, {2 * day, "[app.example.auth]"}, {89 * day, "[]"}} {
		n.advance(step.later)
		if err := sets.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(stored(t, store)); got != step.want {
			t.Errorf("after %s %s are stored, want %s", step.later, got, step.want)
		}
	}

	// 41 domains with 50 sets each are more than is kept.
	for i := range 41 {
		n.advance(time.Second)
		for j := range 50 {
			nsid := syntax.NSID(fmt.Sprintf("com.domain%02d.auth%d", i, j))
			n.publish(nsid)
			if _, err := sets.Expand(context.Background(), scope.Set{"include:" + nsid.String()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := sets.Maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, store); len(got) != 2000 || !strings.HasPrefix(got[0], "com.domain01.") {
		t.Errorf("%d sets are stored, beginning with %s", len(got), got[0])
	}
}

// stored returns the names of the sets in a store.
func stored(t *testing.T, store storage.Store) []string {
	t.Helper()
	names := []string{}
	err := store.View(context.Background(), func(tx storage.Tx) error {
		names = names[:0]
		for r, err := range tx.Scan("permission_sets", storage.Range{}) {
			if err != nil {
				return err
			}
			names = append(names, r.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAFailureOfTheStoreIsNoRefusal(t *testing.T) {
	n := newNetwork()
	store := memory.New()
	sets := n.sets(t, store, scope.SetsConfig{})
	store.Close()
	if _, err := sets.Expand(context.Background(), parse(t, posts)); !errors.Is(err, storage.ErrClosed) || errors.Is(err, scope.ErrScope) {
		t.Errorf("Expand: %v", err)
	}
	if n.lookups() != 0 {
		t.Error("the network was asked")
	}
}

func TestNewSetsRefuses(t *testing.T) {
	for name, cfg := range map[string]scope.SetsConfig{
		"no resolver":           {},
		"a negative time":       {Resolver: newNetwork(), Retry: -1},
		"a negative freshness":  {Resolver: newNetwork(), Fresh: -1},
		"a negative concurrent": {Resolver: newNetwork(), Concurrency: -1},
	} {
		if _, err := scope.NewSets(context.Background(), memory.New(), cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
