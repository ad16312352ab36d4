package sessions_test

import (
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/sessions"
)

// BenchmarkVerify verifies requests, without a network and on a store in memory: with a bearer
// token, and with a token and a proof of an OAuth client, of which those that change something are
// remembered in the store. Making the proofs isn't counted.
func BenchmarkVerify(b *testing.B) {
	o := newOAuth(b)
	tokens := o.SignUp("alice")
	k := o.open(tokens.Account.DID)
	b.Run("bearer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := o.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT)); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, c := range []struct{ name, method string }{{"dpop", "GET"}, {"dpop-post", "POST"}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r := o.client.Request(o.Sessions, c.method, resource, k.AccessToken, o.Now())
				b.StartTimer()
				if _, err := o.Sessions.Verify(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefresh refreshes a session again and again, each time after the grace period, and signs
// its tokens.
func BenchmarkRefresh(b *testing.B) {
	o := newOAuth(b)
	tokens := o.SignUp("alice")
	b.Run("bearer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if tokens, err = o.Sessions.Refresh(ctx, tokens.RefreshJWT); err != nil {
				b.Fatal(err)
			}
			o.Advance(2 * time.Hour)
		}
	})
	k := o.open(tokens.Account.DID, func(g *sessions.OAuthGrant) { g.Lifetime = 100 * 365 * 24 * time.Hour })
	b.Run("oauth", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if k, err = o.refresh(k.RefreshToken); err != nil {
				b.Fatal(err)
			}
			o.Advance(2 * time.Minute)
		}
	})
}
