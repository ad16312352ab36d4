package handle

import (
	"context"
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Availability is what [Service.Available] finds out about a handle.
type Availability struct {
	// Handle is the handle in its normal form.
	Handle syntax.Handle
	// Available is set if a new account could have the handle.
	Available bool
	// Suggestions are up to five similar handles that are available. There are none if the handle
	// itself is, or if it is on a foreign domain.
	Suggestions []Suggestion
}

// Suggestion is a handle that is available.
type Suggestion struct {
	Handle syntax.Handle
	// Method is how it was made from the handle that isn't available: "suffix" or "prefix".
	Method string
}

const maxSuggestions = 5

// Available reports whether a new account that brings no DID could have a handle, and suggests
// others if it couldn't. Errors: [ErrInvalid] if the handle is malformed, and what keeps the
// [Policy] from deciding (source: com.atproto.temp.checkHandleAvailability).
func (s *Service) Available(ctx context.Context, raw string) (Availability, error) {
	h, err := Normalize(raw)
	if err != nil {
		return Availability{}, err
	}
	allowed, err := s.allowed(ctx, h)
	if err != nil {
		return Availability{}, err
	}
	similar := s.similar(h)
	available := false
	var free []Suggestion
	err = s.store.View(ctx, func(tx storage.Tx) error {
		free = nil
		if allowed {
			var err error
			if available, err = s.isFree(tx, h); available || err != nil {
				return err
			}
		}
		var refs []storage.Ref
		for _, other := range similar {
			refs = append(refs, s.Refs(other.Handle)...)
		}
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		for _, other := range similar {
			ok, err := s.isFree(tx, other.Handle)
			if err != nil {
				return err
			}
			if ok {
				free = append(free, other)
			}
		}
		return nil
	})
	if err != nil || available {
		return Availability{Handle: h, Available: available}, err
	}
	a := Availability{Handle: h}
	for _, other := range free {
		if len(a.Suggestions) == maxSuggestions {
			break
		}
		allowed, err := s.allowed(ctx, other.Handle)
		if err != nil {
			return Availability{}, err
		}
		if allowed {
			a.Suggestions = append(a.Suggestions, other)
		}
	}
	return a, nil
}

// stranger is a new account that brings no DID.
var stranger = Claimant{New: true}

// allowed reports whether a stranger may have a handle, as far as the handle itself goes.
func (s *Service) allowed(ctx context.Context, h syntax.Handle) (bool, error) {
	_, err := s.Check(ctx, h.String(), stranger)
	return unlessRefused(err)
}

// isFree reports whether a stranger could have a handle that is allowed.
func (s *Service) isFree(tx storage.Tx, h syntax.Handle) (bool, error) {
	err := s.CheckFree(tx, h, stranger)
	if err == nil {
		err = s.CheckDID(tx, h)
	}
	return unlessRefused(err)
}

// unlessRefused turns the error of a check into its answer: false if it is a refusal, and the error
// itself if it is a failure.
func unlessRefused(err error) (bool, error) {
	var text interface{ PublicMessage() string }
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &text), errors.Is(err, ErrInvalid), errors.Is(err, ErrNotAvailable), errors.Is(err, ErrUnsupportedDomain):
		return false, nil
	}
	return false, err
}

// similar returns handles that are like another one on the server's domains, the most similar
// first.
func (s *Service) similar(h syntax.Handle) []Suggestion {
	c := s.candidate(h, "")
	base := trimLabel(c.Label, maxLabel-4)
	if base == "" {
		return nil
	}
	var out []Suggestion
	for _, suffix := range []string{"-1", "-2", "-at", "-too", "-here", "-real"} {
		label := base[:min(len(base), maxLabel-len(suffix))] + suffix
		out = append(out, Suggestion{syntax.Handle(label + c.Domain), "suffix"})
	}
	for _, prefix := range []string{"the-", "its-", "im-"} {
		out = append(out, Suggestion{syntax.Handle(prefix + base + c.Domain), "prefix"})
	}
	return out
}

// trimLabel returns the beginning of a label that other labels can be made with: at most longest
// characters, without dots, and without hyphens at its end.
func trimLabel(label string, longest int) string {
	label = strings.ReplaceAll(label, ".", "")
	return strings.TrimRight(label[:min(len(label), longest)], "-")
}
