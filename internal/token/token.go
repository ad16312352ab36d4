// Package token makes the random strings that Gatehouse hands out, and the
// keyed hashes under which it keeps them.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Base32 returns n random characters of a-z2-7: five bits each.
func Base32(rand io.Reader, n int) (string, error) {
	b := make([]byte, (n*5+7)/8)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base32Lower.EncodeToString(b)[:n], nil
}

// Grouped returns random characters of a-z2-7 in groups joined by dashes.
func Grouped(rand io.Reader, groups, size int) (string, error) {
	s, err := Base32(rand, groups*size)
	if err != nil {
		return "", err
	}
	parts := make([]string, groups)
	for i := range parts {
		parts[i] = s[i*size : (i+1)*size]
	}
	return strings.Join(parts, "-"), nil
}

// Hash is the keyed hash (HMAC-SHA256) of parts, as 43 characters of base64url.
// No two lists of parts give the same input to it.
func Hash(key []byte, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(mac(key, parts))
}

func mac(key []byte, parts []string) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s;", len(p), p)
	}
	return m.Sum(nil)
}

// Derive returns n characters of a-z2-7, 51 at most, that follow from a key and parts and can't be
// told from random ones without the key.
func Derive(key []byte, n int, parts ...string) string {
	return base32Lower.EncodeToString(mac(key, parts))[:n]
}

// Equal compares two hashes in constant time.
func Equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
