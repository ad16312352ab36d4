package handle

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

func TestSuggestionsAreAvailable(t *testing.T) {
	const somebody syntax.DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	s := newService(t, owners{
		of:  map[syntax.Handle]syntax.DID{"alice.test": somebody, "alice-1.test": somebody},
		did: map[syntax.Handle]bool{"alice-2.test": true},
	}, func(c *Config) {
		c.Hostnames = []string{"alice-at.test"}
		c.Policy = func(ctx context.Context, c Candidate) error {
			if c.Label == "alice-too" {
				return refusal.New(ErrInvalid, "not this one")
			}
			return DefaultPolicy(ctx, c)
		}
	})
	for raw, want := range map[string]Availability{
		"@Bob.test":         {Handle: "bob.test", Available: true},
		"alice.test":        {Handle: "alice.test", Suggestions: []Suggestion{{"alice-here.test", "suffix"}, {"alice-real.test", "suffix"}, {"the-alice.test", "prefix"}, {"its-alice.test", "prefix"}, {"im-alice.test", "prefix"}}},
		"ad-min.test":       {Handle: "ad-min.test", Suggestions: []Suggestion{{"ad-min-at.test", "suffix"}, {"ad-min-too.test", "suffix"}, {"ad-min-here.test", "suffix"}, {"ad-min-real.test", "suffix"}, {"the-ad-min.test", "prefix"}}},
		"alice.example.com": {Handle: "alice.example.com"},
		"alice.bob.pds.example.com": {Handle: "alice.bob.pds.example.com", Suggestions: []Suggestion{
			{"alicebob-1.pds.example.com", "suffix"}, {"alicebob-2.pds.example.com", "suffix"}, {"alicebob-at.pds.example.com", "suffix"}, {"alicebob-too.pds.example.com", "suffix"}, {"alicebob-here.pds.example.com", "suffix"}}},
		"abcdefghijklm-nopqrs.test": {Handle: "abcdefghijklm-nopqrs.test", Suggestions: []Suggestion{
			{"abcdefghijklm-1.test", "suffix"}, {"abcdefghijklm-2.test", "suffix"}, {"abcdefghijklm-at.test", "suffix"}, {"abcdefghijklm-too.test", "suffix"}, {"abcdefghijklm-here.test", "suffix"}}},
	} {
		got, err := s.Available(t.Context(), raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
		for _, other := range got.Suggestions {
			if a, err := s.Available(t.Context(), other.Handle.String()); err != nil || !a.Available {
				t.Errorf("%s is suggested, and isn't available: %+v, %v", other.Handle, a, err)
			}
		}
	}
	if _, err := s.Available(t.Context(), "alice"); !errors.Is(err, ErrInvalid) {
		t.Errorf("what is no handle: %v", err)
	}
}
