package secrets

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func open(t *testing.T) storage.Store {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	if err := storage.Define(t.Context(), store, Tables()...); err != nil {
		t.Fatal(err)
	}
	return store
}

func random(name string) Wanted { return Wanted{name, Random(rand.Reader, 32)} }

func TestSecretsStayTheSame(t *testing.T) {
	store := open(t)
	first, err := Load(t.Context(), store, random("a"), random("b"))
	if err != nil || len(first["a"]) != 32 || bytes.Equal(first["a"], first["b"]) {
		t.Fatalf("%v, %v", first, err)
	}
	// A later version wants another one, and no longer wants one of these.
	again, err := Load(t.Context(), store, random("b"), random("c"))
	if err != nil || !bytes.Equal(again["b"], first["b"]) || len(again["c"]) != 32 {
		t.Fatalf("%v, %v", again, err)
	}
	if names := slices.Sorted(maps.Keys(again)); !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("loaded %q", names)
	}
	never := func() ([]byte, error) { return nil, errors.New("generated though it is stored") }
	if again, err = Load(t.Context(), store, Wanted{"a", never}, Wanted{"c", never}); err != nil || !bytes.Equal(again["a"], first["a"]) {
		t.Errorf("%v, %v", again, err)
	}
}

// TestProcessesAgree starts many processes at once that each want some of the secrets.
func TestProcessesAgree(t *testing.T) {
	store := open(t)
	names := []string{"a", "b", "c", "d"}
	loaded := make([]map[string][]byte, 16)
	var ready, done sync.WaitGroup
	ready.Add(len(loaded))
	for i := range loaded {
		done.Go(func() {
			var wanted []Wanted
			for j, name := range names {
				if i>>j&1 == 0 {
					wanted = append(wanted, random(name))
				}
			}
			ready.Done()
			ready.Wait()
			var err error
			if loaded[i], err = Load(context.Background(), store, wanted...); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	stored, err := Load(t.Context(), store, random("a"), random("b"), random("c"), random("d"))
	if err != nil {
		t.Fatal(err)
	}
	for i, some := range loaded {
		for name, value := range some {
			if !bytes.Equal(value, stored[name]) {
				t.Errorf("process %d has another secret %s", i, name)
			}
		}
	}
}

// TestNothingIsLeftOfAFailure: a server that can't make one of its secrets doesn't start, and has
// stored none.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	store := open(t)
	broken := errors.New("no randomness")
	if _, err := Load(t.Context(), store, random("a"), Wanted{"b", func() ([]byte, error) { return nil, broken }}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	err := store.View(t.Context(), func(tx storage.Tx) error {
		_, err := secrets.Get(tx, "a")
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the other secret: %v", err)
	}
	store.Close()
	if _, err := Load(t.Context(), store, random("a")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("on a closed store: %v", err)
	}
}

func TestP256(t *testing.T) {
	order := elliptic.P256().Params().N.Bytes()
	one := append(make([]byte, 31), 1)
	// Zero and the order are no keys.
	der, err := P256(io.MultiReader(bytes.NewReader(make([]byte, 32)), bytes.NewReader(order), bytes.NewReader(one)))()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := key.Bytes(); err != nil || !bytes.Equal(raw, one) || key.Curve != elliptic.P256() {
		t.Errorf("the key is %x of %v, %v", raw, key.Curve, err)
	}
	if der, err = P256(rand.Reader)(); err != nil {
		t.Fatal(err)
	}
	if key, err = x509.ParseECPrivateKey(der); err != nil {
		t.Fatal(err)
	}
	digest := bytes.Repeat([]byte{1}, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
		t.Errorf("the signature %x, %v", signature, err)
	}
	if _, err := P256(bytes.NewReader(one[1:]))(); err == nil {
		t.Error("a key of too little randomness")
	}
}
