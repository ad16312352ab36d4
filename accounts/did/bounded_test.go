package did

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// held returns how much memory is in use.
func held() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first may only have found what can be freed
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestResolverMemory looks up documents that are made to take much memory, by names that are parts
// of larger strings.
func TestResolverMemory(t *testing.T) {
	const size, limit = 16 << 10, 2 << 20
	fill := func(item string) string { return strings.Repeat(item+",", size/(len(item)+1)) + item }
	for name, body := range map[string]string{
		"text":           `"x":"` + strings.Repeat("x", size) + `"`,
		"space":          `"x":` + strings.Repeat(" ", size) + `1`,
		"handles":        `"alsoKnownAs":[` + fill(`""`) + `]`,
		"empty keys":     `"verificationMethod":[` + fill(`{}`) + `]`,
		"empty services": `"service":[` + fill(`{}`) + `]`,
		"a long name":    `"service":[{"id":"` + strings.Repeat("x", size) + `#a"}]`,
		"services": func() string {
			var list []string
			for i := range size / 12 {
				list = append(list, fmt.Sprintf(`{"id":"#%x"}`, i))
			}
			return `"service":[` + strings.Join(list, ",") + `]`
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewResolver(ResolverConfig{Bytes: limit, Foreign: func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
				return json.RawMessage(`{"id":"` + id.String() + `",` + body + `}`), nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			before := held()
			for i := range 40 {
				host := fmt.Sprintf("did:web:host%d.example.com", i)
				url := host + strings.Repeat("&", 8*size)
				id := syntax.DID(url[:len(host)])
				if _, err := r.Resolve(context.Background(), id); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Identity(context.Background(), id); err != nil { // so that it is in memory too
					t.Fatal(err)
				}
			}
			used := held() - before
			if counted := r.documents.bytes; counted > limit || counted == 0 || used > counted+counted/4+256<<10 {
				t.Errorf("%d documents are counted as %d bytes, and take %d", r.documents.lru.Len(), counted, used)
			}
			runtime.KeepAlive(r)
		})
	}
	t.Run("errors", func(t *testing.T) {
		r, err := NewResolver(ResolverConfig{Bytes: limit, Foreign: func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
			return nil, fmt.Errorf("%w: %s%s", ErrNotFound, id, strings.Repeat("x", size))
		}})
		if err != nil {
			t.Fatal(err)
		}
		before := held()
		for i := range 100 {
			_, _ = r.Resolve(context.Background(), syntax.DID(fmt.Sprintf("did:web:host%d.example.com", i)))
		}
		if used := held() - before; r.refusals.bytes > 64<<10 || used > 128<<10 || r.refusals.lru.Len() == 0 {
			t.Errorf("%d errors are counted as %d bytes, and take %d", r.refusals.lru.Len(), r.refusals.bytes, used)
		}
		runtime.KeepAlive(r)
	})
}

// TestExpiredAnswersAreRemoved lets documents and errors expire.
func TestExpiredAnswersAreRemoved(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r, err := NewResolver(ResolverConfig{Now: func() time.Time { return now }, Foreign: func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
		if strings.HasPrefix(id.String(), "did:web:not") {
			return nil, ErrNotFound
		}
		return json.RawMessage(`{"id":"` + id.String() + `"}`), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	lookUp := func(name string, n int) {
		for i := range n {
			_, _ = r.Resolve(context.Background(), syntax.DID(fmt.Sprintf("did:web:%s%d.example.com", name, i)))
		}
	}
	lookUp("old", 100)
	lookUp("notold", 100)
	now = now.Add(24*time.Hour + 5*time.Minute)
	lookUp("new", 50)
	lookUp("notnew", 50)
	for name, b := range map[string]*bounded[*answer]{"documents": r.documents, "errors": r.refusals} {
		bytes := 0
		for _, e := range b.lru.Values() {
			bytes += e.cost
		}
		if b.lru.Len() != 50 || b.bytes != bytes {
			t.Errorf("%d %s are left, counted as %d bytes; want 50 with %d", b.lru.Len(), name, b.bytes, bytes)
		}
	}
}

// TestALargeDocumentIsNotCached looks up a document that would evict the others.
func TestALargeDocumentIsNotCached(t *testing.T) {
	asked := map[syntax.DID]int{}
	r, err := NewResolver(ResolverConfig{Bytes: 64 << 10, Foreign: func(_ context.Context, id syntax.DID) (json.RawMessage, error) {
		asked[id]++
		doc := `{"id":"` + id.String() + `"}`
		if id == "did:web:large.example.com" {
			doc = strings.Replace(doc, "{", `{"alsoKnownAs":["`+strings.Repeat("x", 16<<10)+`"],`, 1)
		}
		return json.RawMessage(doc), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		for _, id := range []syntax.DID{"did:web:small.example.com", "did:web:large.example.com"} {
			if _, err := r.Resolve(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if asked["did:web:small.example.com"] != 1 || asked["did:web:large.example.com"] != 10 {
		t.Errorf("asked for %v", asked)
	}
}

// BenchmarkResolverHit looks up a cached document.
func BenchmarkResolverHit(b *testing.B) {
	var asked atomic.Int32
	doc := json.RawMessage(`{"id":"did:web:example.com","service":[{"id":"#atproto_pds","serviceEndpoint":"https://example.com"}]}`)
	r, err := NewResolver(ResolverConfig{Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) {
		asked.Add(1)
		return doc, nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Identity(ctx, "did:web:example.com"); err != nil {
			b.Fatal(err)
		}
	}
	if n := asked.Load(); n != 1 {
		b.Errorf("asked %d times", n)
	}
}

// TestAHitAllocatesNothing looks up a cached document.
func TestAHitAllocatesNothing(t *testing.T) {
	r, err := NewResolver(ResolverConfig{Foreign: func(context.Context, syntax.DID) (json.RawMessage, error) {
		return json.RawMessage(`{"id":"did:web:example.com"}`), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Identity(ctx, "did:web:example.com"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
