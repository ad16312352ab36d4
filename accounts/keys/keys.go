package keys

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/gatehouse-at/gatehouse/internal/k256"
)

// ErrUnsealable is returned by [Store.Signer] when a stored key can't be opened, because it was
// sealed under another secret, belongs to another account, or is damaged. Clients are answered 500
// InternalServerError.
var ErrUnsealable = errors.New("keys: can't unseal the signing key")

// Key is a signing key as an account stores it.
type Key struct {
	// Public is the public key as a did:key.
	Public string
	// Sealed is what a [Store] needs to sign with the key later: the encrypted private key, or the
	// name under which a hardware module keeps it.
	Sealed []byte
}

// Signer signs with one private key. An [atcrypto.PrivateKey] is a Signer.
type Signer interface {
	// PublicKey returns the public key.
	PublicKey() (atcrypto.PublicKey, error)
	// HashAndSign returns the low-S ECDSA signature of the content's SHA-256.
	HashAndSign(content []byte) ([]byte, error)
}

// Store makes signing keys and signs with them. Its methods are safe for concurrent use. [Sealed]
// is the default; a hardware module or a key management service can take its place.
type Store interface {
	// Generate makes a key.
	Generate(ctx context.Context) (Key, error)
	// Signer returns the signer of a key that Generate made. It returns an [ErrUnsealable] if this
	// store didn't make the key.
	Signer(ctx context.Context, k Key) (Signer, error)
}

// Importer is implemented by a [Store] that can take over private keys that were made elsewhere, as
// accounts have that are imported from another server. A Store that can't, such as a hardware module,
// makes new keys for them.
type Importer interface {
	// Import keeps a private key as one that Generate made.
	Import(ctx context.Context, private atcrypto.PrivateKeyExportable) (Key, error)
}

// Sealed is a [Store] and an [Importer] that encrypts private keys under one secret (XChaCha20-Poly1305) and binds
// them to their public keys, so that nobody can sign with a stolen database and without the secret.
type Sealed struct {
	aead cipher.AEAD
	rand io.Reader
}

// KeySize is the size of the secret of [NewSealed] in bytes.
const KeySize = chacha20poly1305.KeySize

// NewSealed returns a [Sealed] with a secret of [KeySize] bytes. Keys and nonces are made from
// random; if random is nil, from [rand.Reader].
func NewSealed(secret []byte, random io.Reader) (*Sealed, error) {
	if random == nil {
		random = rand.Reader
	}
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &Sealed{aead, random}, nil
}

// Generate implements [Store]. It makes a K-256 key.
func (s *Sealed) Generate(ctx context.Context) (Key, error) {
	private, err := k256.Generate(s.rand)
	if err != nil {
		return Key{}, fmt.Errorf("keys: %w", err)
	}
	return s.Import(ctx, private)
}

// Import implements [Importer]. It takes K-256 and P-256 keys.
func (s *Sealed) Import(_ context.Context, private atcrypto.PrivateKeyExportable) (Key, error) {
	public, err := private.PublicKey()
	if err != nil {
		return Key{}, fmt.Errorf("keys: %w", err)
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return Key{}, fmt.Errorf("keys: reading randomness: %w", err)
	}
	name := public.DIDKey()
	return Key{Public: name, Sealed: s.aead.Seal(nonce, nonce, []byte(private.Multibase()), []byte(name))}, nil
}

// Signer implements [Store].
func (s *Sealed) Signer(ctx context.Context, k Key) (Signer, error) {
	n := s.aead.NonceSize()
	if len(k.Sealed) < n {
		return nil, ErrUnsealable
	}
	plain, err := s.aead.Open(nil, k.Sealed[:n], k.Sealed[n:], []byte(k.Public))
	if err != nil {
		return nil, ErrUnsealable
	}
	private, err := atcrypto.ParsePrivateMultibase(string(plain))
	if err != nil {
		return nil, ErrUnsealable
	}
	return private, nil
}
