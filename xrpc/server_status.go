package xrpc

import (
	"cmp"
	"context"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/sessions"
)

// RepoStatus is the state of an account's repository, as checkAccountStatus shows it. Commit and
// Rev are also shown by com.atproto.sync.listRepos and getRepoStatus; empty ones are unknown.
type RepoStatus struct {
	Commit, Rev                                          string
	Blocks, IndexedRecords, ExpectedBlobs, ImportedBlobs int64
	PrivateStateValues                                   int64
}

// RepoStatusFunc tells the state of an account's repository, which is the embedder's.
type RepoStatusFunc func(ctx context.Context, did syntax.DID) (RepoStatus, error)

// noCommit stands for the commit of a repository that isn't there, since the lexicon wants one: the
// CID of no bytes at all.
const noCommit = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

func (s *Server) activateAccount(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Accounts.Activate(c.Context(), c.did())
}

func (s *Server) deactivateAccount(c *call, in *atproto.ServerDeactivateAccount_Input) (*nothing, error) {
	var after *time.Time
	if in.DeleteAfter != nil {
		if err := c.session.Require(sessions.Full...); err != nil {
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
	h, err := s.cfg.Accounts.CheckStatus(c.Context(), c.did())
	if err != nil {
		return nil, err
	}
	repo, err := s.repoStatus(c, c.did())
	if err != nil {
		return nil, err
	}
	return &atproto.ServerCheckAccountStatus_Output{
		Activated: h.Activated, ValidDid: h.ValidDID,
		RepoCommit: cmp.Or(repo.Commit, noCommit), RepoRev: repo.Rev, RepoBlocks: repo.Blocks, IndexedRecords: repo.IndexedRecords,
		ExpectedBlobs: repo.ExpectedBlobs, ImportedBlobs: repo.ImportedBlobs, PrivateStateValues: repo.PrivateStateValues,
	}, nil
}

type serviceAuthParams struct {
	Aud string  `json:"aud"`
	Exp *int64  `json:"exp,omitempty"`
	Lxm *string `json:"lxm,omitempty"`
}

func (s *Server) getServiceAuth(c *call, in *serviceAuthParams) (*atproto.ServerGetServiceAuth_Output, error) {
	p := sessions.ServiceTokenParams{Audience: in.Aud, Method: value(in.Lxm)}
	if in.Exp != nil && *in.Exp != 0 {
		p.Expires = time.Unix(*in.Exp, 0)
	}
	token, err := s.cfg.Sessions.ServiceToken(c.Context(), c.session, p)
	return &atproto.ServerGetServiceAuth_Output{Token: token}, err
}

func (s *Server) reserveSigningKey(c *call, in *atproto.ServerReserveSigningKey_Input) (*atproto.ServerReserveSigningKey_Output, error) {
	key, err := s.cfg.Accounts.ReserveSigningKey(c.Context(), syntax.DID(value(in.Did)))
	return &atproto.ServerReserveSigningKey_Output{SigningKey: key}, err
}
