package did_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// TestChangesOfRivals makes concurrent changes, all of which have to take effect.
func TestChangesOfRivals(t *testing.T) {
	_, ids, m := newDID(t)
	var wg sync.WaitGroup
	const rivals = 4
	for i := range rivals {
		wg.Go(func() {
			err := ids.Change(ctx, m.DID, func(o *did.Operation) {
				o.Services[fmt.Sprintf("service%d", i)] = did.Service{Type: "Test", Endpoint: "https://example.com"}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d, err := ids.Data(ctx, m.DID)
	if err != nil || len(d.Services) != 1+rivals {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestMint(t *testing.T) {
	l, _ := newLocal(t)
	server, serverID := newKey(t)
	_, operatorID := newKey(t)
	_, userID := newKey(t)
	_, signing := newKey(t)
	for _, c := range []struct {
		name, user, operator string
		want                 []string
	}{
		{"the server's key alone", "", "", []string{serverID}},
		{"with all keys", userID, operatorID, []string{userID, operatorID, serverID}},
		{"the operator's key as the user's", operatorID, operatorID, []string{operatorID, serverID}},
		{"the server's key as the user's", serverID, operatorID, []string{serverID, operatorID}},
	} {
		t.Run(c.name, func(t *testing.T) {
			registrar := &did.Registrar{Directory: l, Signer: server, RecoveryKey: c.operator, PublicURL: "https://pds.example.com"}
			id, op, err := registrar.Mint(ctx, did.MintParams{Handle: "alice.test", SigningKey: signing, RecoveryKey: c.user})
			if err != nil || !slices.Equal(op.RotationKeys, c.want) {
				t.Fatalf("%+v, %v; want the keys %v", op, err, c.want)
			}
			if name, err := registrar.Name("alice.test"); err != nil || name != "" {
				t.Errorf("the name of a did:plc: %q, %v", name, err)
			}
			if err := registrar.Submit(ctx, id, op); err != nil {
				t.Fatal(err)
			}
			got, err := registrar.Data(ctx, id)
			want := did.AtprotoData(id, "alice.test", signing, "https://pds.example.com")
			want.RotationKeys = c.want
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestMintWeb(t *testing.T) {
	l, _ := newLocal(t)
	server, _ := newKey(t)
	_, signing := newKey(t)
	web := &did.Registrar{Directory: l, Signer: server, PublicURL: "https://pds.example.com", Web: true}
	id, op, err := web.Mint(ctx, did.MintParams{Handle: "alice.example.com", SigningKey: signing})
	if err != nil || id != "did:web:alice.example.com" || op != nil {
		t.Errorf("%s, %+v, %v", id, op, err)
	}
	if name, err := web.Name("alice.example.com"); err != nil || name != id {
		t.Errorf("the name is %q, %v", name, err)
	}
	if err := web.Change(ctx, id, handle("bob.example.com")); err != nil {
		t.Errorf("a change of a DID whose document the server serves: %v", err)
	}
}

func TestSignWithoutSubmitting(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	m := ids.mint()
	if _, err := ids.Sign(ctx, m.DID, handle("bob.test")); !errors.Is(err, did.ErrNotFound) {
		t.Errorf("before the DID is registered: %v", err)
	}
	ids.submit(m)
	op, err := ids.Sign(ctx, m.DID, handle("bob.test"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := ids.Data(ctx, m.DID); err != nil || d.Handle() != "alice.test" {
		t.Errorf("an operation that was signed and not submitted: %v, %v", d, err)
	}
	if err := ids.Submit(ctx, m.DID, op); err != nil {
		t.Error(err)
	}
	if _, err := ids.Sign(ctx, m.DID, func(o *did.Operation) { o.RotationKeys = nil }); !errors.Is(err, did.ErrRefused) {
		t.Errorf("an operation that no directory accepts: %v", err)
	}
}

func TestParseRotationKey(t *testing.T) {
	key, name := newKey(t)
	for text, good := range map[string]bool{
		hex.EncodeToString(key.Bytes()):                  true,
		strings.ToUpper(hex.EncodeToString(key.Bytes())): true,
		" " + hex.EncodeToString(key.Bytes()) + "\n":     true,
		hex.EncodeToString(key.Bytes())[2:]:              false,
		strings.Repeat("00", 32):                         false,
		strings.Repeat("ff", 32):                         false,
		key.Multibase():                                  false,
		"":                                               false,
	} {
		got, err := did.ParseRotationKey(text)
		if !good {
			if err == nil || text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if public, err := got.PublicKey(); err != nil || public.DIDKey() != name {
			t.Errorf("%q: %v, %v", text, public, err)
		}
	}
}

func TestDocumentNamesEachKindOfKeyOnce(t *testing.T) {
	_, k256 := newKey(t)
	const p256 = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"
	d := did.AtprotoData("did:web:example.com", "alice.test", k256, "https://example.com")
	for name, key := range map[string]string{"b": p256, "c": k256, "d": ed25519Key, "e": p256} {
		d.VerificationMethods[name] = key
	}
	var doc struct {
		Context            []string `json:"@context"`
		VerificationMethod []any
	}
	if err := json.Unmarshal(d.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1",
		"https://w3id.org/security/suites/secp256k1-2019/v1", "https://w3id.org/security/suites/ecdsa-2019/v1",
	}
	if !slices.Equal(doc.Context, want) || len(doc.VerificationMethod) != 5 {
		t.Errorf("%+v", doc)
	}
}

// TestSetHandleToAnAlias sets a handle that the DID has already as a further name.
func TestSetHandleToAnAlias(t *testing.T) {
	for _, c := range []struct{ before, want []string }{
		{[]string{"at://old.test", "at://new.test"}, []string{"at://new.test"}},
		{[]string{"https://old.test", "at://old.test", "at://new.test", "at://other.test"}, []string{"https://old.test", "at://new.test", "at://other.test"}},
		{[]string{"at://new.test", "https://new.test"}, []string{"at://new.test", "https://new.test"}},
		{[]string{"https://old.test"}, []string{"at://new.test", "https://old.test"}},
		{nil, []string{"at://new.test"}},
	} {
		op := &did.Operation{AlsoKnownAs: slices.Clone(c.before)}
		if op.SetHandle("new.test"); !slices.Equal(op.AlsoKnownAs, c.want) {
			t.Errorf("%v became %v, want %v", c.before, op.AlsoKnownAs, c.want)
		}
	}
}

// emptyLogs is a directory whose logs are empty.
type emptyLogs struct{ did.Directory }

func (emptyLogs) Log(context.Context, syntax.DID) ([]*did.Operation, error) { return nil, nil }

func TestAnEmptyLog(t *testing.T) {
	ids := newIdentities(t, emptyLogs{})
	m := ids.mint()
	if d, err := ids.Data(ctx, m.DID); !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("Data: %+v, %v", d, err)
	}
	if known, err := ids.Exists(ctx, m.DID); known || !errors.Is(err, did.ErrUnavailable) {
		t.Errorf("Exists: %v, %v", known, err)
	}
}
