package k256

import (
	"bytes"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// scalar returns the bytes of the curve's order plus a number.
func scalar(plus int64) []byte {
	n := new(big.Int).SetBytes(order)
	return n.Add(n, big.NewInt(plus)).FillBytes(make([]byte, len(order)))
}

func one() []byte { return big.NewInt(1).FillBytes(make([]byte, len(order))) }

// TestKeysAreThoseOfTheLibrary compares what is a key here with what is one for the library that
// uses it.
func TestKeysAreThoseOfTheLibrary(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "zero": make([]byte, 32), "one": one(), "the greatest": scalar(-1), "the order": scalar(0),
		"above the order": scalar(1), "all ones": bytes.Repeat([]byte{0xff}, 32), "too short": one()[1:], "too long": append([]byte{0}, one()...),
	} {
		want, err := atcrypto.ParsePrivateBytesK256(b)
		k, got := Parse(b)
		if (err == nil) != (got == nil) {
			t.Errorf("%s: %v, and the library says %v", name, got, err)
		}
		if err != nil || got != nil {
			continue
		}
		public, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if other, _ := want.PublicKey(); !public.Equal(other) {
			t.Errorf("%s: another public key", name)
		}
		signature, err := k.HashAndSign([]byte("content"))
		if err != nil || public.HashAndVerify([]byte("content"), signature) != nil {
			t.Errorf("%s: the signature %x, %v", name, signature, err)
		}
	}
}

func TestRandomSkipsWhatIsNoKey(t *testing.T) {
	source := io.MultiReader(bytes.NewReader(make([]byte, 32)), bytes.NewReader(scalar(0)), bytes.NewReader(one()))
	if b, err := Random(source); err != nil || !bytes.Equal(b, one()) {
		t.Errorf("%x, %v", b, err)
	}
	if _, err := Random(strings.NewReader("short")); err == nil {
		t.Error("a key of too little randomness")
	}
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("a key of too little randomness")
	}
}

func TestManyUseAKeyFirst(t *testing.T) {
	b, err := Random(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b) // Parse keeps a copy
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			public, err := k.PublicKey()
			if err != nil {
				t.Error(err)
				return
			}
			signature, err := k.HashAndSign([]byte("content"))
			if err != nil || public.HashAndVerify([]byte("content"), signature) != nil {
				t.Errorf("the signature %x, %v", signature, err)
			}
		})
	}
	wg.Wait()
}
