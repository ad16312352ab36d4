package did_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestLocalAcceptsTheLogOfTheReference(t *testing.T) {
	l, _ := newLocal(t)
	for _, v := range loadVectors(t).Operations {
		op := parse(t, v.Op)
		if op.Type == "create" { // only found in old logs
			continue
		}
		for range 2 { // the second time it is there already
			if err := l.Submit(ctx, v.DID, op); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
		}
	}
}

func TestLocalChecksOperations(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	stranger, strangerID := newKey(t)
	m := ids.mint()
	refused := func(what string, id syntax.DID, op *did.Operation) {
		t.Helper()
		if err := l.Submit(ctx, id, op); !errors.Is(err, did.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("another's genesis", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", m.Operation)
	refused("a did:web", "did:web:example.com", m.Operation)
	refused("not a DID", "did:plc:"+syntax.DID(strings.Repeat("x", 2000)), m.Operation)
	legacy := parse(t, loadVectors(t).Operations[4].Op)
	refused("the first form of a genesis", loadVectors(t).Operations[4].DID, legacy)
	second := next(t, m.Operation, ids.Signer, handle("bob.test"))
	refused("a second operation first", m.DID, second)
	forged := *m.Operation
	forged.AlsoKnownAs = []string{"at://mallory.test"}
	refused("a forged genesis", m.DID, &forged)
	ids.submit(m)
	ids.submit(m)
	refused("signed by a stranger", m.DID, next(t, m.Operation, stranger, handle("bob.test")))
	refused("signed by a key that it brings itself", m.DID, next(t, m.Operation, stranger, func(o *did.Operation) {
		o.RotationKeys = append(o.RotationKeys, strangerID)
	}))
	tampered := *second
	tampered.AlsoKnownAs = []string{"at://mallory.test"}
	refused("changed after it was signed", m.DID, &tampered)
	padded := *second
	padded.Sig += "="
	refused("a padded signature", m.DID, &padded)
	if err := l.Submit(ctx, m.DID, second); err != nil {
		t.Fatal(err)
	}
	refused("a second genesis", m.DID, ids.mint().Operation)
	refused("a fork by the same key", m.DID, next(t, m.Operation, ids.Signer, handle("carol.test")))
	tombstone := func(prev *did.Operation) *did.Operation {
		return next(t, prev, ids.Signer, func(o *did.Operation) { *o = did.Operation{Type: did.TypeTombstone, Prev: o.Prev} })
	}
	end := tombstone(second)
	if err := l.Submit(ctx, m.DID, end); err != nil {
		t.Fatal(err)
	}
	refused("after a tombstone", m.DID, tombstone(end))
	if _, err := ids.Data(ctx, m.DID); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("Data after a tombstone: %v", err)
	}
}

func TestLocalRotatesKeys(t *testing.T) {
	l, ids, m := newDID(t)
	key, name := newKey(t)
	rotated := next(t, m.Operation, ids.Signer, func(o *did.Operation) { o.RotationKeys = []string{name} })
	if err := l.Submit(ctx, m.DID, rotated); err != nil {
		t.Fatal(err)
	}
	if err := l.Submit(ctx, m.DID, next(t, rotated, ids.Signer, handle("bob.test"))); !errors.Is(err, did.ErrRefused) {
		t.Errorf("signed by the old key: %v", err)
	}
	if err := l.Submit(ctx, m.DID, next(t, rotated, key, handle("bob.test"))); err != nil {
		t.Errorf("signed by the new key: %v", err)
	}
}

func TestLocalRecoveryUndoesATombstone(t *testing.T) {
	l, ids, m := newDID(t)
	if err := ids.Tombstone(ctx, m.DID); err != nil {
		t.Fatal(err)
	}
	if _, err := ids.Data(ctx, m.DID); !errors.Is(err, did.ErrTombstoned) {
		t.Errorf("Data of a tombstoned DID: %v", err)
	}
	back := next(t, m.Operation, ids.owner, handle("back.test"))
	if err := l.Submit(ctx, m.DID, back); err != nil {
		t.Fatal(err)
	}
	if d, err := ids.Data(ctx, m.DID); err != nil || d.Handle() != "back.test" {
		t.Errorf("Data of a restored DID: %v, %v", d, err)
	}
	audit, err := l.Audit(ctx, m.DID)
	if err != nil || len(audit) != 3 || !audit[1].Nullified || audit[2].Nullified {
		t.Fatalf("the log is %+v, %v", audit, err)
	}
	for i := range audit[1:] { // the clock stands still
		if !audit[i+1].CreatedAt.After(audit[i].CreatedAt) {
			t.Errorf("entry %d is of %v, and the one before of %v", i+1, audit[i+1].CreatedAt, audit[i].CreatedAt)
		}
	}
	after := next(t, audit[1].Operation, ids.owner, func(o *did.Operation) { *o = *m.Operation; o.Prev = audit[1].CID })
	if err := l.Submit(ctx, m.DID, after); !errors.Is(err, did.ErrRefused) {
		t.Errorf("an operation that follows a nullified one: %v", err)
	}
}

func TestLocalWithoutItsStore(t *testing.T) {
	store := memory.New()
	l, err := did.NewLocal(ctx, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := newIdentities(t, l).mint()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Submit(ctx, m.DID, m.Operation); !errors.Is(err, did.ErrUnavailable) || !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Submit: %v", err)
	}
	if _, err := l.Log(ctx, m.DID); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("Log: %v", err)
	}
}

func TestLocalRecoveryWithinThreeDays(t *testing.T) {
	l, c := newLocal(t)
	ids := newIdentities(t, l)
	for _, late := range []bool{false, true} {
		m := ids.mint()
		ids.submit(m)
		// The server's key is misused, and the owner undoes that with a key that ranks above it.
		stolen := next(t, m.Operation, ids.Signer, handle("mallory.test"))
		if err := l.Submit(ctx, m.DID, stolen); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(72 * time.Hour)
		if late {
			c.now = c.now.Add(time.Second)
		}
		err := l.Submit(ctx, m.DID, next(t, m.Operation, ids.owner, handle("alice2.test")))
		log, logErr := l.Log(ctx, m.DID)
		if logErr != nil {
			t.Fatal(logErr)
		}
		got := log[len(log)-1].Data(m.DID).Handle()
		if late {
			if !errors.Is(err, did.ErrRefused) || got != "mallory.test" {
				t.Errorf("after three days: %v, the handle is %s", err, got)
			}
			continue
		}
		audit, _ := l.Audit(ctx, m.DID)
		if err != nil || got != "alice2.test" || len(audit) != 3 || !audit[1].Nullified {
			t.Errorf("within three days: %v, the handle is %s, %+v", err, got, audit)
		}
	}
}

func TestLocalAcceptsOneOfSeveralRivals(t *testing.T) {
	l, ids, m := newDID(t)
	var accepted atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		op := next(t, m.Operation, ids.Signer, handle(syntax.Handle(fmt.Sprintf("rival%d.test", i))))
		wg.Add(1)
		go func() {
			defer wg.Done()
			switch err := l.Submit(ctx, m.DID, op); {
			case err == nil:
				accepted.Add(1)
			case !errors.Is(err, did.ErrRefused):
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if accepted.Load() != 1 {
		t.Errorf("%d of 8 rivals were accepted", accepted.Load())
	}
}

// TestDirectoryFormat reads the local directory as indigo's resolver does.
func TestDirectoryFormat(t *testing.T) {
	l, _ := newLocal(t)
	server := serve(t, l, nil)
	ids := newIdentities(t, l)
	m := ids.mint()
	ids.submit(m)
	if err := ids.Change(ctx, m.DID, handle("alice2.test")); err != nil {
		t.Fatal(err)
	}
	base := identity.BaseDirectory{PLCURL: server.URL}
	doc, err := base.ResolveDID(ctx, m.DID)
	if err != nil {
		t.Fatal(err)
	}
	id := identity.ParseIdentity(doc)
	key, err := id.PublicKey()
	if err != nil || key.DIDKey() != m.Operation.VerificationMethods["atproto"] {
		t.Errorf("the signing key is %v, %v", key, err)
	}
	if h, err := id.DeclaredHandle(); err != nil || h != "alice2.test" || id.PDSEndpoint() != "https://pds.example.com" {
		t.Errorf("the identity is %+v, %v", id, err)
	}
	for path, want := range map[string]string{
		"":           `"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/v1","https://w3id.org/security/suites/secp256k1-2019/v1"]`,
		"/data":      `"alsoKnownAs":["at://alice2.test"]`,
		"/log":       `"prev":null`,
		"/log/audit": `"nullified":false`,
		"/log/last":  `"alsoKnownAs":["at://alice2.test"]`,
	} {
		resp, err := http.Get(server.URL + "/" + m.DID.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !json.Valid(body) || !strings.Contains(string(body), want) {
			t.Errorf("GET /{did}%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if err := ids.Tombstone(ctx, m.DID); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"": 410, "/data": 410, "/log": 200, "/log/audit": 200, "/log/last": 200} {
		resp, err := http.Get(server.URL + "/" + m.DID.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET /{did}%s of a tombstoned DID: %d, want %d", path, resp.StatusCode, want)
		}
	}
	resp, err := http.Get(server.URL + "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("an unknown DID: %v, %v", resp, err)
	}
	resp, err = http.Post(server.URL+"/"+m.DID.String(), "application/json", strings.NewReader("{}"))
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("not an operation: %v, %v", resp, err)
	}
}
