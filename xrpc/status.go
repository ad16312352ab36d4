package xrpc

import (
	"cmp"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/sessions"
)

func (s *Server) activateAccount(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Accounts.Activate(c.Context(), c.did())
}

func (s *Server) deactivateAccount(c *call, in *atproto.ServerDeactivateAccount_Input) (*nothing, error) {
	var after *time.Time
	if in.DeleteAfter != nil {
		if err := c.session.Require(sessions.ManageAccount); err != nil {
			return nil, err
		}
		t, err := syntax.ParseDatetimeTime(*in.DeleteAfter)
		if err != nil {
			return nil, invalid("Input/deleteAfter must be a valid datetime")
		}
		after = &t
	}
	return nil, s.cfg.Accounts.Deactivate(c.Context(), c.did(), after)
}

func (s *Server) checkAccountStatus(c *call, _ *nothing) (*atproto.ServerCheckAccountStatus_Output, error) {
	a, err := s.cfg.Accounts.Get(c.Context(), c.did())
	if err != nil {
		return nil, err
	}
	valid := s.cfg.Accounts.Identity().Check(c.Context(), a) == nil
	repo, err := s.repoStatus(c, c.did())
	if err != nil {
		return nil, err
	}
	return &atproto.ServerCheckAccountStatus_Output{
		Activated: a.DeactivatedAt == nil, ValidDid: valid,
		RepoCommit: cmp.Or(repo.Commit, noCommit), RepoRev: repo.Rev, RepoBlocks: repo.Blocks, IndexedRecords: repo.IndexedRecords,
		ExpectedBlobs: repo.ExpectedBlobs, ImportedBlobs: repo.ImportedBlobs, PrivateStateValues: repo.PrivateStateValues,
	}, nil
}
