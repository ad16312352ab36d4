package client

import (
	"context"
	"errors"
	"time"
)

// MaxDocument is the most bytes that a client's metadata document or key set may have.
const MaxDocument = 64 << 10

// Document is a JSON document of another server.
type Document struct {
	Body []byte
	// ContentType is the media type that the server named, in lower case and without parameters.
	ContentType string
	// Lifetime is how long the document may be cached by its headers. It is negative if they don't
	// say, and 0 if the document must not be cached. Whoever caches it keeps to bounds of their own.
	Lifetime time.Duration
}

// Unsaid is the Lifetime of a document whose headers don't say how long it may be cached.
const Unsaid time.Duration = -1

// Fetcher gets JSON documents of other servers by URL. Since clients choose the URLs, it has to
// refuse addresses that aren't public, follow no redirects, and bound what an answer may take, in
// bytes and in time.
//
// Errors: [ErrUnreachable], [ErrUnfit]. If an error has a method PublicMessage() string, developers
// of clients are shown that text.
type Fetcher interface {
	// Get returns the document at a URL, of at most so many bytes.
	Get(ctx context.Context, url string, maxBytes int64) (*Document, error)
}

var (
	// ErrUnreachable is returned if the server of a document can't be reached, is slow or fails,
	// which may be over soon. A copy from before is used meanwhile.
	ErrUnreachable = errors.New("document unreachable")
	// ErrUnfit is returned if a server answers with something else than a document that can be
	// used: another status than 200, a redirect, another type than JSON, or too many bytes. A copy
	// from before isn't used any longer.
	ErrUnfit = errors.New("document unfit")
)
