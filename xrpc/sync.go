package xrpc

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The methods of com.atproto.sync here say which accounts there are, and whether they are active.
// An embedder that has the repositories adds their commits and revisions by [Config.RepoStatus], or
// serves these methods itself ([Config.LeaveToFallback]).

// RepoStatus is the state of the repository of an account, as com.atproto.server.checkAccountStatus
// shows it.
type RepoStatus struct {
	// Commit is the CID of the latest commit, and Rev its revision, a TID. They are also shown by
	// com.atproto.sync.listRepos and getRepoStatus. Empty: unknown.
	Commit, Rev string
	// The others are counts.
	Blocks, IndexedRecords, ExpectedBlobs, ImportedBlobs int64
	PrivateStateValues                                   int64
}

// RepoStatusFunc returns the state of the repository of an account. Its error may wrap
// [accounts.ErrNotFound] if there is no repository: listRepos then leaves the account out, and
// getRepoStatus is answered RepoNotFound.
type RepoStatusFunc func(ctx context.Context, did syntax.DID) (RepoStatus, error)

// noCommit is the commit that is shown of a repository whose commit is unknown, since the lexicon
// requires one: the CID of the empty byte string.
const noCommit = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

// noRev is the revision that is shown of a repository whose revision is unknown, since the lexicon
// requires one: the earliest TID.
const noRev = "2222222222222"

// repoStatus returns the state of the repository of an account, with unknown fields empty.
func (s *Server) repoStatus(c *call, id syntax.DID) (RepoStatus, error) {
	if s.cfg.RepoStatus == nil {
		return RepoStatus{}, nil
	}
	return s.cfg.RepoStatus(c.Context(), id)
}

type listReposParams struct {
	Limit  int64   `json:"limit"`
	Cursor *string `json:"cursor,omitempty"`
}

// listRepos lists all accounts, oldest first, including those that are deactivated or taken down.
func (s *Server) listRepos(c *call, in *listReposParams) (*atproto.SyncListRepos_Output, error) {
	page, err := s.cfg.Accounts.List(c.Context(), value(in.Cursor), int(in.Limit))
	if errors.Is(err, storage.ErrInvalid) {
		return nil, invalid("Malformed cursor")
	}
	if err != nil {
		return nil, err
	}
	out := &atproto.SyncListRepos_Output{Repos: []*atproto.SyncListRepos_Repo{}, Cursor: pointer(page.Cursor)}
	for _, a := range page.Accounts {
		repo, err := s.repoStatus(c, a.DID)
		if errors.Is(err, accounts.ErrNotFound) {
			continue // deleted in the meantime
		}
		if err != nil {
			return nil, err
		}
		out.Repos = append(out.Repos, &atproto.SyncListRepos_Repo{
			Did: a.DID.String(), Head: cmp.Or(repo.Commit, noCommit), Rev: cmp.Or(repo.Rev, noRev),
			Active: new(a.Active()), Status: pointer(string(a.Status())),
		})
	}
	return out, nil
}

// getRepoStatus returns whether an account is active, and the revision of its repository if it has
// one.
func (s *Server) getRepoStatus(c *call, in *didParams) (*atproto.SyncGetRepoStatus_Output, error) {
	notFound := &Error{http.StatusBadRequest, "RepoNotFound", "Could not find repo for DID: " + in.Did}
	a, err := s.cfg.Accounts.Get(c.Context(), syntax.DID(in.Did))
	if errors.Is(err, accounts.ErrNotFound) {
		return nil, notFound
	}
	if err != nil {
		return nil, err
	}
	out := &atproto.SyncGetRepoStatus_Output{Did: a.DID.String(), Active: a.Active(), Status: pointer(string(a.Status()))}
	if !out.Active { // the lexicon has revisions only of active accounts
		return out, nil
	}
	repo, err := s.repoStatus(c, a.DID)
	if errors.Is(err, accounts.ErrNotFound) {
		return nil, notFound
	}
	out.Rev = pointer(repo.Rev)
	return out, err
}
