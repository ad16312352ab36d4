package xrpc

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxBody is the most that is read of an input, in bytes, also when it was compressed.
const maxBody = 150 << 10

var (
	errTooLarge       = &Error{Status: http.StatusRequestEntityTooLarge, Message: "request entity too large"}
	errUnreadableBody = invalid("The request body could not be read")
	errUnexpectedBody = invalid("A request body was provided when none was expected")
	errMissingBody    = invalid("A request body is expected but none was provided")
)

// readInput reads the body of a procedure that takes JSON.
func readInput(c *call) ([]byte, error) {
	body, err := readBody(c.Request)
	if err != nil {
		return nil, err
	}
	media, _, _ := strings.Cut(c.Header.Get("Content-Type"), ";")
	media = strings.TrimSpace(media)
	switch {
	case len(body) == 0:
		return nil, errMissingBody
	case media == "":
		return nil, invalid("Request encoding (Content-Type) required but not provided")
	case !strings.EqualFold(media, "application/json"):
		return nil, invalid("Wrong request encoding (Content-Type): " + media)
	}
	return body, nil
}

// noBody makes sure that a request has none, or an empty one.
func noBody(c *call) ([]byte, error) {
	r := c.Request
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return nil, nil
	case r.ContentLength > 0:
		return nil, errUnexpectedBody
	}
	var first [1]byte // a chunked body can be empty
	switch _, err := io.ReadFull(r.Body, first[:]); {
	case err == nil:
		return nil, errUnexpectedBody
	case errors.Is(err, io.EOF):
		return nil, nil
	}
	return nil, errUnreadableBody
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil { // a request that didn't come over the network
		return nil, nil
	}
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	var body io.Reader = http.MaxBytesReader(nil, r.Body, maxBody)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, invalid("The request body is not gzip")
		}
		body = io.LimitReader(unzipped, maxBody+1)
	default:
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Message: "unsupported content-encoding"}
	}
	b, err := io.ReadAll(body)
	var tooLarge *http.MaxBytesError
	switch {
	case len(b) > maxBody, errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, errUnreadableBody
	}
	return b, nil
}
