package accounts

import (
	"context"
	_ "embed"
	"errors"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// reserved.txt lists words that would let their owner pass for the server or for someone
// well known, or whose host name means something to machines (RFC 2142, RFC 6761,
// RFC 8461 and the like). One on each line, sorted, without hyphens.
//
//go:embed reserved.txt
var reservedList string

var reservedWords = sync.OnceValue(func() map[string]bool { return wordSet(reservedList) })

// reserved reports whether a label in lower case is a reserved word, with or without
// hyphens in it.
func reserved(label string) bool {
	return reservedWords()[strings.ReplaceAll(label, "-", "")]
}

// wordSet reads a list of words, one on each line.
func wordSet(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.Lines(list) {
		set[strings.TrimSpace(word)] = true
	}
	return set
}

// reservedHandle is a handle that an admin keeps from being taken.
type reservedHandle struct {
	Handle syntax.Handle `json:"handle"`
}

var reservedHandles = storage.NewCollection("reserved_handles", func(h *reservedHandle) string { return h.Handle.String() }).OwnedBy(storage.OwnerGatehouse)

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

func (s *Service) isReserved(tx storage.Tx, handle syntax.Handle) (bool, error) {
	_, err := reservedHandles.Get(tx, handle.String())
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
