package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/gatehouse-at/gatehouse/internal/httpbody"
)

// maxParams is the maximum size in bytes of the parameters of a request.
const maxParams = 64 << 10

// bodyError says why the body of a request isn't a list of parameters.
type bodyError struct {
	status int
	text   string
}

func (e *bodyError) Error() string { return e.text }

var (
	errBodyTooLarge = &bodyError{http.StatusRequestEntityTooLarge, "the request body is larger than 64 KiB"}
	errBodyType     = &bodyError{http.StatusUnsupportedMediaType, "the Content-Type must be application/x-www-form-urlencoded or application/json"}
	errFormType     = &bodyError{http.StatusUnsupportedMediaType, "the Content-Type must be application/x-www-form-urlencoded"}
	errBadForm      = &bodyError{http.StatusBadRequest, "the request body is not a valid form"}
	errBadJSON      = &bodyError{http.StatusBadRequest, "the request body is not a JSON object of texts"}
	errDoubled      = &bodyError{http.StatusBadRequest, "a parameter occurs more than once"}
)

// readParams reads the parameters of a request to an endpoint: a form, or a JSON object (source:
// the reference server takes both). A parameter that occurs more than once is an error (RFC 6749,
// section 3.1).
func readParams(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !oneOf(kind, "application/x-www-form-urlencoded", "application/json") {
		return nil, errBodyType
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if kind == "application/json" {
		return parseObject(body)
	}
	return parseForm(body)
}

// readForm reads a form of a page, in which a field may occur several times.
func readForm(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errFormType
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errBadForm
	}
	return values, nil
}

func readBody(r *http.Request) ([]byte, error) {
	body, unread := httpbody.Read(r)
	switch {
	case unread != nil && unread.Status == http.StatusRequestEntityTooLarge, len(body) > maxParams:
		return nil, errBodyTooLarge
	case unread != nil:
		return nil, &bodyError{unread.Status, unread.Message}
	}
	return body, nil
}

func parseForm(body []byte) (url.Values, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errBadForm
	}
	for _, list := range values {
		if len(list) > 1 {
			return nil, errDoubled
		}
	}
	return values, nil
}

// parseObject reads parameters from a JSON object. Numbers and booleans stand for their texts.
func parseObject(body []byte) (url.Values, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errBadJSON
	}
	values := url.Values{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, errBadJSON
		}
		name, _ := key.(string) // the decoder takes nothing else for a key
		value, err := d.Token()
		if err != nil {
			return nil, errBadJSON
		}
		if values.Has(name) {
			return nil, errDoubled
		}
		switch value := value.(type) {
		case string:
			values.Set(name, value)
		case json.Number:
			values.Set(name, value.String())
		case bool:
			values.Set(name, map[bool]string{true: "true", false: "false"}[value])
		case nil: // as if it weren't there
		default:
			return nil, errBadJSON
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errBadJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errBadJSON
	}
	return values, nil
}
