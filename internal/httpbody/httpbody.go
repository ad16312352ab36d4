// Package httpbody reads the bodies of requests.
package httpbody

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Max is the maximum size of a body in bytes, before and after decompression.
const Max = 150 << 10

// Error says why a body can't be read.
type Error struct {
	Status  int    // the HTTP status of the response
	Message string // for the client
}

var (
	errTooLarge   = &Error{http.StatusRequestEntityTooLarge, "request entity too large"}
	errUnreadable = &Error{http.StatusBadRequest, "The request body could not be read"}
	errNotGzip    = &Error{http.StatusBadRequest, "The request body is not gzip"}
	errEncoding   = &Error{http.StatusUnsupportedMediaType, "unsupported content-encoding"}
)

// Read returns the body of a request, which may be compressed with gzip.
func Read(r *http.Request) ([]byte, *Error) {
	if r.Body == nil { // a request that didn't come over the network
		return nil, nil
	}
	if r.ContentLength > Max {
		return nil, errTooLarge
	}
	var body io.Reader = http.MaxBytesReader(nil, r.Body, Max)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, errNotGzip
		}
		body = io.LimitReader(unzipped, Max+1)
	default:
		return nil, errEncoding
	}
	b, err := io.ReadAll(body)
	var tooLarge *http.MaxBytesError
	switch {
	case len(b) > Max, errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, errUnreadable
	}
	return b, nil
}

// IsEmpty reports whether a request has no body, or one of no bytes. The error is that of reading
// the first byte.
func IsEmpty(r *http.Request) (bool, *Error) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return true, nil
	case r.ContentLength > 0:
		return false, nil
	}
	var first [1]byte // a chunked body can be empty
	switch _, err := io.ReadFull(r.Body, first[:]); {
	case err == nil:
		return false, nil
	case errors.Is(err, io.EOF):
		return true, nil
	}
	return false, errUnreadable
}
