package sessions

import (
	"fmt"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// BenchmarkToken signs access tokens, and verifies their signatures and claims: of one token again
// and again, as a client sends it, and of others each time.
func BenchmarkToken(b *testing.B) {
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		b.Fatal(err)
	}
	for name, key := range map[string]Key{"HS256": {Secret: make([]byte, 32)}, "ES256K": {ID: "k", Private: private}} {
		s, err := newSigner([]Key{key}, "did:web:example.com", time.Now)
		if err != nil {
			b.Fatal(err)
		}
		sign := func(b *testing.B, n int) string {
			raw, err := s.sign(typeAccess, claims{Scope: ScopeAccess, Sub: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", ID: fmt.Sprint(n), Session: "s"}, time.Hour)
			if err != nil {
				b.Fatal(err)
			}
			return raw
		}
		parse := func(b *testing.B, raw string) {
			if p := s.parse(typeAccess, raw); p.bad != nil {
				b.Fatal(p.bad)
			}
		}
		b.Run("issue/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				sign(b, n)
			}
		})
		b.Run("verify/"+name, func(b *testing.B) {
			raw := sign(b, 0)
			b.ReportAllocs()
			for b.Loop() {
				parse(b, raw)
			}
		})
		b.Run("verify others/"+name, func(b *testing.B) {
			many := make([]string, 20_000)
			for n := range many {
				many[n] = sign(b, n)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				parse(b, many[n%len(many)])
			}
		})
	}
}
