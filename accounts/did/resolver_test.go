package did_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

func TestResolver(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	answer := `{"id":"did:web:example.com"}`
	r, err := did.NewResolver(did.ResolverConfig{Directory: l, Now: c.Now, Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) {
		return json.RawMessage(answer), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := func(handle string) {
		t.Helper()
		doc, err := r.Resolve(ctx, m.DID)
		if err != nil || !strings.Contains(string(doc), handle) {
			t.Errorf("the document is %s, %v; want %s in it", doc, err, handle)
		}
	}
	want("alice.test")
	if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
		t.Fatal(err)
	}
	want("alice.test") // cached
	r.Forget(m.DID)
	want("alice2.test")
	if err := ids.Change(ctx, m.DID, handle("alice3.test")); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(5 * time.Minute)
	want("alice3.test")
	if doc, err := r.Resolve(ctx, "did:web:example.com"); err != nil || string(doc) != `{"id":"did:web:example.com"}` {
		t.Errorf("a foreign DID: %s, %v", doc, err)
	}
	answer = "{ \"id\": \"did:web:example.com\",\n\t\"alsoKnownAs\": [\"at://<a>\"] }\n"
	r.Forget("did:web:example.com")
	doc, pds, err := r.Document(ctx, "did:web:example.com")
	if err != nil || string(doc) != `{"id":"did:web:example.com","alsoKnownAs":["at://\u003ca\u003e"]}` || pds != "" {
		t.Errorf("a document with superfluous space: %s, %q, %v", doc, pds, err)
	}
	if doc, pds, err := r.Document(ctx, m.DID); err != nil || !strings.Contains(string(doc), "alice3.test") || pds == "" || !strings.Contains(string(doc), `"serviceEndpoint":"`+pds+`"`) {
		t.Errorf("an account's document: %s, %q, %v", doc, pds, err)
	}
	for _, other := range []string{``, `<html>`, `null`, `[]`, `{"id":"did:web:example.org"}`, `{"id":1}`, `{"id":"did:web:example.com"}}`} {
		answer = other
		r.Forget("did:web:example.com")
		if doc, err := r.Resolve(ctx, "did:web:example.com"); !errors.Is(err, did.ErrUnavailable) {
			t.Errorf("for a foreign DID the host sent %s: %s, %v", other, doc, err)
		}
	}
	if _, err := r.Resolve(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("an unknown DID: %v", err)
	}
}

// outage is a directory that can be switched off.
type outage struct {
	did.Directory
	asked atomic.Int32
	off   atomic.Bool
	then  func() // called after each request
}

func (o *outage) Log(ctx context.Context, id syntax.DID) ([]*did.Operation, error) {
	o.asked.Add(1)
	if o.off.Load() {
		return nil, did.ErrUnavailable
	}
	log, err := o.Directory.Log(ctx, id)
	if o.then != nil {
		o.then()
	}
	return log, err
}

func TestResolverInAnOutage(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	m, unseen := ids.mint(), ids.mint()
	ids.submit(m)
	ids.submit(unseen)
	dir := &outage{Directory: l}
	r, err := did.NewResolver(did.ResolverConfig{Directory: dir, Now: c.Now, TTL: time.Minute, Retry: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(id syntax.DID, want error, asked int32) {
		t.Helper()
		doc, err := r.Resolve(ctx, id)
		if !errors.Is(err, want) || (err == nil) == (doc == nil) || dir.asked.Load() != asked {
			t.Errorf("%s, %v after %d requests; want %v after %d", doc, err, dir.asked.Load(), want, asked)
		}
	}
	resolve(m.DID, nil, 1)
	resolve(m.DID, nil, 1)
	dir.off.Store(true)
	c.now = c.now.Add(time.Minute)
	resolve(m.DID, nil, 2) // the expired document is used
	resolve(m.DID, nil, 2)
	resolve(unseen.DID, did.ErrUnavailable, 3)
	resolve(unseen.DID, did.ErrUnavailable, 3)
	c.now = c.now.Add(time.Second)
	resolve(m.DID, nil, 4)
	dir.off.Store(false)
	c.now = c.now.Add(time.Second)
	resolve(m.DID, nil, 5)
	resolve(m.DID, nil, 5)
	resolve(unseen.DID, nil, 6)
	if err := ids.Tombstone(ctx, m.DID); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Minute)
	resolve(m.DID, did.ErrTombstoned, 7)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	dir.off.Store(true)
	r.Forget(unseen.DID)
	if _, err := r.Resolve(gone, unseen.DID); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("a caller whose context has ended: %v", err)
	}
	dir.off.Store(false)
	resolve(unseen.DID, nil, 8) // the caller whose context had ended caused no request
}

// TestForgetDuringALookup changes a DID while it is looked up.
func TestForgetDuringALookup(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	dir := &outage{Directory: l}
	r, err := did.NewResolver(did.ResolverConfig{Directory: dir, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	dir.then = func() {
		dir.then = nil
		if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
			t.Error(err)
		}
		r.Forget(m.DID)
	}
	for _, want := range []string{"alice.test", "alice2.test"} {
		if doc, err := r.Resolve(ctx, m.DID); err != nil || !strings.Contains(string(doc), want) {
			t.Errorf("the document is %s, %v; want %s in it", doc, err, want)
		}
	}
}
