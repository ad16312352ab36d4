package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
)

// formTokens makes and checks the tokens that forms carry, so that other websites can't send them:
// such a token is only on pages that the browser itself has loaded.
type formTokens struct {
	key  []byte
	rand io.Reader
}

func newFormTokens(secret []byte, random io.Reader) formTokens {
	return formTokens{derive(secret, "form tokens"), random}
}

// sum is the secret part of a token: it says that a form is for a browser and a purpose.
func (t formTokens) sum(browser, purpose string) []byte {
	m := hmac.New(sha256.New, t.key)
	var length [8]byte
	for i := range length {
		length[i] = byte(len(browser) >> (8 * i))
	}
	_, _ = m.Write(length[:])
	_, _ = io.WriteString(m, browser+purpose)
	return m.Sum(nil)
}

// issue returns a token for a form. Each time it looks different, so that it can't be found out
// from the length of compressed pages (BREACH).
func (t formTokens) issue(browser, purpose string) (string, error) {
	sum := t.sum(browser, purpose)
	masked := make([]byte, 2*len(sum))
	if _, err := io.ReadFull(t.rand, masked[:len(sum)]); err != nil {
		return "", err
	}
	subtle.XORBytes(masked[len(sum):], masked[:len(sum)], sum)
	return base64.RawURLEncoding.EncodeToString(masked), nil
}

// valid reports whether a token is for a browser and a purpose.
func (t formTokens) valid(token, browser, purpose string) bool {
	masked, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(masked) != 2*sha256.Size {
		return false
	}
	sum := make([]byte, sha256.Size)
	subtle.XORBytes(sum, masked[:sha256.Size], masked[sha256.Size:])
	return hmac.Equal(sum, t.sum(browser, purpose))
}

// derive returns a key of 32 bytes that is used for one thing only.
func derive(secret []byte, use string) []byte {
	m := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(m, "gatehouse pages: "+use)
	return m.Sum(nil)
}

// randomOr returns a source of randomness, or the one of the system.
func randomOr(source io.Reader) io.Reader {
	if source == nil {
		return rand.Reader
	}
	return source
}
