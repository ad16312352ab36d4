package invites

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Standing is what admins have decided about the codes that an account earns.
type Standing struct {
	// Disabled is set if the codes that the account earns are disabled.
	Disabled bool `json:"disabled"`
	// Note is the reason.
	Note string `json:"note,omitempty"`
}

// standing is a Standing as it is stored. An account that has none may use the codes that it earns.
type standing struct {
	DID syntax.DID `json:"did"`
	Standing
}

var standings = storage.NewCollection("invite_standings",
	func(s *standing) string { return s.DID.String() },
).OwnedBy(storage.OwnerGatehouse)

// SetStanding sets the standing of an account. It affects the codes that the account earns from now
// on. Error: [accounts.ErrNotFound] (source: com.atproto.admin.disableAccountInvites and
// enableAccountInvites).
func (s *Service) SetStanding(ctx context.Context, did syntax.DID, to Standing) error {
	to.Note = storage.Text(to.Note)
	return s.store.Update(ctx, func(tx storage.Tx) error {
		if _, err := accounts.GetTx(tx, did); err != nil {
			return err
		}
		return standings.Put(tx, &standing{DID: did, Standing: to})
	})
}

func standingOf(tx storage.Tx, did syntax.DID) (Standing, error) {
	s, err := standings.Get(tx, did.String())
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Standing{}, nil
	case err != nil:
		return Standing{}, err
	}
	return s.Standing, nil
}
