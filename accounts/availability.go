package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage"
)

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
	handle, hosted, err := CheckHandle(raw, s.handlePolicy(false))
	if err != nil || !hosted || s.isOwn(handle) {
		return false, nil
	}
	if taken, err := s.isReserved(tx, handle); err != nil || taken {
		return false, err
	}
	owner, err := ownerOf(tx, handle)
	if owner != "" || err != nil {
		return false, err
	}
	if former, err := s.formerOwner(tx, handle); former != "" || err != nil {
		return false, err
	}
	namer, ok := s.cfg.DIDs.(did.Namer)
	if !ok {
		return true, nil
	}
	id, err := namer.Name(handle)
	if err != nil {
		return false, err
	}
	// Whoever had the handle first may have another one by now, and still has the DID.
	if _, err = accountsTable.Get(tx, id.String()); err == nil {
		return false, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	t, err := stickyTakedown(tx, id)
	return t == nil, err
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
