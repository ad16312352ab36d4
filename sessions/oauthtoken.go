package sessions

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/jws"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// maxBoundToken is the most bytes of an access token that is bound to a key: one with the longest
// scope and the longest client_id, which base64url makes a third longer, has 19 KiB.
const maxBoundToken = 32 << 10

var (
	errBoundMalformed = refusal.New(ErrBoundToken, "Malformed token")
	errBound          = refusal.New(ErrBoundToken, "Token could not be verified")
	errBoundExpired   = refusal.New(ErrBoundToken, "Token has expired")
	errBoundRevoked   = refusal.New(ErrBoundToken, "Token has been revoked")
	errBoundKey       = refusal.New(ErrBoundToken, "The token is bound to another key than that of the DPoP proof")
	errBoundAud       = refusal.New(ErrBoundToken, "The token is for another server")
)

// sign signs an access token (source: RFC 9068; RFC 9449, section 6.1).
func (o *oauth) sign(i *Issue, now time.Time, lifetime time.Duration) (string, error) {
	k := o.cfg.Keys[0]
	signed, err := jws.Sign(k.Private, map[string]any{"typ": typeAccess, "kid": k.ID}, map[string]any{
		"iss": o.cfg.Issuer, "aud": audienceOf(o.cfg.Audiences), "sub": i.Session.DID.String(), "client_id": i.Session.Client.ID,
		"scope": i.Scope, "cnf": map[string]string{"jkt": i.Session.Client.Key}, "jti": i.access, "sid": i.Session.ID,
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("sessions: signing a token: %w", err)
	}
	return signed, nil
}

// boundToken is an access token that is bound to a key, and whose signature was verified. It isn't
// changed.
type boundToken struct {
	did                             syntax.DID
	client, scope, key, id, session string
	audiences                       []string
	issued, expires                 time.Time
}

// parse verifies the signature and the issuer of an access token, and that it is one. It checks
// neither its audience nor its times. A client sends the same token many times: those that are good
// by keys of this server, which stay the same, are remembered. Errors: [ErrBoundToken], [ErrIssuer].
func (o *oauth) parse(ctx context.Context, raw string) (*boundToken, error) {
	if o.cfg.Remote != nil {
		return o.parseAnew(ctx, raw)
	}
	parse := func(raw string) (*boundToken, error) { return o.parseAnew(ctx, raw) }
	return o.verified.read(raw, parse, func(*boundToken) bool { return true })
}

func (o *oauth) parseAnew(ctx context.Context, raw string) (*boundToken, error) {
	t, err := jws.Parse(raw, maxBoundToken)
	if err != nil {
		return nil, errBoundMalformed
	}
	if !t.IsType(typeAccess) || t.Text("iss") != o.cfg.Issuer {
		return nil, errBound
	}
	key, err := o.key(ctx, t.Kid(), t.Alg())
	if err != nil {
		return nil, err
	}
	if t.Verify(key) != nil {
		return nil, errBound
	}
	b := &boundToken{client: t.Text("client_id"), scope: t.Text("scope"), id: t.Text("jti"), session: t.Text("sid")}
	if b.did, err = syntax.ParseDID(t.Text("sub")); err != nil {
		return nil, errBound
	}
	cnf, _ := t.Claims["cnf"].(map[string]any)
	b.key, _ = cnf["jkt"].(string)
	b.audiences = audiences(t.Claims["aud"])
	exp, expires := t.Claims["exp"].(float64)
	iat, issued := t.Claims["iat"].(float64)
	if b.key == "" || b.client == "" || !expires || !issued || exp < 0 || exp > 1e11 || iat < 0 || iat > 1e11 {
		return nil, errBound
	}
	b.expires, b.issued = time.Unix(int64(exp), 0).UTC(), time.Unix(int64(iat), 0).UTC()
	return b, nil
}

// key returns the key that verifies a token.
func (o *oauth) key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	if o.cfg.Remote == nil {
		for _, k := range o.cfg.Keys {
			if k.ID == kid {
				return &k.Private.PublicKey, nil
			}
		}
		return nil, errBound
	}
	if !slices.Contains(jws.Algorithms(), alg) {
		return nil, errBound
	}
	key, err := o.cfg.Remote.Key(ctx, kid, alg)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, errBound
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	return key, nil
}

// audiences reads the claim aud, which is a string or a list.
func audiences(claim any) []string {
	switch aud := claim.(type) {
	case string:
		return []string{aud}
	case []any:
		var all []string
		for _, one := range aud {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// good checks whom an access token is for, that it hasn't expired, and that its client is admitted.
// The clock of another issuer may differ a little from this server's.
func (s *Service) good(b *boundToken) error {
	skew := time.Duration(0)
	if s.oauth.cfg.Remote != nil {
		skew = clockSkew
	}
	now := s.now()
	switch {
	case !slices.Contains(b.audiences, s.cfg.ServiceDID):
		return errBoundAud
	case !now.Add(-skew).Before(b.expires):
		return errBoundExpired
	case b.issued.After(now.Add(max(skew, time.Second))): // in whole seconds
		return errBound
	case s.oauth.cfg.Refused(b.client):
		return errBoundRevoked
	}
	return nil
}

// looksBound reports whether a token says that it is bound to a key. It isn't verified.
func looksBound(raw string) bool {
	t, err := jws.Parse(raw, maxBoundToken)
	return err == nil && t.Claims["cnf"] != nil
}

// refreshPrefix begins the refresh tokens of OAuth sessions, which no JWT begins with.
const refreshPrefix = "ref-"

// refreshToken returns a refresh token. It has the ID of its session, an ID of its own that nobody
// can guess, and a tag by which it is recognized as ours after it has been forgotten: without it,
// whoever knows the ID of a session could end it with a made-up token, as one that is used again.
func (s *Service) refreshToken(session, id string) string {
	return refreshPrefix + session + "." + id + "." + s.refreshTag(session, id)
}

func (s *Service) refreshTag(session, id string) string {
	return token.Derive(s.cfg.Secret, 26, "refresh-tag", session, id)
}

// parseOAuthRefresh takes a refresh token apart, if it is one that this server has issued.
func (s *Service) parseOAuthRefresh(raw string) (session, id string, ok bool) {
	rest, ok := strings.CutPrefix(raw, refreshPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(raw) > 256 || len(parts) != 3 || !token.Equal(parts[2], s.refreshTag(parts[0], parts[1])) {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// OAuthTokenInfo is what a token of an OAuth session is good for.
type OAuthTokenInfo struct {
	Session *Session
	Account *accounts.Account
	// Refresh is true of a refresh token, and false of an access token.
	Refresh bool
	// Scope is what the token allows: that of an access token, or of the session.
	Scope string
	// ID is the jti of an access token, and Audiences are whom it is for.
	ID        string
	Audiences []string
	// IssuedAt is when an access token was issued, or when the session was last refreshed.
	IssuedAt time.Time
	// ExpiresAt is when the token expires.
	ExpiresAt time.Time
}

// OAuthToken is what a client sent as a token of an OAuth session. Its signature has been checked,
// which takes too long for a transaction. The token may be anything: the methods that take it then
// return an error.
type OAuthToken struct {
	session string // "": it isn't one of this server
	refresh string // the ID of a refresh token
	access  *boundToken
}

// ParseOAuth checks the signature of an access token, or the tag of a refresh token. What is wrong
// with the token is returned when it is used.
func (s *Service) ParseOAuth(raw string) *OAuthToken {
	if s.issues() != nil {
		return &OAuthToken{}
	}
	if session, id, ok := s.parseOAuthRefresh(raw); ok {
		return &OAuthToken{session: session, refresh: id}
	}
	b, err := s.oauth.parse(context.Background(), raw) // asks nobody, since the keys are ours
	if err != nil {
		return &OAuthToken{}
	}
	return &OAuthToken{session: b.session, access: b}
}

// InspectOAuthTx returns what a token of an OAuth session is good for, if it is good: not expired,
// the session's current one, and of an account in good standing. A refresh token in its grace
// period isn't the current one. Error: [ErrNotFound] (source: RFC 7662).
func (s *Service) InspectOAuthTx(tx storage.Tx, t *OAuthToken) (*OAuthTokenInfo, error) {
	r, err := s.findOAuth(tx, t)
	if err != nil {
		return nil, err
	}
	a, r, err := s.load(tx, r.DID, r.ID)
	if err != nil {
		return nil, unlessRefused(err, ErrNotFound)
	}
	info := &OAuthTokenInfo{Session: &r.Session, Account: a}
	b := t.access
	if b == nil {
		if s.hash(t.refresh) != r.Refresh {
			return nil, ErrNotFound
		}
		info.Refresh, info.Scope, info.IssuedAt, info.ExpiresAt = true, string(r.Scope), r.LastUsedAt, r.ExpiresAt
		return info, nil
	}
	if !s.now().Before(b.expires) || b.id != r.Access || s.oauth.cfg.Refused(b.client) {
		return nil, ErrNotFound
	}
	info.Scope, info.ID, info.Audiences, info.IssuedAt, info.ExpiresAt = b.scope, b.id, b.audiences, b.issued, b.expires
	return info, nil
}

// FindOAuthTx returns the session of a token: of an access token, which may have expired or been
// replaced, or of a refresh token, which may have been used. Error: [ErrNotFound], also for tokens
// of others and of sessions that have ended (source: RFC 7009).
func (s *Service) FindOAuthTx(tx storage.Tx, t *OAuthToken) (*Session, error) {
	r, err := s.findOAuth(tx, t)
	if err != nil {
		return nil, err
	}
	return &r.Session, nil
}

// ReusedTx reports whether a refresh token was used before and its grace period is over, so that
// [Service.RefreshOAuthTx] ends its session, whoever brings it. Error: that of FindOAuthTx.
func (s *Service) ReusedTx(tx storage.Tx, t *OAuthToken) (bool, error) {
	r, err := s.findOAuth(tx, t)
	if err != nil {
		return false, err
	}
	return t.access == nil && s.hash(t.refresh) != r.Refresh && !s.inGrace(r, t.refresh), nil
}

// findOAuth returns the session of a token.
func (s *Service) findOAuth(tx storage.Tx, t *OAuthToken) (*record, error) {
	if t.session == "" {
		return nil, ErrNotFound
	}
	r, err := table.Get(tx, t.session)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	case r.Client == nil, !s.now().Before(r.ExpiresAt), t.access != nil && r.DID != t.access.did:
		return nil, ErrNotFound
	}
	return r, nil
}

// unlessRefused returns another error in place of one that says that a session is over, and err
// itself if the store failed.
func unlessRefused(err, instead error) error {
	if errors.Is(err, ErrExpiredToken) || errors.Is(err, ErrAccountNotFound) || errors.Is(err, ErrAccountTakedown) {
		return instead
	}
	return err
}
