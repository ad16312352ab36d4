package did_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// vectors are operations made by the reference implementation of did:plc.
type vectors struct {
	Operations []struct {
		Name string          `json:"name"`
		DID  syntax.DID      `json:"did"`
		CID  string          `json:"cid"`
		Op   json.RawMessage `json:"op"`
	} `json:"operations"`
}

func loadVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func parse(t testing.TB, raw []byte) *did.Operation {
	t.Helper()
	op := new(did.Operation)
	if err := json.Unmarshal(raw, op); err != nil {
		t.Fatal(err)
	}
	return op
}

func TestOperationsOfTheReference(t *testing.T) {
	for _, want := range loadVectors(t).Operations {
		op := parse(t, want.Op)
		if err := op.Validate(); (err == nil) != (op.Type != "create") {
			t.Errorf("%s: %v", want.Name, err)
		}
		if got, err := op.CID(); err != nil || got != want.CID {
			t.Errorf("%s: CID %s, %v; want %s", want.Name, got, err, want.CID)
		}
		if got, err := op.DID(); op.Prev == "" && (err != nil || got != want.DID) {
			t.Errorf("%s: DID %s, %v; want %s", want.Name, got, err, want.DID)
		}
		again, err := json.Marshal(op)
		if err != nil || !sameJSON(t, again, want.Op) {
			t.Errorf("%s: encoded as %s, %v", want.Name, again, err)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

func TestUnmarshalRefusesOtherJSON(t *testing.T) {
	genesis := string(loadVectors(t).Operations[0].Op)
	for name, text := range map[string]string{
		"nothing":            ``,
		"null":               `null`,
		"no type":            `{}`,
		"another type":       `{"type":"plc_something"}`,
		"an extra property":  strings.Replace(genesis, `"prev"`, `"extra":1,"prev"`, 1),
		"no rotation keys":   strings.Replace(genesis, `"rotationKeys"`, `"other"`, 1),
		"a number for a key": strings.Replace(genesis, `"did:key:`, `1,"did:key:`, 1),
		"something behind":   genesis + genesis,
		"another case":       strings.Replace(genesis, `"rotationKeys"`, `"RotationKeys"`, 1),
		"null among keys":    strings.Replace(genesis, `"did:key:`, `null,"did:key:`, 1),
		"null for a list":    `{"type":"plc_operation","rotationKeys":null,"verificationMethods":{},"alsoKnownAs":[],"services":{},"prev":null,"sig":"x"}`,
		"a service of null":  `{"type":"plc_operation","rotationKeys":[],"verificationMethods":{},"alsoKnownAs":[],"services":{"x":null},"prev":null,"sig":"x"}`,
		"no prev":            `{"type":"plc_operation","rotationKeys":[],"verificationMethods":{},"alsoKnownAs":[],"services":{},"sig":"x"}`,
		"an empty prev":      strings.Replace(genesis, `"prev": null`, `"prev": ""`, 1),
		"a list twice":       `{"type":"plc_operation","rotationKeys":[],"verificationMethods":{},"alsoKnownAs":[],"services":{"a":{"type":"","endpoint":""}},"services":{},"prev":null,"sig":"x"}`,
		"a mixture":          `{"type":"plc_tombstone","prev":"x","sig":"x","services":{}}`,
	} {
		var op did.Operation
		if err := json.Unmarshal([]byte(text), &op); err == nil || text == genesis {
			t.Errorf("%s was accepted as an operation: %+v", name, op)
		}
	}
}

// newKey makes a key and its did:key.
func newKey(t testing.TB) (*atcrypto.PrivateKeyK256, string) {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, public.DIDKey()
}

const ed25519Key = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"

func TestValidate(t *testing.T) {
	key, name := newKey(t)
	many := func(n int) []string {
		var keys []string
		for range n {
			_, k := newKey(t)
			keys = append(keys, k)
		}
		return keys
	}
	for _, c := range []struct {
		what   string
		change func(*did.Operation)
		good   bool
	}{
		{"as it is", func(*did.Operation) {}, true},
		{"five rotation keys", func(o *did.Operation) { o.RotationKeys = many(5) }, true},
		{"six rotation keys", func(o *did.Operation) { o.RotationKeys = many(6) }, false},
		{"no rotation key", func(o *did.Operation) { o.RotationKeys = nil }, false},
		{"a key twice", func(o *did.Operation) { o.RotationKeys = []string{name, name} }, false},
		{"not a did:key", func(o *did.Operation) { o.RotationKeys = []string{"did:plc:x"} }, false},
		{"a bad signing key", func(o *did.Operation) { o.VerificationMethods["atproto"] = "nonsense" }, false},
		{"no signing key", func(o *did.Operation) { o.VerificationMethods = nil }, true},
		{"eleven names", func(o *did.Operation) { o.AlsoKnownAs = many(11) }, false},
		{"the longest handle", func(o *did.Operation) { o.AlsoKnownAs = []string{"at://" + strings.Repeat("x", 253)} }, true},
		{"a longer handle", func(o *did.Operation) { o.AlsoKnownAs = []string{"at://" + strings.Repeat("x", 254)} }, false},
		{"ten names", func(o *did.Operation) { o.AlsoKnownAs = many(10) }, true},
		{"a key of another kind", func(o *did.Operation) { o.VerificationMethods["other"] = ed25519Key }, true},
		{"a rotation key of another kind", func(o *did.Operation) { o.RotationKeys = append(o.RotationKeys, ed25519Key) }, false},
		{"the longest key", func(o *did.Operation) { o.VerificationMethods["x"] = "did:key:z" + strings.Repeat("x", 247) }, true},
		{"a longer key", func(o *did.Operation) { o.VerificationMethods["x"] = "did:key:z" + strings.Repeat("x", 248) }, false},
		{"a key that is not base58", func(o *did.Operation) { o.VerificationMethods["x"] = "did:key:z0OIl" }, false},
		{"a key without a key", func(o *did.Operation) { o.VerificationMethods["x"] = "did:key:z" }, false},
		{"a long name of a key", func(o *did.Operation) { o.VerificationMethods[strings.Repeat("x", 33)] = name }, false},
		{"eleven keys", func(o *did.Operation) {
			for i := range 11 {
				o.VerificationMethods[strings.Repeat("x", i)] = name
			}
		}, false},
		{"eleven services", func(o *did.Operation) {
			for i := range 11 {
				o.Services[strings.Repeat("x", i)] = did.Service{}
			}
		}, false},
		{"the longest service", func(o *did.Operation) {
			o.Services[strings.Repeat("x", 32)] = did.Service{Type: strings.Repeat("x", 256), Endpoint: strings.Repeat("x", 512)}
		}, true},
		{"a longer type of service", func(o *did.Operation) { o.Services["x"] = did.Service{Type: strings.Repeat("x", 257)} }, false},
		{"another type", func(o *did.Operation) { o.Type = "plc_other" }, false},
		{"the first form", func(o *did.Operation) { o.Type = "create" }, false},
		{"a tombstone", func(o *did.Operation) { *o = did.Operation{Type: did.TypeTombstone, Prev: "x", Sig: "x"} }, true},
		{"a tombstone of nothing", func(o *did.Operation) { *o = did.Operation{Type: did.TypeTombstone, Sig: "x"} }, false},
		{"a name twice", func(o *did.Operation) { o.AlsoKnownAs = []string{"at://a.test", "at://a.test"} }, false},
		{"a long endpoint", func(o *did.Operation) {
			o.Services["atproto_pds"] = did.Service{Type: "x", Endpoint: "https://" + strings.Repeat("x", 600)}
		}, false},
		{"a long service name", func(o *did.Operation) { o.Services[strings.Repeat("x", 33)] = did.Service{} }, false},
		{"too large", func(o *did.Operation) {
			for i := range 5 {
				o.Services[strings.Repeat("x", i+1)] = did.Service{Type: strings.Repeat("x", 256), Endpoint: strings.Repeat("x", 512)}
			}
		}, false},
		{"not signed", func(o *did.Operation) { o.Sig = "" }, false},
	} {
		op := &did.Operation{
			Type: did.TypeOperation, RotationKeys: []string{name}, VerificationMethods: map[string]string{"atproto": name},
			AlsoKnownAs: []string{"at://a.test"}, Services: map[string]did.Service{"atproto_pds": {Type: "x", Endpoint: "https://x"}}, Sig: "x",
		}
		if c.what != "not signed" {
			if err := op.Sign(key); err != nil {
				t.Fatal(err)
			}
		}
		c.change(op)
		if err := op.Validate(); (err == nil) != c.good || err != nil && !errors.Is(err, did.ErrRefused) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestOneFormOfASignature submits genesis operations whose signature is valid but written in
// another form, so that one signed operation would make several DIDs.
func TestOneFormOfASignature(t *testing.T) {
	k256, k256Name := newKey(t)
	p256, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := p256.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	secp256k1, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	for _, c := range []struct {
		name  string
		key   did.Signer
		id    string
		order *big.Int
	}{
		{"K-256", k256, k256Name, secp256k1},
		{"P-256", p256, public.DIDKey(), elliptic.P256().Params().N},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := did.Operation{Type: did.TypeOperation, RotationKeys: []string{c.id}}
			if err := op.Sign(c.key); err != nil {
				t.Fatal(err)
			}
			sig, err := base64.RawURLEncoding.DecodeString(op.Sig)
			if err != nil || len(sig) != 64 {
				t.Fatalf("the signature %q has %d bytes, %v", op.Sig, len(sig), err)
			}
			highS := slices.Clone(sig)
			new(big.Int).Sub(c.order, new(big.Int).SetBytes(sig[32:])).FillBytes(highS[32:])
			der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
			if err != nil {
				t.Fatal(err)
			}
			l, _ := newLocal(t)
			for form, sig := range map[string]string{
				"as it is":        op.Sig,
				"padded":          op.Sig + "==",
				"a line break":    op.Sig[:10] + "\n" + op.Sig[10:],
				"a break behind":  op.Sig + "\r\n",
				"trailing bits":   op.Sig[:len(op.Sig)-1] + string(op.Sig[len(op.Sig)-1]+1),
				"a high S":        base64.RawURLEncoding.EncodeToString(highS),
				"DER":             base64.RawURLEncoding.EncodeToString(der),
				"without its end": op.Sig[:80],
			} {
				op := op
				op.Sig = sig
				id, err := op.DID()
				if err != nil {
					t.Fatal(err)
				}
				err = l.Submit(ctx, id, &op)
				if form == "as it is" && err != nil || form != "as it is" && !errors.Is(err, did.ErrRefused) {
					t.Errorf("%s: %v", form, err)
				}
			}
		})
	}
}

func FuzzOperation(f *testing.F) {
	for _, v := range loadVectors(f).Operations {
		f.Add([]byte(v.Op))
	}
	f.Add([]byte(`{"type":"plc_operation","rotationKeys":[],"verificationMethods":{},"alsoKnownAs":[],"services":{},"prev":null}`))
	f.Add([]byte(`{"type":"plc_tombstone","prev":"x","sig":"x","\u0000":{"a":[{}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var op did.Operation
		err := json.Unmarshal(raw, &op)
		var wrong *did.InvalidError
		if errors.As(err, &wrong) {
			if errors.Is(err, did.ErrRefused) || len(wrong.Reason) > 500 || strings.ContainsFunc(wrong.Reason, unicode.IsControl) {
				t.Fatalf("%q: %v", raw, err)
			}
		}
		if err != nil {
			return
		}
		// What is signed is what was sent.
		if written, err := json.Marshal(&op); err != nil || utf8.Valid(raw) && !sameJSON(t, raw, written) {
			t.Fatalf("%s was read as %s, %v", raw, written, err)
		}
		if op.Validate() != nil {
			return
		}
		b, err := json.Marshal(&op)
		if err != nil {
			t.Fatal(err)
		}
		again := parse(t, b)
		x, err1 := op.CID()
		y, err2 := again.CID()
		if err1 != nil || err2 != nil || x != y {
			t.Fatalf("%s has the CIDs %s and %s (%v, %v)", raw, x, y, err1, err2)
		}
	})
}
