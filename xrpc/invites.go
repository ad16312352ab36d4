package xrpc

import (
	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/invites"
)

func (s *Server) createInviteCode(c *call, in *atproto.ServerCreateInviteCode_Input) (*atproto.ServerCreateInviteCode_Output, error) {
	var forAccounts []string
	if in.ForAccount != nil {
		forAccounts = []string{*in.ForAccount}
	}
	made, err := s.createInvites(c, 1, in.UseCount, forAccounts)
	if err != nil {
		return nil, err
	}
	return &atproto.ServerCreateInviteCode_Output{Code: made[0].Codes[0]}, nil
}

func (s *Server) createInviteCodes(c *call, in *atproto.ServerCreateInviteCodes_Input) (*atproto.ServerCreateInviteCodes_Output, error) {
	out := &atproto.ServerCreateInviteCodes_Output{Codes: []*atproto.ServerCreateInviteCodes_AccountCodes{}}
	if in.ForAccounts != nil && len(in.ForAccounts) == 0 {
		return out, nil // an empty list is for nobody, a missing one for the admin
	}
	made, err := s.createInvites(c, in.CodeCount, in.UseCount, in.ForAccounts)
	if err != nil {
		return nil, err
	}
	for _, m := range made {
		out.Codes = append(out.Codes, &atproto.ServerCreateInviteCodes_AccountCodes{Account: m.Account, Codes: m.Codes})
	}
	return out, nil
}

// createInvites creates codes, and writes to the audit log for which accounts.
func (s *Server) createInvites(c *call, codeCount, useCount int64, forAccounts []string) (made []invites.AccountCodes, err error) {
	subjects := []string{invites.Admin}
	if len(forAccounts) > 0 {
		subjects = forAccounts
	}
	err = s.logged(c, func() error {
		made, err = s.cfg.Invites.Create(c.Context(), int(codeCount), int(useCount), forAccounts...)
		return err
	}, subjects...)
	return made, err
}

type accountInviteCodesParams struct {
	IncludeUsed     bool `json:"includeUsed"`
	CreateAvailable bool `json:"createAvailable"`
}

func (s *Server) getAccountInviteCodes(c *call, in *accountInviteCodesParams) (*atproto.ServerGetAccountInviteCodes_Output, error) {
	all, err := s.cfg.Invites.ForAccount(c.Context(), c.did(), in.IncludeUsed, in.CreateAvailable)
	if err != nil {
		return nil, err
	}
	out := &atproto.ServerGetAccountInviteCodes_Output{Codes: []*atproto.ServerDefs_InviteCode{}}
	for _, code := range all {
		out.Codes = append(out.Codes, inviteCode(code))
	}
	return out, nil
}

// inviteCode returns a code as com.atproto.server.defs#inviteCode.
func inviteCode(c *invites.Code) *atproto.ServerDefs_InviteCode {
	out := &atproto.ServerDefs_InviteCode{
		Code: c.Code, Available: int64(c.Available), Disabled: c.Disabled,
		ForAccount: c.ForAccount, CreatedBy: c.CreatedBy, CreatedAt: datetime(c.CreatedAt),
		Uses: []*atproto.ServerDefs_InviteCodeUse{},
	}
	for _, u := range c.Uses {
		out.Uses = append(out.Uses, &atproto.ServerDefs_InviteCodeUse{UsedBy: u.UsedBy.String(), UsedAt: datetime(u.UsedAt)})
	}
	return out
}
