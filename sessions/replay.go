package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// usedToken records that a service token was used. It is kept until the token has expired.
type usedToken struct {
	// Key is a hash of the issuer and the token's id. By a hash of the token's text the same token in
	// another spelling would not be recognized.
	Key     string    `json:"key"`
	Expires time.Time `json:"expires"`
}

var usedTokens = storage.NewCollection("service_tokens",
	func(t *usedToken) string { return t.Key },
	storage.Ordered("expires", func(t *usedToken) string { return storage.TimeKey(t.Expires) }),
).OwnedBy(storage.OwnerGatehouse)

// usedTokenKey hashes the issuer, which can't contain a NUL, and the id, which can be any text.
func usedTokenKey(a *ServiceAuth) string {
	sum := sha256.Sum256([]byte(a.iss() + "\x00" + a.ID))
	return hex.EncodeToString(sum[:])
}

var errReplayed = serviceAuth("JwtReplayed", "jwt was used before")

// UseServiceTokenTx marks a service token as used, inside a transaction, and refuses a token that
// is marked already. Tokens are identified by their issuer and id. A token without an id is
// refused, and so is one that has expired since [ServiceVerifier.Verify] checked it. Error:
// [ErrServiceAuth].
func (s *Service) UseServiceTokenTx(tx storage.Tx, a *ServiceAuth) error {
	now := s.now()
	switch {
	case a.ID == "":
		return errNoTokenID
	case !now.Before(a.Expires): // the record of an earlier use may have been purged
		return errJWTExpired
	}
	key := usedTokenKey(a)
	switch used, err := usedTokens.Get(tx, key); {
	case err == nil && now.Before(used.Expires.Add(clockSkew)):
		return errReplayed
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return usedTokens.Put(tx, &usedToken{Key: key, Expires: a.Expires})
}

// UseServiceToken is [Service.UseServiceTokenTx] in a transaction of its own.
func (s *Service) UseServiceToken(ctx context.Context, a *ServiceAuth) error {
	return s.store.Update(ctx, func(tx storage.Tx) error { return s.UseServiceTokenTx(tx, a) })
}
