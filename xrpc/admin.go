package xrpc

import (
	"errors"
	"net/http"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/storage"
)

// logged runs an action of an admin, and writes an entry for each of its subjects to the audit log.
func (s *Server) logged(c *call, act func() error, subjects ...string) error {
	a := audit.Action{Admin: c.admin, Name: c.nsid, Subjects: subjects}
	return s.cfg.Audit.Do(c.Context(), a, func(err error) string {
		if err == nil {
			return "ok"
		}
		return ErrorOf(err).Name
	}, act)
}

// onAccount runs an action on the account with a DID, a handle or an e-mail address. It is logged
// with the DID as its subject, so that all actions on an account are found by its DID.
func (s *Server) onAccount(c *call, identifier string, act func(*accounts.Account) error) error {
	a, subject, err := s.subject(c, identifier)
	if err != nil {
		return err
	}
	return s.logged(c, func() error {
		if a == nil {
			return invalid("Account does not exist: " + identifier)
		}
		return act(a)
	}, subject)
}

// subject returns the account with an identifier, nil if there is none, and its name in the audit
// log: its DID, or the normalized identifier if there is no account.
func (s *Server) subject(c *call, identifier string) (*accounts.Account, string, error) {
	a, err := s.cfg.Accounts.Find(c.Context(), identifier)
	switch {
	case err == nil:
		return a, a.DID.String(), nil
	case errors.Is(err, accounts.ErrNotFound):
		return nil, accounts.NormalizeIdentifier(identifier), nil
	}
	return nil, "", err
}

var errAdminNotFound = &Error{http.StatusBadRequest, "NotFound", "Account not found"}

// accountView is com.atproto.admin.defs#accountView, with an empty list of invites if there are
// none.
type accountView struct {
	atproto.AdminDefs_AccountView
	Invites []*atproto.ServerDefs_InviteCode `json:"invites"`
}

func (s *Server) getAccountInfo(c *call, in *didParams) (*accountView, error) {
	view, err := s.accountView(c, syntax.DID(in.Did))
	if errors.Is(err, accounts.ErrNotFound) {
		return nil, errAdminNotFound
	}
	return view, err
}

type didsParams struct {
	Dids []string `json:"dids"`
}

type accountInfosOutput struct {
	Infos []*accountView `json:"infos"`
}

func (s *Server) getAccountInfos(c *call, in *didsParams) (*accountInfosOutput, error) {
	out := &accountInfosOutput{Infos: []*accountView{}}
	for _, id := range in.Dids {
		view, err := s.accountView(c, syntax.DID(id))
		if errors.Is(err, accounts.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Infos = append(out.Infos, view)
	}
	return out, nil
}

func (s *Server) accountView(c *call, id syntax.DID) (*accountView, error) {
	a, err := s.cfg.Accounts.Get(c.Context(), id)
	if err != nil {
		return nil, err
	}
	invited, err := s.cfg.Invites.Of(c.Context(), id)
	if err != nil {
		return nil, err
	}
	view := &accountView{AdminDefs_AccountView: atproto.AdminDefs_AccountView{
		Did: a.DID.String(), Handle: a.Handle.String(), Email: pointer(a.Email),
		IndexedAt: datetime(a.CreatedAt), InvitesDisabled: &invited.Disabled, InviteNote: pointer(invited.Note),
	}, Invites: []*atproto.ServerDefs_InviteCode{}}
	if a.EmailConfirmedAt != nil {
		view.EmailConfirmedAt = pointer(datetime(*a.EmailConfirmedAt))
	}
	if a.DeactivatedAt != nil {
		view.DeactivatedAt = pointer(datetime(*a.DeactivatedAt))
	}
	for _, code := range invited.Own {
		view.Invites = append(view.Invites, inviteCode(code))
	}
	if invited.InvitedBy != nil {
		view.InvitedBy = inviteCode(invited.InvitedBy)
	}
	return view, nil
}

type searchAccountsParams struct {
	Email  *string `json:"email,omitempty"`
	Cursor *string `json:"cursor,omitempty"`
	Limit  int64   `json:"limit"`
}

type searchAccountsOutput struct {
	Accounts []*accountView `json:"accounts"`
	Cursor   *string        `json:"cursor,omitempty"`
}

// searchAccounts finds accounts by a prefix of their e-mail address.
func (s *Server) searchAccounts(c *call, in *searchAccountsParams) (*searchAccountsOutput, error) {
	var page accounts.Page
	var err error
	if email := value(in.Email); email != "" {
		page, err = s.cfg.Accounts.SearchByEmail(c.Context(), email, value(in.Cursor), int(in.Limit))
	} else {
		page, err = s.cfg.Accounts.List(c.Context(), value(in.Cursor), int(in.Limit))
	}
	if errors.Is(err, storage.ErrInvalid) {
		return nil, invalid("Malformed cursor")
	}
	if err != nil {
		return nil, err
	}
	out := &searchAccountsOutput{Accounts: []*accountView{}, Cursor: pointer(page.Cursor)}
	for _, a := range page.Accounts {
		view, err := s.accountView(c, a.DID)
		if errors.Is(err, accounts.ErrNotFound) {
			continue // deleted in the meantime
		}
		if err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, view)
	}
	return out, nil
}

func (s *Server) updateAccountEmail(c *call, in *atproto.AdminUpdateAccountEmail_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Account, func(a *accounts.Account) error {
		return s.cfg.Accounts.Emails().Set(c.Context(), a.DID, in.Email)
	})
}

func (s *Server) updateAccountHandle(c *call, in *atproto.AdminUpdateAccountHandle_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Did, func(a *accounts.Account) error {
		return s.cfg.Accounts.Identity().UpdateHandle(c.Context(), a.DID, in.Handle, true)
	})
}

func (s *Server) updateAccountPassword(c *call, in *atproto.AdminUpdateAccountPassword_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Did, func(a *accounts.Account) error {
		return s.cfg.Accounts.SetPassword(c.Context(), a.DID, in.Password)
	})
}

func (s *Server) updateAccountSigningKey(c *call, in *atproto.AdminUpdateAccountSigningKey_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Did, func(a *accounts.Account) error {
		return s.cfg.Accounts.Identity().SetSigningKey(c.Context(), a.DID, in.SigningKey)
	})
}

func (s *Server) adminDeleteAccount(c *call, in *atproto.AdminDeleteAccount_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Did, func(a *accounts.Account) error {
		return s.cfg.Accounts.DeleteNow(c.Context(), a.DID)
	})
}

func (s *Server) disableAccountInvites(c *call, in *atproto.AdminDisableAccountInvites_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Account, func(a *accounts.Account) error {
		return s.cfg.Invites.SetStanding(c.Context(), a.DID, invites.Standing{Disabled: true, Note: value(in.Note)})
	})
}

func (s *Server) enableAccountInvites(c *call, in *atproto.AdminEnableAccountInvites_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Account, func(a *accounts.Account) error {
		return s.cfg.Invites.SetStanding(c.Context(), a.DID, invites.Standing{Note: value(in.Note)})
	})
}

func (s *Server) disableInviteCodes(c *call, in *atproto.AdminDisableInviteCodes_Input) (*nothing, error) {
	var subjects []string
	for _, identifier := range in.Accounts {
		_, subject, err := s.subject(c, identifier)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject)
	}
	codes := make([]string, len(in.Codes))
	for i, code := range in.Codes {
		codes[i] = invites.Normalize(code)
	}
	return nil, s.logged(c, func() error {
		return s.cfg.Invites.Disable(c.Context(), codes, in.Accounts)
	}, append(subjects, codes...)...)
}

type inviteCodesParams struct {
	Sort   string  `json:"sort"`
	Limit  int64   `json:"limit"`
	Cursor *string `json:"cursor,omitempty"`
}

func (s *Server) getInviteCodes(c *call, in *inviteCodesParams) (*atproto.AdminGetInviteCodes_Output, error) {
	page, err := s.cfg.Invites.List(c.Context(), invites.Sort(in.Sort), value(in.Cursor), int(in.Limit))
	if err != nil {
		return nil, err
	}
	out := &atproto.AdminGetInviteCodes_Output{Codes: []*atproto.ServerDefs_InviteCode{}, Cursor: pointer(page.Cursor)}
	for _, code := range page.Codes {
		out.Codes = append(out.Codes, inviteCode(code))
	}
	return out, nil
}

type subjectParams struct {
	Did  *string `json:"did,omitempty"`
	Uri  *string `json:"uri,omitempty"`
	Blob *string `json:"blob,omitempty"`
}

var errNoSubject = &Error{http.StatusBadRequest, "NotFound", "Subject not found"}

// getSubjectStatus answers for accounts. There are no records and blobs here.
func (s *Server) getSubjectStatus(c *call, in *subjectParams) (*atproto.AdminGetSubjectStatus_Output, error) {
	switch {
	case in.Blob != nil && in.Did == nil:
		return nil, invalid("Must provide a did to request blob state")
	case in.Blob != nil || in.Uri != nil:
		return nil, errNoSubject
	case in.Did == nil:
		return nil, invalid("No provided subject: did must be given")
	}
	id := syntax.DID(*in.Did)
	var takedown *accounts.Takedown
	deactivated := false
	a, err := s.cfg.Accounts.Get(c.Context(), id)
	if err == nil {
		takedown, deactivated = a.Takedown, a.DeactivatedAt != nil
	} else if errors.Is(err, accounts.ErrNotFound) { // takedowns outlast accounts
		takedown, err = s.cfg.Accounts.TakedownOf(c.Context(), id)
	}
	if errors.Is(err, accounts.ErrNotFound) {
		return nil, errNoSubject
	}
	if err != nil {
		return nil, err
	}
	out := &atproto.AdminGetSubjectStatus_Output{
		Subject: &atproto.AdminGetSubjectStatus_Output_Subject{
			AdminDefs_RepoRef: &atproto.AdminDefs_RepoRef{LexiconTypeID: "com.atproto.admin.defs#repoRef", Did: id.String()},
		},
		Takedown:    &atproto.AdminDefs_StatusAttr{},
		Deactivated: &atproto.AdminDefs_StatusAttr{Applied: deactivated},
	}
	if takedown != nil {
		out.Takedown = &atproto.AdminDefs_StatusAttr{Applied: true, Ref: pointer(takedown.Ref)}
	}
	return out, nil
}

func (s *Server) updateSubjectStatus(c *call, in *atproto.AdminUpdateSubjectStatus_Input) (*atproto.AdminUpdateSubjectStatus_Output, error) {
	takedown, deactivated := in.Takedown, in.Deactivated
	if takedown != nil && takedown.Applied && deactivated != nil && !deactivated.Applied {
		return nil, invalid("Cannot activate and takedown an account at the same time")
	}
	ref := in.Subject.AdminDefs_RepoRef
	if ref == nil {
		kind := "of an unknown type" // indigo's decoder drops the name of the type
		switch {
		case in.Subject.RepoStrongRef != nil:
			kind = "com.atproto.repo.strongRef"
		case in.Subject.AdminDefs_RepoBlobRef != nil:
			kind = "com.atproto.admin.defs#repoBlobRef"
		}
		return nil, invalid("Invalid subject (" + kind + "): subject must be a com.atproto.admin.defs#repoRef")
	}
	var u accounts.StatusUpdate
	if takedown != nil {
		u.Takedown, u.Ref = &takedown.Applied, value(takedown.Ref)
	}
	if deactivated != nil {
		u.Deactivated = &deactivated.Applied
	}
	// A takedown outlasts its account, which may be gone.
	err := s.logged(c, func() error {
		_, err := s.cfg.Accounts.TakedownOf(c.Context(), syntax.DID(ref.Did))
		if errors.Is(err, accounts.ErrNotFound) {
			return invalid("Account does not exist: " + ref.Did)
		}
		if err != nil {
			return err
		}
		return s.cfg.Accounts.UpdateStatus(c.Context(), syntax.DID(ref.Did), u)
	}, ref.Did)
	if err != nil {
		return nil, err
	}
	ref.LexiconTypeID = "com.atproto.admin.defs#repoRef"
	return &atproto.AdminUpdateSubjectStatus_Output{
		Subject:  &atproto.AdminUpdateSubjectStatus_Output_Subject{AdminDefs_RepoRef: ref},
		Takedown: takedown,
	}, nil
}

func (s *Server) sendEmail(c *call, in *atproto.AdminSendEmail_Input) (*atproto.AdminSendEmail_Output, error) {
	subject := "Message via your PDS"
	if in.Subject != nil {
		subject = *in.Subject
	}
	err := s.logged(c, func() error {
		err := s.cfg.Accounts.Emails().Send(c.Context(), syntax.DID(in.RecipientDid), subject, in.Content)
		if errors.Is(err, accounts.ErrNotFound) {
			return invalid("Recipient not found")
		}
		return err
	}, in.RecipientDid)
	return &atproto.AdminSendEmail_Output{Sent: err == nil}, err
}
