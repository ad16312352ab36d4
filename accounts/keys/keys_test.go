package keys_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse/accounts/keys"
)

func sealed(t *testing.T) *keys.Sealed {
	t.Helper()
	secret := make([]byte, keys.KeySize)
	_, _ = rand.Read(secret)
	s, err := keys.NewSealed(secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedKeySignsForItsPublicKey(t *testing.T) {
	ctx, s := context.Background(), sealed(t)
	k, err := s.Generate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.Signer(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.HashAndSign([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := signer.PublicKey()
	if err != nil || public.DIDKey() != k.Public {
		t.Fatalf("public key %v, %v; want %s", public, err, k.Public)
	}
	if err := public.HashAndVerify([]byte("content"), sig); err != nil {
		t.Error(err)
	}
}

func TestImportedKeySignsForItsPublicKey(t *testing.T) {
	ctx, s := context.Background(), sealed(t)
	k256, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	p256, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []atcrypto.PrivateKeyExportable{k256, p256} {
		public, err := private.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Import(ctx, private)
		if err != nil || k.Public != public.DIDKey() {
			t.Fatalf("%+v, %v; want the public key %s", k, err, public.DIDKey())
		}
		if bytes.Contains(k.Sealed, private.Bytes()) || bytes.Contains(k.Sealed, []byte(private.Multibase())) {
			t.Error("the private key is stored as it is")
		}
		signer, err := s.Signer(ctx, k)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signer.HashAndSign([]byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		if err := public.HashAndVerify([]byte("content"), sig); err != nil {
			t.Error(err)
		}
	}
}

func TestSealedKeyOpensOnlyWithItsSecretAndPublicKey(t *testing.T) {
	ctx, s := context.Background(), sealed(t)
	k, _ := s.Generate(ctx)
	other, _ := s.Generate(ctx)
	for name, try := range map[string]struct {
		s *keys.Sealed
		k keys.Key
	}{
		"another secret":  {sealed(t), k},
		"another account": {s, keys.Key{Public: other.Public, Sealed: k.Sealed}},
		"damaged":         {s, keys.Key{Public: k.Public, Sealed: append(bytes.Clone(k.Sealed[:len(k.Sealed)-1]), 0xa5, 1)}},
		"too short":       {s, keys.Key{Public: k.Public, Sealed: []byte("x")}},
		"nothing sealed":  {s, keys.Key{Public: k.Public}},
		"an empty key":    {s, keys.Key{}},
	} {
		if _, err := try.s.Signer(ctx, try.k); !errors.Is(err, keys.ErrUnsealable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewSealedErrors(t *testing.T) {
	s, err := keys.NewSealed(make([]byte, keys.KeySize), bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Generate(context.Background()); err == nil {
		t.Error("a key was made without randomness")
	}
	if _, err := keys.NewSealed([]byte("short"), nil); err == nil {
		t.Error("a short secret was accepted")
	}
}

func ExampleSealed() {
	ctx := context.Background()
	store, _ := keys.NewSealed(make([]byte, keys.KeySize), nil)
	key, _ := store.Generate(ctx)
	signer, _ := store.Signer(ctx, key)
	sig, _ := signer.HashAndSign([]byte("content"))
	public, _ := signer.PublicKey()
	fmt.Println(public.HashAndVerify([]byte("content"), sig))
	// Output: <nil>
}
