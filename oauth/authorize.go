package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Step is what a browser is shown next.
type Step string

// The steps of an authorization request.
const (
	// StepSignIn asks who the person is. View.Identifier is what can be filled in.
	StepSignIn Step = "sign-in"
	// StepSelect asks which of the accounts in View.SignIns to use.
	StepSelect Step = "select"
	// StepConsent asks whether View.Chosen grants what the client asks for. An account that isn't
	// active is asked even if it doesn't have to be, so that its owner can reactivate it.
	StepConsent Step = "consent"
	// StepAnswer leads back to the client with View.Answer.
	StepAnswer Step = "answer"
)

// View says what a browser is shown next.
type View struct {
	Request *Request
	Step    Step
	// Identifier names the account to sign in to. Empty: the person types it.
	Identifier string
	// Again is whether the account is signed in already, and has to prove it once more.
	Again bool
	// SignIns are the accounts that are signed in on the browser.
	SignIns []device.SignIn
	// Chosen is the account that is asked for consent.
	Chosen *device.SignIn
	// Answer is that of StepAnswer.
	Answer *Answer
}

// Choice is what a person has chosen on the page so far.
type Choice struct {
	// DID is the account that was picked. Empty: none yet.
	DID syntax.DID
	// Another is whether to sign in to another account than those that are signed in.
	Another bool
}

// Next decides what a browser is shown next: whether the person has to sign in, to choose an
// account, or to consent. If nothing has to be asked, the request is answered. The error is an
// [*Error], or one of the store.
func (s *Service) Next(ctx context.Context, r *Request, d *device.Device, choice Choice) (*View, error) {
	v := &View{Request: r, SignIns: d.SignIns}
	who, step := s.choose(v, choice)
	if r.Prompt == PromptNone && step != "" {
		code := codeLoginRequired
		if step == StepSelect {
			code = codeSelectionRequired
		}
		return s.fail(ctx, v, d, refuse(code, "the person has to be asked"))
	}
	if step != "" {
		v.Step = step
		return v, nil
	}
	v.Chosen = who
	if !who.Account.Active() && r.Prompt != PromptNone { // the page offers to reactivate it
		v.Step = StepConsent
		return v, nil
	}
	answer, err := s.accept(ctx, r, d, who.Account.DID, r.Scope, true)
	switch {
	case errors.Is(err, errConsent) && r.Prompt == PromptNone:
		return s.fail(ctx, v, d, errConsent)
	case errors.Is(err, errConsent):
		v.Step = StepConsent
		return v, nil
	case errors.Is(err, errSignInAgain) && r.Prompt == PromptNone: // it has ended just now
		return s.fail(ctx, v, d, errSignInAgain)
	case errors.Is(err, errSignInAgain):
		v.Step, v.Chosen, v.Identifier = StepSignIn, nil, who.Account.Handle.String()
		return v, nil
	case err != nil:
		return nil, err
	}
	v.Answer, v.Step = answer, StepAnswer
	return v, nil
}

// choose returns the account that is used, or the step that has to be taken before it is known.
func (s *Service) choose(v *View, choice Choice) (*device.SignIn, Step) {
	r := v.Request
	var who *device.SignIn
	switch {
	case choice.Another:
		return nil, StepSignIn
	case choice.DID != "":
		if who = signedIn(v.SignIns, func(a *accounts.Account) bool { return a.DID == choice.DID }); who == nil {
			v.Identifier = choice.DID.String()
			return nil, StepSignIn
		}
	case r.LoginHint != "" && r.Prompt != PromptSelect:
		if who = signedIn(v.SignIns, hinted(r.LoginHint)); who == nil {
			v.Identifier = r.LoginHint
			return nil, StepSignIn
		}
	case len(v.SignIns) == 0, r.Prompt == PromptCreate:
		v.Identifier = r.LoginHint
		return nil, StepSignIn
	case len(v.SignIns) == 1 && r.Prompt != PromptSelect:
		who = &v.SignIns[0]
	default:
		return nil, StepSelect
	}
	if !s.recent(r, who) {
		v.Identifier, v.Again = who.Account.Handle.String(), true
		return nil, StepSignIn
	}
	return who, ""
}

// signedIn returns the first sign-in of an account that fits, or nil.
func signedIn(all []device.SignIn, fits func(*accounts.Account) bool) *device.SignIn {
	i := slices.IndexFunc(all, func(si device.SignIn) bool { return fits(si.Account) })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// hinted reports which account a login hint names.
func hinted(hint string) func(*accounts.Account) bool {
	identifier := accounts.NormalizeIdentifier(hint)
	email, err := accounts.NormalizeEmail(hint)
	return func(a *accounts.Account) bool {
		return identifier == a.DID.String() || identifier == a.Handle.String() || err == nil && email == a.Email
	}
}

// recent reports whether a sign-in is recent enough for a request: after the request was opened if
// the client asks for a login, not older than its max_age, and of the last minutes if it asks for
// dangerous permissions. It also has to last until the code has been exchanged.
func (s *Service) recent(r *Request, who *device.SignIn) bool {
	if who.Session.ExpiresAt.Sub(s.now()) < codeLifetime {
		return false
	}
	age := s.now().Sub(who.At)
	switch p := r.record.Params; {
	case p.Prompt == PromptLogin || p.MaxAge == 0:
		return !who.At.Before(r.record.OpenedAt)
	case p.MaxAge > 0 && age > time.Duration(p.MaxAge)*time.Second:
		return !who.At.Before(r.record.OpenedAt)
	}
	return age <= stepUp || !dangerous(r.Items)
}

func dangerous(items []scope.Item) bool {
	return slices.ContainsFunc(items, func(i scope.Item) bool { return i.Risk == scope.Dangerous })
}

// remembered reports whether what an account has granted counts the next time: to a client that
// proves who it is, or that the operator trusts.
func remembered(r *Request) bool { return r.record.AuthKey != "" || r.Client.Trusted }

// alwaysAsks reports whether an account has to be asked for its consent, whatever it has granted
// before.
func alwaysAsks(r *Request) bool { return r.Prompt == PromptConsent || !remembered(r) }

// needsConsentTx reports whether an account has to be asked for its consent: it isn't if it has
// granted all that is asked for before.
func needsConsentTx(tx storage.Tx, r *Request, did syntax.DID) (bool, error) {
	if alwaysAsks(r) {
		return true, nil
	}
	c, err := consents.Get(tx, consentKey(did, r.Client.ID))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	}
	return !r.Scope.Subset(c.Scope), nil
}

// Accept ends a request with a code for the client, on behalf of an account that is signed in on
// the browser. Granted are the parts of the scope that the person has agreed to; parts that weren't
// asked for are ignored, and what isn't optional is granted in any case. The error is an [*Error],
// or one of the store.
func (s *Service) Accept(ctx context.Context, r *Request, d *device.Device, did syntax.DID, granted []string) (*Answer, error) {
	return s.accept(ctx, r, d, did, granted, false)
}

// accept is [Service.Accept]. If the person wasn't asked, it returns errConsent if they have to be,
// which is found out in the transaction that ends the request: a consent that has just been
// withdrawn doesn't count.
func (s *Service) accept(ctx context.Context, r *Request, d *device.Device, did syntax.DID, granted []string, unasked bool) (*Answer, error) {
	if unasked && alwaysAsks(r) { // without a transaction for it
		return nil, errConsent
	}
	who := signedIn(d.SignIns, func(a *accounts.Account) bool { return a.DID == did })
	if who == nil || !s.recent(r, who) {
		return nil, errSignInAgain
	}
	set := grant(r, granted)
	expanded, err := s.cfg.Sets.Expand(ctx, set)
	if err != nil {
		return nil, translate(err)
	}
	secret, err := s.random()
	if err != nil {
		return nil, err
	}
	err = storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		own, refusal, err := s.ownTx(tx, r, d)
		if refusal != nil || err != nil {
			return refusal, err
		}
		via, a, err := s.sessions.BrowserTx(tx, who.Session.ID)
		switch {
		case errors.Is(err, sessions.ErrExpiredToken), errors.Is(err, sessions.ErrAccountTakedown), errors.Is(err, sessions.ErrAccountNotFound):
			return errSignInAgain, nil
		case err != nil:
			return nil, err
		}
		if unasked {
			if needs, err := needsConsentTx(tx, r, a.DID); needs || err != nil {
				return errConsent, err
			}
		}
		now := s.now()
		if err := consentTx(tx, a.DID, r, set, now); err != nil {
			return nil, err
		}
		if err := requests.Delete(tx, own.ID); err != nil {
			return nil, err
		}
		return nil, authCodes.Insert(tx, &authCode{
			Hash: s.hash("code", secret), DID: a.DID, ClientID: own.ClientID, AuthKey: own.AuthKey, Key: own.Key,
			RedirectURI: own.Params.RedirectURI, Challenge: own.Params.Challenge, Granted: set.String(), Scope: expanded.String(),
			Method: via.Method, Browser: via.ID, ExpiresAt: now.Add(codeLifetime),
		})
	})
	if err != nil {
		return nil, err
	}
	a := s.answer(&r.record.Params)
	a.Params.Set("code", secret)
	return a, nil
}

var (
	// errSignInAgain is returned when a person accepts whose sign-in has ended in the meantime.
	errSignInAgain = refuse(codeLoginRequired, "the account is not signed in on this browser any more")
	// errConsent is returned when a request can't be accepted without asking the person.
	errConsent = refuse(codeConsentRequired, "the person has to consent")
)

// grant returns the part of a request's scope that is granted: what is not optional, and what the
// person has ticked.
func grant(r *Request, ticked []string) scope.Set {
	granted := r.Scope.Keep(scope.Set(ticked))
	for _, item := range r.Items {
		if !item.Optional {
			granted = granted.With(scope.Set{item.Scope})
		}
	}
	return granted
}

// Deny ends a request without a grant. The error is an [*Error], or one of the store.
func (s *Service) Deny(ctx context.Context, r *Request, d *device.Device) (*Answer, error) {
	return s.end(ctx, r, d, refuse(codeAccessDenied, "the person has denied the request"))
}

// fail answers a request with an error.
func (s *Service) fail(ctx context.Context, v *View, d *device.Device, e *Error) (*View, error) {
	var err error
	v.Step = StepAnswer
	v.Answer, err = s.end(ctx, v.Request, d, e)
	return v, err
}

// end deletes a request, and returns its answer.
func (s *Service) end(ctx context.Context, r *Request, d *device.Device, e *Error) (*Answer, error) {
	err := storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		own, refusal, err := s.ownTx(tx, r, d)
		if refusal != nil || err != nil {
			return refusal, err
		}
		return nil, requests.Delete(tx, own.ID)
	})
	if err != nil {
		return nil, err
	}
	return s.failed(&r.record.Params, e), nil
}
