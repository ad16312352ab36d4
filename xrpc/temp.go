package xrpc

import (
	"net/http"

	"github.com/bluesky-social/indigo/api/atproto"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
)

type availabilityParams struct {
	Handle    string  `json:"handle"`
	Email     *string `json:"email,omitempty"`
	BirthDate *string `json:"birthDate,omitempty"`
}

func (s *Server) checkHandleAvailability(c *call, in *availabilityParams) (*atproto.TempCheckHandleAvailability_Output, error) {
	if in.Email != nil {
		if _, err := s.cfg.Accounts.Emails().Check(c.Context(), *in.Email); err != nil {
			return nil, invalidEmail(err)
		}
	}
	a, err := s.cfg.Accounts.Handles().Available(c.Context(), in.Handle)
	if err != nil {
		return nil, err
	}
	out := &atproto.TempCheckHandleAvailability_Output{Handle: a.Handle.String(), Result: &atproto.TempCheckHandleAvailability_Output_Result{}}
	if a.Available {
		out.Result.TempCheckHandleAvailability_ResultAvailable = &atproto.TempCheckHandleAvailability_ResultAvailable{}
		return out, nil
	}
	no := &atproto.TempCheckHandleAvailability_ResultUnavailable{Suggestions: []*atproto.TempCheckHandleAvailability_Suggestion{}}
	for _, x := range a.Suggestions {
		no.Suggestions = append(no.Suggestions, &atproto.TempCheckHandleAvailability_Suggestion{Handle: x.Handle.String(), Method: x.Method})
	}
	out.Result.TempCheckHandleAvailability_ResultUnavailable = no
	return out, nil
}

// invalidEmail is what the method's lexicon has for an address that is refused. A policy that
// failed stays a failure.
func invalidEmail(err error) error {
	if e := ErrorOf(err); e.Status != http.StatusBadRequest {
		return err
	}
	return &Error{http.StatusBadRequest, "InvalidEmail", "Invalid email"}
}

// checkSignupQueue answers that the account is activated: there is no queue here.
func (s *Server) checkSignupQueue(*call, *nothing) (*atproto.TempCheckSignupQueue_Output, error) {
	return &atproto.TempCheckSignupQueue_Output{Activated: true}, nil
}

func (s *Server) addReservedHandle(c *call, in *atproto.TempAddReservedHandle_Input) (*atproto.TempAddReservedHandle_Output, error) {
	subject := in.Handle
	if h, err := handle.Normalize(in.Handle); err == nil {
		subject = h.String()
	}
	return &atproto.TempAddReservedHandle_Output{}, s.logged(c, func() error {
		return s.cfg.Accounts.Handles().Reserve(c.Context(), in.Handle)
	}, subject)
}

func (s *Server) revokeAccountCredentials(c *call, in *atproto.TempRevokeAccountCredentials_Input) (*nothing, error) {
	return nil, s.onAccount(c, in.Account, func(a *accounts.Account) error {
		return s.cfg.Accounts.RevokeCredentials(c.Context(), a.DID)
	})
}
