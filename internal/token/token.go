// Package token makes the random strings that Gatehouse hands out as codes, passwords and token
// identifiers, and the keyed hashes under which it stores them.
package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Base32 returns n random characters of a-z2-7, which carry five bits each. A nil source of
// randomness is [rand.Reader].
func Base32(source io.Reader, n int) (string, error) {
	if source == nil {
		source = rand.Reader
	}
	b := make([]byte, (n*5+7)/8)
	if _, err := io.ReadFull(source, b); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base32Lower.EncodeToString(b)[:n], nil
}

// Grouped returns random characters of a-z2-7 in groups of a size, joined by dashes. A nil source
// of randomness is [rand.Reader].
func Grouped(source io.Reader, groups, size int) (string, error) {
	s, err := Base32(source, groups*size)
	if err != nil {
		return "", err
	}
	parts := make([]string, groups)
	for i := range parts {
		parts[i] = s[i*size : (i+1)*size]
	}
	return strings.Join(parts, "-"), nil
}

// Hash returns the keyed hash (HMAC-SHA256) of a list of parts as 43 characters of base64url.
// Different lists are hashed as different inputs: "ab", "c" isn't the same as "a", "bc".
func Hash(key []byte, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(mac(key, parts))
}

func mac(key []byte, parts []string) []byte {
	var short [128]byte
	text := short[:0]
	for _, p := range parts {
		text = strconv.AppendInt(text, int64(len(p)), 10)
		text = append(append(append(text, ':'), p...), ';')
	}
	m := hmac.New(sha256.New, key)
	m.Write(text)
	return m.Sum(nil)
}

// Derive returns n characters of a-z2-7, at most 51, that are determined by a key and a list of
// parts. Without the key they can't be told from random ones.
func Derive(key []byte, n int, parts ...string) string {
	return base32Lower.EncodeToString(mac(key, parts))[:n]
}

// Equal compares two hashes in a time that doesn't depend on where they differ.
func Equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
