package web

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// pendingLifetime is how long a second step of a sign-in may take after the first.
const pendingLifetime = 10 * time.Minute

// pending is a sign-in that waits for its second step. The page of that step carries it, sealed:
// the password doesn't come back to a page that anybody could read, and the server keeps none.
type pending struct {
	Identifier string    `json:"i"`
	Password   string    `json:"p"`
	Remember   bool      `json:"r,omitempty"`
	Sent       string    `json:"s,omitempty"`
	Mailed     bool      `json:"m,omitempty"`
	ExpiresAt  time.Time `json:"e"`
}

// errPending is returned for a pending sign-in that is damaged, too old, or of another browser or
// form.
var errPending = errors.New("web: the pending sign-in can't be used")

// sealer encrypts pending sign-ins with AES-GCM.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

func newSealer(secret []byte, random io.Reader) (sealer, error) {
	block, err := aes.NewCipher(derive(secret, "pending sign-ins"))
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead, random}, err
}

// seal encrypts a pending sign-in for one browser and one purpose.
func (s sealer) seal(p pending, browser, purpose string) (string, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, boundTo(browser, purpose))), nil
}

// open decrypts a pending sign-in. Error: [errPending].
func (s sealer) open(sealed, browser, purpose string, now time.Time) (pending, error) {
	var p pending
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return p, errPending
	}
	plain, err := s.aead.Open(nil, b[:s.aead.NonceSize()], b[s.aead.NonceSize():], boundTo(browser, purpose))
	if err != nil {
		return p, errPending
	}
	if err := json.Unmarshal(plain, &p); err != nil || !now.Before(p.ExpiresAt) {
		return pending{}, errPending
	}
	return p, nil
}

// boundTo is what a sealed text is bound to.
func boundTo(browser, purpose string) []byte {
	b, _ := json.Marshal([2]string{browser, purpose}) // strings can always be encoded
	return b
}
