package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// adoptSignUps stores a didChange for each sign-up that an earlier version of this program left
// pending. That version kept the state of a sign-up in the account, in the index "pending", which
// new stores don't have.
func (s *Service) adoptSignUps(ctx context.Context) error {
	tables, err := s.store.Tables(ctx)
	if err != nil || !slices.ContainsFunc(tables, hasPendingIndex) {
		return err
	}
	return s.store.Update(ctx, func(tx storage.Tx) error {
		stuck, err := accountsTable.All(tx, storage.Range{Index: "pending"})
		if err != nil {
			return err
		}
		for _, r := range stuck {
			ticket, err := inviteCodeOf(tx, r.DID)
			if err != nil {
				return err
			}
			c := &didChange{DID: r.DID, Kind: changeSignUp, Ticket: ticket, Since: r.CreatedAt, Until: s.now()}
			if err := didChanges.Put(tx, c); err != nil {
				return err
			}
			if err := put(tx, r); err != nil { // this takes it out of the index
				return err
			}
		}
		return nil
	})
}

// inviteCodeOf returns the invite code of a sign-up, which that version kept in the account too.
func inviteCodeOf(tx storage.Tx, id syntax.DID) (string, error) {
	doc, err := tx.Get(accountsName, id.String())
	if err != nil {
		return "", err
	}
	var old struct {
		InviteCode string `json:"inviteCode"`
	}
	if err := json.Unmarshal(doc, &old); err != nil {
		return "", fmt.Errorf("accounts: %w", err)
	}
	return old.InviteCode, nil
}

// hasPendingIndex reports whether a table is that of accounts, with the index of that version.
func hasPendingIndex(t storage.Table) bool {
	return t.Name == accountsName && slices.ContainsFunc(t.Indexes, func(ix storage.Index) bool { return ix.Name == "pending" })
}
