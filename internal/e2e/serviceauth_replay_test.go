package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// issuer is a DID of another server, with a key of the account and one of its labeler.
type issuer struct {
	t          testing.TB
	did        string
	key, label *atcrypto.PrivateKeyK256
}

// newIssuers creates n DIDs in a new directory.
func newIssuers(t *testing.T, n int) (*did.Local, []*issuer) {
	t.Helper()
	ctx := context.Background()
	plc := newDirectory(t)
	var all []*issuer
	for i := range n {
		key, label := privateKey(t), privateKey(t)
		registrar := &did.Registrar{Directory: plc, Signer: privateKey(t), PublicURL: "https://elsewhere.example.com"}
		id, op, err := registrar.Mint(ctx, did.MintParams{Handle: syntax.Handle(fmt.Sprintf("issuer%d.example.com", i)), SigningKey: didKey(t, key)})
		if err == nil {
			err = registrar.Submit(ctx, id, op)
		}
		if err == nil {
			err = registrar.Change(ctx, id, func(op *did.Operation) { op.VerificationMethods["atproto_label"] = didKey(t, label) })
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &issuer{t, id.String(), key, label})
	}
	return plc, all
}

// claims returns the claims of a service token for a method of a server.
func (i *issuer) claims(s *api, method, jti string) object {
	return object{
		"iss": i.did, "aud": "did:web:localhost", "lxm": "com.atproto." + method, "jti": jti,
		"exp": s.Clock.Now().Add(time.Minute).Unix(),
	}
}

// token returns a service token that is signed with the account's key.
func (i *issuer) token(s *api, method, jti string, changes ...object) string {
	i.t.Helper()
	return domaintest.SignToken(i.t, i.key, i.claims(s, method, jti), changes...)
}

// labelToken returns a service token that is signed with the labeler's key.
func (i *issuer) labelToken(s *api, method, jti string, changes ...object) string {
	i.t.Helper()
	return domaintest.SignToken(i.t, i.label, i.claims(s, method, jti), append([]object{{"iss": i.did + "#atproto_labeler"}}, changes...)...)
}

// rows counts the documents of a table.
func (s *api) rows(table string) (n int) {
	s.t.Helper()
	err := s.Store.View(context.Background(), func(tx storage.Tx) error {
		n = 0
		for _, err := range tx.Scan(table, storage.Range{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// rowsOf counts the documents of several tables.
func (s *api) rowsOf(tables ...string) (all []int) {
	s.t.Helper()
	for _, table := range tables {
		all = append(all, s.rows(table))
	}
	return all
}

// TestServiceTokenSignsUpOnce checks that a service token stays valid after a sign-up that is
// refused, that a successful sign-up uses it up in all its encodings, and that it is remembered
// only until it expires.
func TestServiceTokenSignsUpOnce(t *testing.T) {
	t.Parallel()
	const method = "server.createAccount"
	plc, issuers := newIssuers(t, 2)
	alice, bob := issuers[0], issuers[1]
	var log logbook
	onEach(t, func(t *testing.T, s *api) {
		sign := func(token, label string, more object) *answer {
			t.Helper()
			in := object{"handle": label + ".test", "email": label + "@example.com", "password": "password"}
			maps.Copy(in, more)
			return s.do(bearer(token), method, in)
		}
		moving := object{"did": alice.did}
		s.signUp("taken.test")
		token := alice.token(s, method, "one")
		sign(token, "taken", moving).refused(400, "HandleNotAvailable", "Handle already taken: taken.test")
		sign(token, "long", object{"did": alice.did, "password": strings.Repeat("x", 257)}).refused(400, "InvalidRequest")
		sign(token, "other", object{"did": bob.did}).refused(401, "AuthenticationRequired", "Missing auth to create account with did: "+bob.did)
		if n := s.rows("service_tokens"); n != 0 {
			t.Errorf("refused sign-ups used up %d tokens, want none", n)
		}
		if got := sign(token, "alice", moving).text("did"); got != alice.did {
			t.Errorf("createAccount: the DID is %s, want %s", got, alice.did)
		}
		s.do(admin, "admin.deleteAccount", moving).ok()
		// Now that the account is deleted, only replay protection refuses the token, both for the DID
		// and for a new account.
		sign(token, "alice", moving).refused(401, "JwtReplayed", "jwt was used before")
		sign(token, "second", nil).refused(401, "JwtReplayed", "jwt was used before")
		for name, other := range domaintest.Spellings(t, token) {
			if strings.ContainsAny(other, "\r\n") || strings.HasSuffix(other, " ") {
				continue // an HTTP header can't contain it
			}
			if a := sign(other, "alice", moving); a.status != 401 {
				t.Errorf("with %s: %d %s", name, a.status, a.body)
			}
		}
		sign(alice.token(s, method, "one", object{"exp": s.Clock.Now().Add(time.Hour).Unix()}), "alice", moving).refused(401, "JwtReplayed")
		sign(alice.token(s, method, "", object{"jti": nil}), "alice", moving).refused(401, "BadJwt", `missing jwt id ("jti")`)
		sign(alice.token(s, method, "two", object{"exp": s.Clock.Now().Add(2 * time.Hour).Unix()}), "alice", moving).
			refused(401, "BadJwtExpiration", "jwt expires more than an hour from now")
		sign(bob.token(s, method, "one"), "bob", object{"did": bob.did}).ok()
		sign(alice.token(s, method, "two"), "alice", moving).ok()

		s.Clock.Advance(time.Minute)
		sign(token, "alice", moving).refused(401, "JwtExpired", "jwt expired")
		s.Clock.Advance(time.Minute)
		if err := s.Gatehouse.Sessions.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.rows("service_tokens"); n != 0 {
			t.Errorf("%d expired tokens are still stored", n)
		}
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(log.String(), part) {
				t.Errorf("the log contains part of a token: %s", log.String())
			}
		}
	}, config(func(c *gatehouse.Config) {
		c.DIDs.Directory = plc
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}))
}

// TestRaceToSignUpWithOneToken checks that concurrent sign-ups with one service token create one
// account.
func TestRaceToSignUpWithOneToken(t *testing.T) {
	t.Parallel()
	const method = "server.createAccount"
	plc, issuers := newIssuers(t, 1)
	mover := issuers[0]
	onEach(t, func(t *testing.T, s *api) {
		for name, more := range map[string]object{"with its DID": {"did": mover.did}, "with a new DID": {}} {
			before, token := s.rows("accounts"), mover.token(s, method, name)
			counts := tally(race(func(i int) *answer {
				label := fmt.Sprintf("racer%d-%d", before, i)
				in := object{"handle": label + ".test", "email": label + "@example.com", "password": "password"}
				maps.Copy(in, more)
				return s.do(bearer(token), method, in)
			}))
			if counts[""] != 1 || counts["JwtReplayed"] != racers-1 {
				t.Errorf("%s: %v, want one success", name, counts)
			}
			if n := s.rows("accounts") - before; n != 1 {
				t.Errorf("%s: %d accounts were created, want 1", name, n)
			}
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory = plc }))
}

// TestModeratorsTokensWorkOnce reuses service tokens of a moderation service: those for methods
// that change something work once, and those for other methods until they expire.
func TestModeratorsTokensWorkOnce(t *testing.T) {
	t.Parallel()
	plc, issuers := newIssuers(t, 1)
	mod := issuers[0]
	onEach(t, func(t *testing.T, s *api) {
		const change, look = "admin.disableAccountInvites", "admin.getAccountInfo"
		alice := s.signUp("alice.test")
		for _, sign := range []func(*api, string, string, ...object) string{mod.token, mod.labelToken} {
			token := sign(s, change, "one")
			s.do(bearer(token), change, object{"account": alice.DID}).ok()
			s.do(bearer(token), change, object{"account": alice.DID}).refused(401, "JwtReplayed", "jwt was used before")
			s.do(bearer(sign(s, change, "", object{"jti": nil})), change, object{"account": alice.DID}).refused(401, "BadJwt", `missing jwt id ("jti")`)
			for _, token := range []string{sign(s, look, "one"), sign(s, look, "", object{"jti": nil})} {
				for range 2 {
					s.do(bearer(token), look, object{"did": alice.DID}).ok()
				}
			}
		}
		token := mod.token(s, change, "race")
		counts := tally(race(func(int) *answer { return s.do(bearer(token), change, object{"account": alice.DID}) }))
		if counts[""] != 1 || counts["JwtReplayed"] != racers-1 {
			t.Errorf("a race with one token: %v, want one success", counts)
		}
		log, err := s.Gatehouse.Audit.List(t.Context(), "", "", 10)
		if err != nil || len(log.Entries) != 3 {
			t.Errorf("the audit log has %d entries, %v; want one for each token", len(log.Entries), err)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory, c.ModService = plc, mod.did }))
}

// TestLabelerIsNotTheAccount checks that the labeler's key in a DID document signs only for the
// labeler, in methods that accept services, and never for the account, nor the other way round.
func TestLabelerIsNotTheAccount(t *testing.T) {
	t.Parallel()
	plc, issuers := newIssuers(t, 1)
	mod := issuers[0]
	onEach(t, func(t *testing.T, s *api) {
		const create, look = "server.createAccount", "admin.getAccountInfo"
		sign := func(token string) *answer {
			t.Helper()
			return s.do(bearer(token), create, object{"did": mod.did, "handle": "moving.test", "email": "moving@example.com", "password": "password"})
		}
		plain, labeler := object{"iss": mod.did}, object{"iss": mod.did + "#atproto_labeler"}
		sign(mod.labelToken(s, create, "1")).refused(401, "UntrustedIss", "Untrusted issuer")
		sign(mod.labelToken(s, create, "2", plain)).refused(401, "BadJwtSignature", "jwt signature does not match jwt issuer")
		sign(mod.token(s, create, "3", labeler)).refused(401, "UntrustedIss", "Untrusted issuer")
		for _, fragment := range []string{"#", "#atproto", "#atproto_pds", "#bsky_chat"} {
			sign(mod.token(s, create, "4", object{"iss": mod.did + fragment})).refused(401, "UntrustedIss", "Untrusted issuer")
		}
		sign(mod.token(s, create, "5")).ok()

		moderate := func(token string) *answer { t.Helper(); return s.do(bearer(token), look, object{"did": mod.did}) }
		moderate(mod.token(s, look, "6")).ok()
		moderate(mod.labelToken(s, look, "7")).ok()
		moderate(mod.token(s, look, "8", labeler)).refused(401, "BadJwtSignature", "jwt signature does not match jwt issuer")
		moderate(mod.labelToken(s, look, "9", plain)).refused(401, "BadJwtSignature", "jwt signature does not match jwt issuer")
		moderate(mod.token(s, look, "10", object{"iss": mod.did + "#atproto"})).refused(401, "UntrustedIss", "Untrusted issuer")
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory, c.ModService = plc, mod.did }))
}

// TestNoServiceTokensForSigningUpHere checks that the server issues no service token for a sign-up
// at this same server, with which a thief could create the account again after its deletion.
func TestNoServiceTokensForSigningUpHere(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		made := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app", "privileged": true}).text("password")
		app := s.login("alice.test", made).text("accessJwt")
		for _, aud := range []string{"did:web:localhost", "did:web:LOCALHOST", "did:web:localhost%23atproto_pds", "did:web:localhost."} {
			for _, method := range []string{"com.atproto.server.createAccount", "com.atproto.server.createaccount"} {
				for _, token := range []string{alice.AccessJWT, app} {
					s.do(bearer(token), "server.getServiceAuth", object{"aud": aud, "lxm": method}).refused(400, "InvalidRequest",
						"cannot request a service auth token for the following protected method: "+method)
				}
			}
		}
		s.do(bearer(app), "server.getServiceAuth", object{"aud": "did:web:elsewhere.test", "lxm": "com.atproto.server.createAccount"}).ok()
	})
}
