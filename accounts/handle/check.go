package handle

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Claimant is who asks for a handle.
type Claimant struct {
	// DID is the DID of the account that asks for the handle. It is empty for a new account, except
	// for one that brings its DID along and has proved that the DID is its own.
	DID syntax.DID
	// New is set at sign-up. An account that exists may ask for a handle that it has already, or that
	// it is about to get.
	New bool
	// Override lets an admin give away handles that the policy refuses, that begin with "xn--", that
	// are reserved, or that are held for another account.
	Override bool
}

// Check returns a handle in its normal form if the claimant may have it as far as the handle itself
// goes: see [Normalize], the [Policy], and the Hostnames of the [Config]. On one of the server's
// domains it needs a label of 3 to 18 characters without a dot. On a foreign domain it has to
// resolve to the claimant's DID. Whether the handle is free is for [Service.CheckFree] to say.
//
// The policy and the resolver may use the network, so it isn't to be called in transactions.
// Errors: [ErrInvalid], [ErrNotAvailable], [ErrUnsupportedDomain], [ErrUnresolved], those of the
// policy.
func (s *Service) Check(ctx context.Context, raw string, who Claimant) (syntax.Handle, error) {
	h, err := Normalize(raw)
	if err != nil {
		return "", err
	}
	c := s.candidate(h, who.DID)
	if !who.Override {
		if err := s.cfg.Policy(ctx, c); err != nil {
			return "", err
		}
	}
	if c.Hosted() {
		err = s.checkHosted(c, who.Override)
	} else {
		err = s.checkForeign(ctx, c)
	}
	if err != nil {
		return "", err
	}
	return h, nil
}

// checkHosted checks a handle on one of the server's domains.
func (s *Service) checkHosted(c Candidate, override bool) error {
	switch {
	case strings.Contains(c.Label, "."):
		return refusal.New(ErrInvalid, "Invalid characters in handle")
	case len(c.Label) < minLabel:
		return refusal.New(ErrInvalid, "Handle too short")
	case len(c.Label) > maxLabel:
		return refusal.New(ErrInvalid, "Handle too long")
	case !override && !s.cfg.AllowPunycode && strings.HasPrefix(c.Label, "xn--"):
		return refusal.New(ErrInvalid, "Internationalized handles (xn--) are not supported")
	case s.isOwn(c.Handle):
		return errReserved
	}
	return nil
}

// checkForeign checks a handle on a foreign domain, whose owner is who its DID says.
func (s *Service) checkForeign(ctx context.Context, c Candidate) error {
	if c.DID == "" {
		return refusal.New(ErrUnsupportedDomain, "Not a supported handle domain")
	}
	if claimed, err := s.Resolve(ctx, c.Handle); err != nil || claimed != c.DID {
		return refusal.New(ErrUnresolved, "External handle did not resolve to DID")
	}
	return nil
}

// isOwn reports whether a name is one of the server's own.
func (s *Service) isOwn(name syntax.Handle) bool {
	return slices.Contains(s.cfg.Hostnames, name.String())
}

// CheckFree refuses a handle, as [Service.Check] returned it, that an admin has reserved, that
// another account has or is about to get, or that is held for another account. Error:
// [ErrNotAvailable].
func (s *Service) CheckFree(tx storage.Tx, h syntax.Handle, who Claimant) error {
	if err := storage.Prefetch(tx, s.Refs(h)...); err != nil {
		return err
	}
	if !who.Override {
		switch reserved, err := isReserved(tx, h); {
		case err != nil:
			return err
		case reserved:
			return errReserved
		}
	}
	owner := who.DID
	if who.New { // which is nobody's yet
		owner = ""
	}
	if err := s.checkOwner(tx, h, owner); err != nil || who.Override {
		return err
	}
	// A DID that a new account brings along shows that it is the former owner. One that is made for
	// the account doesn't, even if it is the same did:web.
	return s.checkHold(tx, h, who.DID)
}

// checkOwner refuses a handle that an account has or is about to get, except for the given one.
func (s *Service) checkOwner(tx storage.Tx, h syntax.Handle, except syntax.DID) error {
	owner, err := s.accounts.HandleOwner(tx, h)
	if err == nil && owner != "" && owner != except {
		err = taken(h)
	}
	return err
}

// checkHold refuses a handle that is held for an account, except for the given one.
func (s *Service) checkHold(tx storage.Tx, h syntax.Handle, except syntax.DID) error {
	former, err := s.heldFor(tx, h)
	if err == nil && former != "" && former != except {
		err = taken(h)
	}
	return err
}

// CheckDID refuses a handle for a new account that brings no DID, if the DID that follows from the
// handle isn't free: whoever had the handle first may have another one by now, and still has the
// DID. Error: [ErrNotAvailable].
func (s *Service) CheckDID(tx storage.Tx, h syntax.Handle) error {
	free, err := s.accounts.DIDFree(tx, h)
	if err == nil && !free {
		err = taken(h)
	}
	return err
}

// Refs refers to the documents that [Service.CheckFree] reads, for [storage.Prefetch].
func (s *Service) Refs(h syntax.Handle) []storage.Ref {
	return append(s.accounts.HandleRefs(h), reservedHandles.Ref(h.String()), heldHandles.Ref(h.String()))
}

// reservedHandle is a handle that only an admin can give to an account.
type reservedHandle struct {
	Handle syntax.Handle `json:"handle"`
}

var reservedHandles = storage.NewCollection("reserved_handles",
	func(h *reservedHandle) string { return h.Handle.String() },
).OwnedBy(storage.OwnerGatehouse)

// Reserve keeps a handle from everybody, unless an admin gives it to an account. An account that
// has the handle keeps it. Error: [ErrInvalid] (source: com.atproto.temp.addReservedHandle).
func (s *Service) Reserve(ctx context.Context, raw string) error {
	h, err := Normalize(raw)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx storage.Tx) error { return reservedHandles.Put(tx, &reservedHandle{h}) })
}

func isReserved(tx storage.Tx, h syntax.Handle) (bool, error) {
	_, err := reservedHandles.Get(tx, h.String())
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
