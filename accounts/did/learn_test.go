package did_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// meddled is a directory that counts requests and lets other things happen during them.
type meddled struct {
	did.Directory
	reads, writes atomic.Int32
	before, after func()                                      // each submission, once
	submit        func(context.Context, *did.Operation) error // in place of the directory's Submit
}

func (m *meddled) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	m.reads.Add(1)
	return m.Directory.Log(ctx, id)
}

func (m *meddled) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	m.writes.Add(1)
	once(&m.before)
	defer once(&m.after)
	if m.submit != nil {
		return m.submit(ctx, op)
	}
	return m.Directory.Submit(ctx, id, op)
}

// once calls a function unless it is nil, and sets it to nil before.
func once(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

// learner is a registrar with a resolver on one directory.
type learner struct {
	*identities
	dir      *meddled
	resolver *did.Resolver
	clock    *clock
	local    *did.Local
}

func newLearner(t *testing.T) *learner {
	t.Helper()
	local, c := newLocal(t)
	dir := &meddled{Directory: local}
	l := &learner{newIdentities(t, dir), dir, newResolver(t, did.ResolverConfig{Directory: dir, Now: c.Now}), c, local}
	l.Resolver = l.resolver
	return l
}

// shows checks what the resolver returns, and how often it reads the directory for that.
func (l *learner) shows(id syntax.DID, handle string, reads int32) {
	l.t.Helper()
	before := l.dir.reads.Load()
	doc, err := l.resolver.Resolve(ctx, id)
	if n := l.dir.reads.Load() - before; err != nil || !strings.Contains(string(doc), "at://"+handle+`"`) || n != reads {
		l.t.Errorf("the document is %s, %v after %d reads; want %s after %d", doc, err, n, handle, reads)
	}
}

// outside publishes the operation that follows the last one, signed by the owner.
func (l *learner) outside(id syntax.DID, h syntax.Handle) {
	l.t.Helper()
	log, err := l.local.Log(ctx, id)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.local.Submit(ctx, id, next(l.t, log[len(log)-1], l.owner, handle(h))); err != nil {
		l.t.Fatal(err)
	}
}

func (l *learner) change(id syntax.DID, h syntax.Handle, want error) {
	l.t.Helper()
	if err := l.Change(ctx, id, handle(h)); !errors.Is(err, want) || want == nil && err != nil {
		l.t.Errorf("Change: %v, want %v", err, want)
	}
}

// TestTheResolverLearnsWhatTheRegistrarWrites makes changes, and looks at each without a request to
// the directory.
func TestTheResolverLearnsWhatTheRegistrarWrites(t *testing.T) {
	l := newLearner(t)
	m := l.mint()
	if _, err := l.resolver.Resolve(ctx, m.DID); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("before the DID is published: %v", err)
	}
	l.submit(m)
	l.shows(m.DID, "alice.test", 0)
	l.change(m.DID, "alice2.test", nil)
	l.shows(m.DID, "alice2.test", 0)
	op, err := l.Sign(ctx, m.DID, handle("alice3.test"))
	if err != nil {
		t.Fatal(err)
	}
	l.shows(m.DID, "alice2.test", 0) // it is not submitted yet
	reads := l.dir.reads.Load()
	if err := l.Submit(ctx, m.DID, op); err != nil || l.dir.reads.Load() != reads {
		t.Errorf("submitting what was signed here: %v after %d reads", err, l.dir.reads.Load()-reads)
	}
	l.shows(m.DID, "alice3.test", 0)
	if ident, err := l.resolver.Identity(ctx, m.DID); err != nil || ident.DID != m.DID || ident.PDSEndpoint() != l.PublicURL {
		t.Errorf("the identity is %+v, %v", ident, err)
	}

	// It ages like a document that was looked up.
	l.outside(m.DID, "alice4.test")
	l.clock.now = l.clock.now.Add(5*time.Minute - 1)
	l.shows(m.DID, "alice3.test", 0)
	l.clock.now = l.clock.now.Add(1)
	l.shows(m.DID, "alice4.test", 1)
	l.change(m.DID, "alice5.test", nil)
	l.outside(m.DID, "alice6.test")
	if !l.resolver.Renew(m.DID) {
		t.Error("what was learned can't be renewed")
	}
	l.shows(m.DID, "alice6.test", 1)

	if err := l.Tombstone(ctx, m.DID); err != nil {
		t.Fatal(err)
	}
	if doc, err := l.resolver.Resolve(ctx, m.DID); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("a tombstoned DID: %s, %v", doc, err)
	}
}

// TestTheResolverForgetsWhatIsUncertain makes changes whose outcome the registrar can't be sure of:
// the next lookup asks the directory.
func TestTheResolverForgetsWhatIsUncertain(t *testing.T) {
	for name, make := range map[string]func(*learner, minted) (want syntax.Handle){
		"nothing is changed": func(l *learner, m minted) syntax.Handle {
			l.outside(m.DID, "alice2.test")
			l.change(m.DID, "alice2.test", nil)
			return "alice2.test"
		},
		"the answer is lost": func(l *learner, m minted) syntax.Handle {
			l.dir.submit = func(ctx context.Context, op *did.Operation) error {
				if err := l.local.Submit(ctx, m.DID, op); err != nil {
					return err
				}
				return did.ErrUnavailable
			}
			l.change(m.DID, "alice2.test", nil)
			return "alice2.test"
		},
		"the answer is lost, and another operation follows": func(l *learner, m minted) syntax.Handle {
			l.dir.submit = func(ctx context.Context, op *did.Operation) error {
				if err := l.local.Submit(ctx, m.DID, op); err != nil {
					return err
				}
				l.outside(m.DID, "alice3.test")
				return did.ErrUnavailable
			}
			l.change(m.DID, "alice2.test", did.ErrUnavailable)
			return "alice3.test"
		},
		"another operation comes first": func(l *learner, m minted) syntax.Handle {
			l.dir.before = func() { l.outside(m.DID, "alice2.test") }
			l.change(m.DID, "alice3.test", nil)
			return "alice3.test"
		},
		"the operation is refused": func(l *learner, m minted) syntax.Handle {
			l.dir.submit = func(context.Context, *did.Operation) error {
				l.outside(m.DID, "alice2.test")
				return did.ErrRefused
			}
			err := l.Submit(ctx, m.DID, next(l.t, m.Operation, l.Signer, handle("alice3.test")))
			if !errors.Is(err, did.ErrRefused) {
				l.t.Error(err)
			}
			return "alice2.test"
		},
		"the operation is submitted again": func(l *learner, m minted) syntax.Handle {
			op := next(l.t, m.Operation, l.Signer, handle("alice2.test"))
			if err := l.Submit(ctx, m.DID, op); err != nil {
				l.t.Error(err)
			}
			l.outside(m.DID, "alice3.test")
			if err := l.Submit(ctx, m.DID, op); err != nil {
				l.t.Error(err)
			}
			return "alice3.test"
		},
		"the directory doesn't say whether it added the operation": func(l *learner, m minted) syntax.Handle {
			l.dir.submit = func(_ context.Context, op *did.Operation) error { return l.local.Submit(ctx, m.DID, op) }
			l.dir.after = func() { l.outside(m.DID, "alice3.test") }
			l.change(m.DID, "alice2.test", nil)
			return "alice3.test"
		},
		"the DID is forgotten meanwhile": func(l *learner, m minted) syntax.Handle {
			l.dir.after = func() { l.outside(m.DID, "alice3.test"); l.resolver.Forget(m.DID) }
			l.change(m.DID, "alice2.test", nil)
			return "alice3.test"
		},
		"the DID is looked up meanwhile": func(l *learner, m minted) syntax.Handle {
			l.dir.before = func() {
				l.resolver.Forget(m.DID)
				l.shows(m.DID, "alice.test", 1)
			}
			l.change(m.DID, "alice2.test", nil)
			return "alice2.test"
		},
		"another change is made meanwhile": func(l *learner, m minted) syntax.Handle {
			l.dir.after = func() { l.change(m.DID, "alice3.test", nil) }
			l.change(m.DID, "alice2.test", nil)
			return "alice3.test"
		},
		"the server's key is missing": func(l *learner, m minted) syntax.Handle {
			mine := func(op *did.Operation) { op.RotationKeys = []string{l.ownerID}; op.SetHandle("mine.test") }
			if err := l.local.Submit(ctx, m.DID, next(l.t, m.Operation, l.owner, mine)); err != nil {
				l.t.Fatal(err)
			}
			l.change(m.DID, "alice2.test", did.ErrNotController)
			return "mine.test"
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLearner(t)
			m := l.mint()
			l.submit(m)
			l.shows(m.DID, "alice.test", 0)
			l.shows(m.DID, make(l, m).String(), 1)
		})
	}
}

// TestALookupFromBeforeAChange is answered after the change, and must not take the place of what
// was learned.
func TestALookupFromBeforeAChange(t *testing.T) {
	local, c := newLocal(t)
	ids := newIdentities(t, local)
	m := ids.mint()
	ids.submit(m)
	dir := &outage{Directory: local}
	r := newResolver(t, did.ResolverConfig{Directory: dir, Now: c.Now})
	ids.Resolver = r
	dir.then = func() {
		dir.then = nil
		if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{"alice.test", "alice2.test"} {
		if doc, err := r.Resolve(ctx, m.DID); err != nil || !strings.Contains(string(doc), want) {
			t.Errorf("the document is %s, %v; want %s in it", doc, err, want)
		}
	}
	if n := dir.asked.Load(); n != 1 {
		t.Errorf("the directory was asked %d times", n)
	}
}

// TestNobodyJoinsALookupFromBeforeAChange has a lookup take so long that what was learned after it
// began is evicted again before it ends.
func TestNobodyJoinsALookupFromBeforeAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, _ := newLocal(t)
		ids := newIdentities(t, local)
		m, other := ids.mint(), ids.mint()
		ids.submit(m)
		ids.submit(other)
		release := make(chan struct{})
		var asked atomic.Int32
		r := newResolver(t, did.ResolverConfig{Size: 1, Directory: reading(func(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
			log, err := local.Log(ctx, id)
			if asked.Add(1) == 1 {
				<-release
			}
			return log, err
		})})
		ids.Resolver = r
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.Resolve(t.Context(), m.DID) })
		synctest.Wait()
		if err := ids.Change(t.Context(), m.DID, handle("alice2.test")); err != nil {
			t.Error(err)
		}
		if _, err := r.Resolve(t.Context(), other.DID); err != nil {
			t.Error(err)
		}
		wg.Go(func() {
			if doc, err := r.Resolve(t.Context(), m.DID); err != nil || !strings.Contains(string(doc), "alice2.test") {
				t.Errorf("the document is %s, %v", doc, err)
			}
		})
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

// TestAClientThatTriesAgain submits an operation over HTTP. The answer to the first try is lost,
// and another operation follows before the second, which a directory may answer as it answered the
// first.
func TestAClientThatTriesAgain(t *testing.T) {
	local, c := newLocal(t)
	var lose atomic.Bool
	var rival func()
	server := serve(t, local, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !lose.CompareAndSwap(true, false) {
			return false
		}
		rival()
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	client := newClient(t, server.URL)
	ids := newIdentities(t, client)
	r := newResolver(t, did.ResolverConfig{Directory: client, Now: c.Now})
	ids.Resolver = r
	m := ids.mint()
	ids.submit(m)
	shows := func(want string) {
		t.Helper()
		if doc, err := r.Resolve(ctx, m.DID); err != nil || !strings.Contains(string(doc), "at://"+want+`"`) {
			t.Errorf("the document is %s, %v; want %s in it", doc, err, want)
		}
	}
	shows("alice.test")
	mine := next(t, m.Operation, ids.Signer, handle("alice2.test"))
	rival = func() {
		for _, op := range []*did.Operation{mine, next(t, mine, ids.owner, handle("alice3.test"))} {
			if err := local.Submit(ctx, m.DID, op); err != nil {
				t.Error(err)
			}
		}
	}
	lose.Store(true)
	if err := ids.Submit(ctx, m.DID, mine); err != nil {
		t.Error(err)
	}
	shows("alice3.test")
}

// TestAnOldOperationIsSubmittedAgain to a directory that answers as if it were new. The resolver
// must not take it for the last one, or whoever has a session here could hide what the owner did
// since.
func TestAnOldOperationIsSubmittedAgain(t *testing.T) {
	local, c := newLocal(t)
	client := newClient(t, serve(t, local, nil).URL)
	ids := newIdentities(t, client)
	r := newResolver(t, did.ResolverConfig{Directory: client, Now: c.Now})
	ids.Resolver = r
	m := ids.mint()
	ids.submit(m)
	signed, err := ids.Sign(ctx, m.DID, handle("alice2.test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ids.Submit(ctx, m.DID, signed); err != nil {
		t.Fatal(err)
	}
	other := next(t, signed, ids.Signer, handle("alice3.test"))
	if err := ids.Submit(ctx, m.DID, other); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := ids.Sign(ctx, m.DID, handle("alice0.test"))
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []*did.Operation{elsewhere, next(t, elsewhere, ids.owner, handle("alice4.test"))} {
		if err := local.Submit(ctx, m.DID, op); err != nil {
			t.Fatal(err)
		}
	}
	for name, old := range map[string]*did.Operation{
		"the first one": m.Operation, "one that Sign made": signed, "another": other, "one that Sign made, submitted elsewhere": elsewhere,
	} {
		if err := ids.Submit(ctx, m.DID, old); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if doc, err := r.Resolve(ctx, m.DID); err != nil || !strings.Contains(string(doc), `at://alice4.test"`) {
			t.Errorf("%s: the document is %s, %v", name, doc, err)
		}
	}
}

// TestSubmitChecksWhatOthersSigned: only for an operation that Sign has made, which it has checked,
// the log isn't read before the operation is submitted.
func TestSubmitChecksWhatOthersSigned(t *testing.T) {
	l := newLearner(t)
	m := l.mint()
	l.submit(m)
	signed, err := l.Sign(ctx, m.DID, handle("alice2.test"))
	if err != nil {
		t.Fatal(err)
	}
	altered := *signed
	altered.AlsoKnownAs = []string{"at://alice.test"}
	if err := altered.Sign(l.Signer); err != nil {
		t.Fatal(err)
	}
	for _, op := range []*did.Operation{next(t, m.Operation, l.owner, nothing), &altered} {
		if err := l.Submit(ctx, m.DID, op); !errors.Is(err, did.ErrRefused) {
			t.Errorf("an operation that changes nothing: %v", err)
		}
	}
	if n := l.dir.writes.Load(); n != 1 {
		t.Errorf("%d operations were submitted", n)
	}
}
