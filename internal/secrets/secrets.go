// Package secrets keeps the server's own secrets in its store. Each is generated once, and is the
// same after a restart and for all processes that share the store.
package secrets

import (
	"context"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/gatehouse-at/gatehouse/internal/k256"
	"github.com/gatehouse-at/gatehouse/storage"
)

type secret struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

var secrets = storage.NewCollection("secrets", func(s *secret) string { return s.Name }).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{secrets} }

// Wanted is a secret that a server needs.
type Wanted struct {
	Name string
	// Generate makes the secret if the store has none of the name.
	Generate func() ([]byte, error)
}

// Load returns secrets by their names. Those that the store doesn't have are generated and stored in
// one transaction; if several processes do so at the same time, all return the secrets of one of
// them.
func Load(ctx context.Context, store storage.Store, wanted ...Wanted) (map[string][]byte, error) {
	values := make(map[string][]byte, len(wanted))
	find := func(tx storage.Tx) error {
		clear(values) // an Update may run more than once
		refs := make([]storage.Ref, len(wanted))
		for i, w := range wanted {
			refs[i] = secrets.Ref(w.Name)
		}
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		for _, w := range wanted {
			s, err := secrets.Get(tx, w.Name)
			switch {
			case err == nil:
				values[w.Name] = s.Value
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		return nil
	}
	if err := store.View(ctx, find); err != nil {
		return nil, fmt.Errorf("loading secrets: %w", err)
	}
	fresh := map[string][]byte{}
	for _, w := range wanted {
		if _, ok := values[w.Name]; ok {
			continue
		}
		value, err := w.Generate()
		if err != nil {
			return nil, fmt.Errorf("generating secret %s: %w", w.Name, err)
		}
		fresh[w.Name] = value
	}
	if len(fresh) == 0 {
		return values, nil
	}
	err := store.Update(ctx, func(tx storage.Tx) error {
		if err := find(tx); err != nil {
			return err
		}
		for name, value := range fresh {
			if _, ok := values[name]; ok { // another process was first
				continue
			}
			if err := secrets.Insert(tx, &secret{name, value}); err != nil {
				return err
			}
			values[name] = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("storing secrets: %w", err)
	}
	return values, nil
}

// Random returns a Generate function that reads n bytes from rand.
func Random(rand io.Reader, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := make([]byte, n)
		_, err := io.ReadFull(rand, b)
		return b, err
	}
}

// K256 returns a Generate function that makes a private key of the curve secp256k1 from rand, for
// [k256.Parse].
func K256(rand io.Reader) func() ([]byte, error) {
	return func() ([]byte, error) { return k256.Random(rand) }
}

// P256 returns a Generate function that makes a private key of the curve P-256 from rand, for
// [x509.ParseECPrivateKey]. The public key, which takes longer to compute, is left out.
func P256(rand io.Reader) func() ([]byte, error) {
	return func() ([]byte, error) {
		order := elliptic.P256().Params().N
		b := make([]byte, 32)
		for {
			if _, err := io.ReadFull(rand, b); err != nil {
				return nil, fmt.Errorf("reading randomness: %w", err)
			}
			// All but about one in 2^32 numbers are keys: those between zero and the order.
			if n := new(big.Int).SetBytes(b); n.Sign() > 0 && n.Cmp(order) < 0 {
				return asn1.Marshal(ecPrivateKey{Version: 1, PrivateKey: b, Curve: p256})
			}
		}
	}
}

// ecPrivateKey is the ASN.1 form of a private key (source: RFC 5915, section 3).
type ecPrivateKey struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
}

// p256 is the identifier of the curve P-256 (source: RFC 5480, section 2.1.1.1).
var p256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
