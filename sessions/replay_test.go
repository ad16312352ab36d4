package sessions_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// usedTokens are the documents of the tokens that are remembered.
func usedTokens(s *domaintest.Services, t *testing.T) []string {
	t.Helper()
	var docs []string
	err := s.Store.View(ctx, func(tx storage.Tx) error {
		docs = nil
		for rec, err := range tx.Scan("service_tokens", storage.Range{}) {
			if err != nil {
				return err
			}
			docs = append(docs, string(rec.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestServiceTokenWorksOnce(t *testing.T) {
	s, strangers := domaintest.New(t), newStrangers(t)
	// use verifies a token and uses it up, as a method does that changes something.
	use := func(token string, trusted ...string) error {
		a, err := strangers.Verify(ctx, token, createAccount, trusted...)
		if err != nil {
			return err
		}
		return s.Sessions.UseServiceToken(ctx, a)
	}
	const replayed = "jwt was used before"
	first := strangers.token(strangers.alice)
	if err := use(first); err != nil {
		t.Fatal(err)
	}
	wantServiceAuth(t, use(first), "JwtReplayed", replayed)
	// Signed again it is another text, and says the same.
	wantServiceAuth(t, use(strangers.token(strangers.alice, object{"exp": strangers.now.Add(time.Hour).Unix()})), "JwtReplayed", replayed)
	wantServiceAuth(t, use(strangers.token(strangers.alice, object{"typ": nil})), "JwtReplayed", replayed)
	for name, token := range domaintest.Spellings(t, first) {
		if err := use(token); err == nil {
			t.Errorf("it works again with %s", name)
		}
	}
	for name, err := range map[string]error{
		"another ID":                  use(strangers.token(strangers.alice, object{"jti": "two"})),
		"the ID of another issuer":    use(strangers.token(strangers.bob, object{"iss": bobDID})),
		"the ID of the same labeler":  use(strangers.token(strangers.label, object{"iss": labeler}), labeler),
		"an ID in another case":       use(strangers.token(strangers.alice, object{"jti": "ONE"})),
		"an ID that holds NULs":       use(strangers.token(strangers.alice, object{"jti": "\x00one\x00"})),
		"an ID that looks like a DID": use(strangers.token(strangers.alice, object{"jti": "#atproto_labeler\x00one"})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	docs := usedTokens(s, t)
	if len(docs) != 7 {
		t.Errorf("%d tokens are remembered", len(docs))
	}
	for _, doc := range docs {
		if strings.Contains(doc, "one") || strings.Contains(doc, "did:") || strings.Contains(doc, first[len(first)-20:]) {
			t.Errorf("too much is remembered: %s", doc)
		}
	}
}

func TestServiceTokenIsUsedUpOnlyInTheEnd(t *testing.T) {
	s := domaintest.New(t)
	a := &sessions.ServiceAuth{Issuer: aliceDID, ID: "one", Expires: s.Now().Add(time.Minute)}
	undone := fmt.Errorf("refused after that")
	err := s.Store.Update(ctx, func(tx storage.Tx) error {
		if err := s.Sessions.UseServiceTokenTx(tx, a); err != nil {
			return err
		}
		wantServiceAuth(t, s.Sessions.UseServiceTokenTx(tx, a), "JwtReplayed", "jwt was used before")
		return undone
	})
	if err != undone {
		t.Fatal(err)
	}
	if err := s.Sessions.UseServiceToken(ctx, a); err != nil {
		t.Errorf("after a transaction that was undone: %v", err)
	}
	wantServiceAuth(t, s.Sessions.UseServiceToken(ctx, a), "JwtReplayed", "jwt was used before")
}

// TestServiceTokenIsForgotten has tokens end: they are remembered as long as they are good, and not
// much longer.
func TestServiceTokenIsForgotten(t *testing.T) {
	s := domaintest.New(t)
	wantServiceAuth(t, s.Sessions.UseServiceToken(ctx, &sessions.ServiceAuth{Issuer: aliceDID, Expires: s.Now().Add(time.Minute)}),
		"BadJwt", `missing jwt id ("jti")`)
	const many = 1100 // more than one step of the purge takes
	token := func(i int, d time.Duration) *sessions.ServiceAuth {
		return &sessions.ServiceAuth{Issuer: aliceDID, ID: fmt.Sprint(i), Expires: s.Now().Add(d)}
	}
	last := token(many, time.Hour)
	err := s.Store.Update(ctx, func(tx storage.Tx) error {
		for i := range many {
			if err := s.Sessions.UseServiceTokenTx(tx, token(i, time.Minute)); err != nil {
				return err
			}
		}
		return s.Sessions.UseServiceTokenTx(tx, last)
	})
	if err != nil {
		t.Fatal(err)
	}
	purged := func(want int) {
		t.Helper()
		if err := s.Sessions.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		if got := len(usedTokens(s, t)); got != want {
			t.Errorf("%d are remembered, want %d", got, want)
		}
	}
	first := token(0, time.Minute)
	s.Advance(time.Minute - time.Millisecond)
	purged(many + 1)
	wantServiceAuth(t, s.Sessions.UseServiceToken(ctx, first), "JwtReplayed", "jwt was used before")
	s.Advance(time.Millisecond)
	purged(many + 1) // a process whose clock is behind may still take them
	// One that ends between its check and its use may have been forgotten already.
	wantServiceAuth(t, s.Sessions.UseServiceToken(ctx, first), "JwtExpired", "jwt expired")
	s.Advance(5 * time.Second)
	// Not yet purged, and its issuer starts counting anew.
	if err := s.Sessions.UseServiceToken(ctx, token(0, time.Minute)); err != nil {
		t.Error(err)
	}
	s.Advance(time.Millisecond)
	purged(2)
	wantServiceAuth(t, s.Sessions.UseServiceToken(ctx, last), "JwtReplayed", "jwt was used before")
	s.Advance(2 * time.Hour)
	purged(0)
}
