package invites

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// adopted is the key of a standing that records that adoptStandings has finished. No account has
// this DID.
const adopted syntax.DID = "did:gatehouse:adopted"

// adoptStandings stores the standings that admins set with an earlier version of this program. That
// version kept them in the documents of the accounts, in a table that also had the index pending,
// which new stores don't have.
func (s *Service) adoptStandings(ctx context.Context) error {
	const accountsTable = "accounts"
	tables, err := s.store.Tables(ctx)
	if err != nil {
		return err
	}
	earlier := slices.ContainsFunc(tables, func(t storage.Table) bool {
		return t.Name == accountsTable && slices.ContainsFunc(t.Indexes, func(ix storage.Index) bool { return ix.Name == "pending" })
	})
	if !earlier {
		return nil
	}
	if err := storage.Define(ctx, s.store, accounts.Tables()...); err != nil {
		return err
	}
	done := false
	for r := (storage.Range{Limit: 500}); !done; {
		var next storage.Range
		err := s.store.Update(ctx, func(tx storage.Tx) error {
			_, err := standings.Get(tx, adopted.String())
			if done = err == nil; done || !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			n := 0
			next = r
			for account, err := range tx.Scan(accountsTable, r) {
				if err == nil {
					err = adopt(tx, account.Value)
				}
				if err != nil {
					return err
				}
				n++
				next.After = account.Cursor
			}
			if n == r.Limit {
				return nil
			}
			done = true
			return standings.Put(tx, &standing{DID: adopted})
		})
		if err != nil {
			return err
		}
		r = next
	}
	return nil
}

// adopt stores the standing that is in the document of an account, if there is one.
func adopt(tx storage.Tx, account []byte) error {
	var old struct {
		DID             syntax.DID `json:"did"`
		InvitesDisabled bool       `json:"invitesDisabled"`
		InviteNote      string     `json:"inviteNote"`
	}
	if err := json.Unmarshal(account, &old); err != nil {
		return fmt.Errorf("invites: %w", err)
	}
	if !old.InvitesDisabled && old.InviteNote == "" {
		return nil
	}
	switch _, err := standings.Get(tx, old.DID.String()); {
	case err == nil: // an admin has set it since
		return nil
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return standings.Put(tx, &standing{DID: old.DID, Standing: Standing{Disabled: old.InvitesDisabled, Note: old.InviteNote}})
}
