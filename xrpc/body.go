package xrpc

import (
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/httpbody"
)

var (
	errUnexpectedBody = invalid("A request body was provided when none was expected")
	errMissingBody    = invalid("A request body is expected but none was provided")
)

// readInput reads the body of a procedure that takes JSON.
func readInput(c *call) ([]byte, error) {
	body, unread := httpbody.Read(c.Request)
	if unread != nil {
		return nil, unreadable(unread)
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

// noBody returns an error if a request has a body that isn't empty.
func noBody(c *call) ([]byte, error) {
	switch empty, unread := httpbody.IsEmpty(c.Request); {
	case unread != nil:
		return nil, unreadable(unread)
	case !empty:
		return nil, errUnexpectedBody
	}
	return nil, nil
}

func unreadable(e *httpbody.Error) error { return &Error{Status: e.Status, Message: e.Message} }
