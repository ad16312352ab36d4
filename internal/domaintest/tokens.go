package domaintest

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// SignToken returns a signed service token, whose header names the algorithm of the key. Changes
// replace claims, or the headers "typ", "alg" and "crit"; the value nil removes one.
func SignToken(t testing.TB, key atcrypto.PrivateKey, claims map[string]any, changes ...map[string]any) string {
	t.Helper()
	header, claims := map[string]any{"typ": "JWT", "alg": "ES256"}, maps.Clone(claims)
	if _, k256 := key.(*atcrypto.PrivateKeyK256); k256 {
		header["alg"] = "ES256K"
	}
	for _, change := range changes {
		for name, v := range change {
			in := claims
			if name == "typ" || name == "alg" || name == "crit" {
				in = header
			}
			if in[name] = v; v == nil {
				delete(in, name)
			}
		}
	}
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, encode(b))
	}
	signed := strings.Join(parts, ".")
	signature, err := key.HashAndSign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// Spellings returns variants of a valid service token, which some parsers take for the same token.
// The keys describe how they differ from it.
func Spellings(t testing.TB, token string) map[string]string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[2]) != 86 {
		t.Fatalf("%q is not a service token", token)
	}
	header, claims, signature := parts[0], parts[1], parts[2]
	raw := decode(t, signature)
	// If (r, s) is a signature, so is (r, n-s), where n is the order of the curve.
	n := elliptic.P256().Params().N
	if strings.Contains(string(decode(t, header)), "ES256K") {
		n, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	}
	twin := append(raw[:32:32], make([]byte, 32)...)
	new(big.Int).Sub(n, new(big.Int).SetBytes(raw[32:])).FillBytes(twin[32:])
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, signature[85]) | 1 // four of its six bits have no meaning
	return map[string]string{
		"the high-S twin":            header + "." + claims + "." + encode(twin),
		"padding":                    token + "==",
		"unused bits":                token[:len(token)-1] + alphabet[last:last+1],
		"base64 of another alphabet": header + "." + claims + ".+/" + signature[2:],
		"a line break at the end":    token + "\n",
		"a line break within":        header + "." + claims + "." + signature[:10] + "\r\n" + signature[10:],
		"spaces around":              " " + token + " ",
		"a fourth part":              token + ".",
		"a space in its header":      encode(append(decode(t, header), ' ')) + "." + claims + "." + signature,
		"a space in its claims":      header + "." + encode(append([]byte(" "), decode(t, claims)...)) + "." + signature,
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
