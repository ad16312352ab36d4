package keys

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"golang.org/x/crypto/chacha20poly1305"
)

// ErrUnsealable says that a stored key can't be opened: it was sealed under
// another key, or was damaged.
var ErrUnsealable = errors.New("keys: can't unseal the signing key")

// Key is a signing key as an account stores it.
type Key struct {
	// Public is the public key as a did:key.
	Public string
	// Sealed is what a [Store] needs to sign with it later: the encrypted private
	// key, or the name under which a hardware module keeps it.
	Sealed []byte
}

// Signer signs with one private key. [atcrypto.PrivateKey] is one.
type Signer interface {
	// PublicKey returns the public half.
	PublicKey() (atcrypto.PublicKey, error)
	// HashAndSign returns the low-S ECDSA signature of the content's SHA-256.
	HashAndSign(content []byte) ([]byte, error)
}

// Store makes signing keys and signs with them. Its methods are safe for
// concurrent use. [Sealed] is the default; a hardware module or a key
// management service can take its place.
type Store interface {
	// Generate makes a key.
	Generate(ctx context.Context) (Key, error)
	// Signer returns the signer of a key made by Generate. It is an
	// [ErrUnsealable] if this store did not make it.
	Signer(ctx context.Context, k Key) (Signer, error)
}

// Sealed keeps private keys encrypted under one secret (XChaCha20-Poly1305), bound to their
// public half, so that a stolen database without the secret can't sign.
type Sealed struct {
	aead cipher.AEAD
	rand io.Reader
}

// KeySize is the size of the secret of [NewSealed], in bytes.
const KeySize = chacha20poly1305.KeySize

// NewSealed returns a Store that seals under a secret of [KeySize] bytes.
func NewSealed(secret []byte, rand io.Reader) (*Sealed, error) {
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &Sealed{aead, rand}, nil
}

// Generate makes a K-256 key.
func (s *Sealed) Generate(ctx context.Context) (Key, error) {
	private, err := GenerateK256(s.rand)
	if err != nil {
		return Key{}, err
	}
	return s.Import(private)
}

// Import seals a key that was made elsewhere.
func (s *Sealed) Import(private atcrypto.PrivateKeyExportable) (Key, error) {
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

// Signer opens a sealed key.
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

// GenerateK256 makes a secp256k1 key from a source of randomness.
func GenerateK256(rand io.Reader) (*atcrypto.PrivateKeyK256, error) {
	b := make([]byte, 32)
	for {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("keys: reading randomness: %w", err)
		}
		// Nearly every 32 bytes are a key; those that aren't are out of the curve's order.
		if key, err := atcrypto.ParsePrivateBytesK256(b); err == nil {
			return key, nil
		}
	}
}
