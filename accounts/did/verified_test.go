package did

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// log is a log of a DID that was made for a test.
type log struct {
	t   testing.TB
	key *atcrypto.PrivateKeyK256
	ops []*Operation
}

// chain makes a log of n operations.
func chain(t testing.TB, n int) *log {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	l := &log{t: t, key: key}
	l.extend(n)
	return l
}

func (l *log) extend(n int) {
	l.t.Helper()
	public, err := l.key.PublicKey()
	if err != nil {
		l.t.Fatal(err)
	}
	for range n {
		op := &Operation{Type: TypeOperation, RotationKeys: []string{public.DIDKey()}}
		if last := len(l.ops) - 1; last >= 0 {
			if op, err = l.ops[last].Next(); err != nil {
				l.t.Fatal(err)
			}
		}
		op.SetHandle(syntax.Handle(fmt.Sprintf("handle%d.test", len(l.ops))))
		if err := op.Sign(l.key); err != nil {
			l.t.Fatal(err)
		}
		l.ops = append(l.ops, op)
	}
}

func (l *log) genesis() (*Operation, syntax.DID) {
	l.t.Helper()
	id, err := l.ops[0].DID()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.ops[0], id
}

// written returns the log as a directory returns it.
func (l *log) written() []byte {
	l.t.Helper()
	b, err := json.Marshal(l.ops)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// client returns a client of a directory that returns the current value of answer.
func (l *log) client(answer *[]byte) (*Client, syntax.DID) {
	l.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*answer) }))
	l.t.Cleanup(server.Close)
	c, err := NewClient(ClientConfig{URL: server.URL})
	if err != nil {
		l.t.Fatal(err)
	}
	_, id := l.genesis()
	return c, id
}

// verifying is a context that counts the operations that a client verifies, since it is checked
// before each. It ends after a number of them, if that isn't 0.
type verifying struct {
	context.Context
	asked, end int
}

func (v *verifying) Err() error {
	v.asked++
	if v.end > 0 && v.asked > v.end {
		return context.DeadlineExceeded
	}
	return nil
}

// check verifies a log and returns how many signatures were verified.
func (l *log) check(v *verifiedLogs, end int) (checked int, err error) {
	l.t.Helper()
	ops, written, err := parseLog(l.written())
	if err != nil {
		l.t.Fatal(err)
	}
	_, id := l.genesis()
	ctx := &verifying{Context: context.Background(), end: end}
	err = v.verify(ctx, id, ops, written, time.Now())
	if end > 0 && ctx.asked > end {
		ctx.asked = end
	}
	return ctx.asked, err
}

func newVerified(t *testing.T) *verifiedLogs {
	t.Helper()
	v, err := newVerifiedLogs()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestOnlyNewOperationsAreVerified fetches a long log repeatedly.
func TestOnlyNewOperationsAreVerified(t *testing.T) {
	l := chain(t, 60)
	v := newVerified(t)
	verify := func(what string, want int, good bool) {
		t.Helper()
		if checked, err := l.check(v, 0); checked != want || (err == nil) != good {
			t.Errorf("%s: %v after %d signatures; want %d", what, err, checked, want)
		}
	}
	verify("the first time", 60, true)
	verify("again", 0, true)
	l.extend(3)
	verify("appended to", 3, true)
	verify("again", 0, true)

	genuine := slices.Clone(l.ops)
	forged := *l.ops[10]
	forged.AlsoKnownAs = []string{"at://mallory.test"}
	l.ops[10] = &forged
	verify("with a forged operation at the beginning", 0, false) // the next one doesn't follow it
	l.ops = slices.Clone(genuine)
	verify("genuine again", 0, true)

	other, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	op, err := l.ops[len(l.ops)-1].Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Sign(other); err != nil {
		t.Fatal(err)
	}
	l.ops = append(l.ops, op)
	verify("with an appended operation of a stranger", 1, false)
	verify("again", 1, false)

	l.ops = slices.Clone(genuine[:40])
	l.extend(10)
	verify("after operations were undone", 50, true)
	verify("again", 0, true)
	l.ops = l.ops[:30]
	verify("cut short", 30, true)
}

// TestALogIsVerifiedStepByStep has contexts that end before the whole log is verified.
func TestALogIsVerifiedStepByStep(t *testing.T) {
	l := chain(t, 60)
	v := newVerified(t)
	for i, want := range []int{25, 25, 10, 0} {
		checked, err := l.check(v, 25)
		if checked != want || (err == nil) != (i >= 2) {
			t.Errorf("time %d: %v after %d signatures; want %d", i, err, checked, want)
		}
	}
}

// TestShortLogsAreNotCached verifies a long log and many short ones.
func TestShortLogsAreNotCached(t *testing.T) {
	long := chain(t, longLog)
	v := newVerified(t)
	if checked, err := long.check(v, 0); err != nil || checked != longLog {
		t.Errorf("%d, %v", checked, err)
	}
	for range 5 {
		if _, err := chain(t, longLog-1).check(v, 0); err != nil {
			t.Error(err)
		}
	}
	if n := v.logs.lru.Len(); n != 1 {
		t.Errorf("%d logs are cached", n)
	}
}

// TestVerifiedLogsAreBounded adds more logs than the cache may hold.
func TestVerifiedLogsAreBounded(t *testing.T) {
	v := newVerified(t)
	now := time.Now()
	for i := range 3 * maxLogs {
		v.logs.put(syntax.DID(fmt.Sprintf("did:plc:%024d", i)), prefix{}, 0, now, now.Add(logTTL))
	}
	if n, bytes := v.logs.lru.Len(), v.logs.bytes; n != maxLogs || bytes > 4<<20 {
		t.Errorf("%d logs are cached in %d bytes", n, bytes)
	}
}

// TestALogThroughTheClient fetches a log that grows.
func TestALogThroughTheClient(t *testing.T) {
	l := chain(t, 20)
	var answer []byte
	c, id := l.client(&answer)
	for range 3 {
		answer = l.written()
		log, err := c.Log(context.Background(), id)
		if err != nil || len(log) != len(l.ops) || log[len(log)-1].Data(id).Handle() != fmt.Sprintf("handle%d.test", len(l.ops)-1) {
			t.Fatalf("%d operations, %v", len(log), err)
		}
		l.extend(2)
	}
	if known, _ := c.verified.logs.get(id, time.Now()); known.operations != 24 {
		t.Errorf("%d operations are cached as genuine", known.operations)
	}
}

// BenchmarkLongLog fetches a log of 1501 operations: for the first time, again, and with one more
// operation.
func BenchmarkLongLog(b *testing.B) {
	l := chain(b, 1500)
	shorter := l.written()
	l.extend(1)
	longer := l.written()
	var answer []byte
	c, id := l.client(&answer)
	fetch := func(b *testing.B, written []byte) {
		answer = written
		if _, err := c.Log(context.Background(), id); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			c.verified.logs.remove(id)
			fetch(b, longer)
		}
	})
	b.Run("again", func(b *testing.B) {
		fetch(b, longer)
		for b.Loop() {
			fetch(b, longer)
		}
	})
	b.Run("appended", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			c.verified.logs.remove(id)
			fetch(b, shorter)
			b.StartTimer()
			fetch(b, longer)
		}
	})
}
