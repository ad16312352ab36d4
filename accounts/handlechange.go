package accounts

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// UpdateHandle gives an account another handle, in its DID first: if what follows is cut short, doing
// it again ends it, and if it is refused, the DID gets the old handle back. A handle on a foreign domain has to resolve to the
// account's DID, and a did:web that isn't hosted here has to name it already. AllowReserved lets an admin give reserved and offensive handles. Errors: [ErrNotFound],
// [ErrInvalidHandle], [ErrHandleNotAvailable], [ErrInvalidRequest], [ErrDirectory]
// (source: com.atproto.identity.updateHandle).
func (s *Service) UpdateHandle(ctx context.Context, id syntax.DID, raw string, allowReserved bool) error {
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	handle, err := s.checkHandle(ctx, raw, id, allowReserved)
	if err != nil {
		return err
	}
	free := func(tx storage.Tx) error {
		if !allowReserved {
			switch reserved, err := s.isReserved(tx, handle); {
			case err != nil:
				return err
			case reserved:
				return errReserved
			}
		}
		owner, err := accountsTable.GetBy(tx, "handle", handle.String())
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil
		case err != nil:
			return err
		case owner.DID != id:
			return refusal.Newf(ErrHandleNotAvailable, "Handle already taken: %s", handle)
		}
		return nil
	}
	if err := s.store.View(ctx, free); err != nil {
		return err
	}
	if id.Method() != "plc" && !s.hostedWeb(id) {
		if err := s.checkDeclared(ctx, id, handle); err != nil {
			return err
		}
	}
	return s.changeWithDID(ctx, id, HandleChanged,
		func(op *did.Operation) { op.SetHandle(handle) },
		func(tx storage.Tx, r *record) error {
			if err := free(tx); err != nil {
				return err
			}
			r.Handle = handle
			return nil
		},
		func(op *did.Operation, a *Account) { op.SetHandle(a.Handle) },
	)
}

// checkDeclared refuses a handle that a DID, which only its owner can change, doesn't name.
func (s *Service) checkDeclared(ctx context.Context, id syntax.DID, handle syntax.Handle) error {
	ident, err := s.identity(ctx, id)
	if err != nil {
		return refusal.New(ErrInvalidRequest, "Could not resolve DID")
	}
	if declared, err := ident.DeclaredHandle(); err != nil || declared.Normalize() != handle {
		return refusal.New(ErrInvalidRequest, "DID is not properly configured for handle")
	}
	return nil
}

// ResolveHandle returns the DID of a handle: an account's here, or what the network
// says. Error: [ErrHandleNotFound] (source: com.atproto.identity.resolveHandle).
func (s *Service) ResolveHandle(ctx context.Context, raw string) (syntax.DID, error) {
	handle, err := NormalizeHandle(raw)
	if err != nil {
		return "", err
	}
	a, err := s.Find(ctx, handle.String())
	if err == nil && a.Takedown == nil {
		return a.DID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	notFound := refusal.New(ErrHandleNotFound, "Unable to resolve handle")
	if _, hosted := hostedLabel(handle, s.cfg.HandleDomains); hosted || err == nil || s.cfg.Handles == nil {
		return "", notFound
	}
	id, err := s.cfg.Handles.ResolveHandle(ctx, handle)
	if err != nil {
		return "", notFound
	}
	return id, nil
}

// ErrHandleNotFound says that a handle leads to no DID.
var ErrHandleNotFound = errors.New("accounts: handle not found")

// HandleAvailable reports whether a new account could have a handle; if not, it
// suggests others like it (source: com.atproto.temp.checkHandleAvailability).
func (s *Service) HandleAvailable(ctx context.Context, raw string) (syntax.Handle, bool, []Suggestion, error) {
	handle, err := NormalizeHandle(raw)
	if err != nil {
		return "", false, nil, err
	}
	label, hosted := hostedLabel(handle, s.cfg.HandleDomains)
	domain := s.cfg.HandleDomains[0]
	if hosted {
		domain = string(handle)[len(label):]
	}
	available := false
	var suggestions []Suggestion
	err = s.store.View(ctx, func(tx storage.Tx) error {
		suggestions = nil
		free, err := s.couldHave(tx, string(handle))
		if available = free && hosted; err != nil || available {
			return err
		}
		for _, try := range similar(label) {
			free, err := s.couldHave(tx, try.Handle+domain)
			if err != nil {
				return err
			}
			if free {
				suggestions = append(suggestions, Suggestion{try.Handle + domain, try.Method})
			}
			if len(suggestions) == maxSuggestions {
				break
			}
		}
		return nil
	})
	return handle, available, suggestions, err
}

// Suggestion is a handle that is free, and how it was found.
type Suggestion struct {
	Handle string
	Method string
}

const maxSuggestions = 5

// couldHave reports whether a handle may be had and is free.
func (s *Service) couldHave(tx storage.Tx, raw string) (bool, error) {
	handle, hosted, err := CheckHandle(raw, s.cfg.HandleDomains, false)
	if err != nil || !hosted {
		return false, nil
	}
	if taken, err := s.isReserved(tx, handle); err != nil || taken {
		return false, err
	}
	_, err = accountsTable.GetBy(tx, "handle", handle.String())
	if errors.Is(err, storage.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// similar makes labels like another, the nearest first.
func similar(label string) []Suggestion {
	base := cutLabel(label, maxLabel-4)
	var out []Suggestion
	for _, suffix := range []string{"-1", "-2", "-at", "-too", "-here", "-real"} {
		out = append(out, Suggestion{base[:min(len(base), maxLabel-len(suffix))] + suffix, "suffix"})
	}
	for _, prefix := range []string{"the-", "its-", "im-"} {
		out = append(out, Suggestion{prefix + base, "prefix"})
	}
	return out
}

// cutLabel leaves of a label what can begin another.
func cutLabel(label string, longest int) string {
	b := []byte{}
	for i := range len(label) {
		if label[i] != '.' && len(b) < longest {
			b = append(b, label[i])
		}
	}
	for len(b) > 0 && b[len(b)-1] == '-' {
		b = b[:len(b)-1]
	}
	return string(b)
}

// reservedHandle is a handle that an admin keeps from being taken.
type reservedHandle struct {
	Handle syntax.Handle `json:"handle"`
}

var reservedHandles = storage.NewCollection("reserved_handles", func(h *reservedHandle) string { return h.Handle.String() })

// ReserveHandle keeps a handle from being taken, but by an admin
// (source: com.atproto.temp.addReservedHandle).
func (s *Service) ReserveHandle(ctx context.Context, raw string) error {
	handle, err := NormalizeHandle(raw)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx storage.Tx) error { return reservedHandles.Put(tx, &reservedHandle{handle}) })
}

var errReserved = refusal.New(ErrHandleNotAvailable, "Reserved handle")

// isReserved reports whether only an admin gives a handle: one that was reserved, or a host name of
// the server. Whoever had that would, with a did:web, have the server's DID.
func (s *Service) isReserved(tx storage.Tx, handle syntax.Handle) (bool, error) {
	if _, hosted := hostedLabel(handle, s.cfg.HandleDomains); hosted && s.isOwnName(handle) {
		return true, nil
	}
	_, err := reservedHandles.Get(tx, handle.String())
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (s *Service) isOwnName(handle syntax.Handle) bool {
	host, _, _ := strings.Cut(s.cfg.Hostname, ":")
	endpoint, err := url.Parse(s.cfg.Endpoint)
	return strings.EqualFold(handle.String(), host) || err == nil && strings.EqualFold(handle.String(), endpoint.Hostname())
}
