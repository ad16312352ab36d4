package oauth

import (
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/storage"
)

// consent is what an account has granted to a client.
type consent struct {
	DID      syntax.DID `json:"did"`
	ClientID string     `json:"clientId"`
	// Name is what the client called itself, and Host the host of its metadata document.
	Name string `json:"name,omitempty"`
	Host string `json:"host"`
	// Scope is what was granted, in one request or several, as the client asked for it.
	Scope scope.Set `json:"scope"`
	// Remembered is whether the client gets the same again without the owner being asked.
	Remembered bool      `json:"remembered,omitempty"`
	At         time.Time `json:"at"`
}

var consents = storage.NewCollection("oauth_consents",
	func(c *consent) string { return consentKey(c.DID, c.ClientID) },
	storage.Ordered("account", func(c *consent) string { return storage.Join(c.DID.String(), storage.TimeKey(c.At)) }),
	storage.Ordered("client", func(c *consent) string { return clientKey(c.ClientID) }),
).OwnedBy(storage.OwnerGatehouse)

func consentKey(did syntax.DID, clientID string) string {
	return storage.Join(did.String(), clientKey(clientID))
}

// clientKey stands for a client ID, which may be longer than a key, in keys and indexes.
func clientKey(clientID string) string { return token.Hash(nil, "client", clientID) }

const (
	// maxConsents is how many clients an account remembers its consent to. The sessions of a client
	// don't depend on it.
	maxConsents = 500
	// maxConsent is how many bytes a remembered scope has, to which a client adds with each request.
	maxConsent = 2 * scope.MaxLength
)

// consentTx records what an account grants to a client of what that has asked for. What was granted
// before and not asked for this time stays granted, unless it is too much.
func consentTx(tx storage.Tx, did syntax.DID, r *Request, granted scope.Set, now time.Time) error {
	c := r.Client
	before, err := consents.Get(tx, consentKey(did, c.ID))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	all := granted
	if before != nil {
		if all = before.Scope.Without(r.Scope).With(granted); len(all.String()) > maxConsent {
			all = granted
		}
	}
	err = consents.Put(tx, &consent{
		DID: did, ClientID: c.ID, Name: c.Metadata.ClientName, Host: c.Host, Scope: all, Remembered: remembered(r), At: now,
	})
	if err != nil {
		return err
	}
	return boundTx(tx, did)
}

// boundTx forgets the oldest consent of an account that has too many.
func boundTx(tx storage.Tx, did syntax.DID) error {
	n, oldest := 0, ""
	for old, err := range consents.Scan(tx, storage.Under("account", did.String())) {
		if err != nil {
			return err
		}
		if n++; oldest == "" {
			oldest = consentKey(did, old.ClientID)
		}
	}
	if n <= maxConsents {
		return nil
	}
	return consents.Delete(tx, oldest)
}
