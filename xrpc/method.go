package xrpc

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc/ratelimit"
)

// method is one row of the table: declared with query, procedure and their
// variants, and refined with the methods below.
type method struct {
	nsid  string
	query bool
	auth  authFunc
	limit *limit
	// prepare decodes the request; the function that it returns answers it.
	prepare func(c *call) (in any, answer func() (any, error), err error)
	in      *schema
}

// limit is what a method costs beside the limit of all.
type limit struct {
	windows []ratelimit.Window
	// key says on whose account; empty: the caller's, who is the account of a valid token,
	// or else the address.
	key func(c *call, in any) string
}

// call is one request on its way.
type call struct {
	*http.Request
	header http.Header // of the answer
	nsid   string
	ip     netip.Addr
	caller
	body []byte
}

// caller is who makes a call, as far as its method asks.
type caller struct {
	// session is that of an access token.
	session *sessions.Auth
	// refresh is a refresh token, not yet verified.
	refresh string
	// service is the DID that a service-auth token speaks for.
	service syntax.DID
	// admin names the admin.
	admin string
}

// did returns the DID on whose behalf the call is made, or an empty one.
func (c *caller) did() syntax.DID {
	if c.session != nil {
		return c.session.Account.DID
	}
	return c.service
}

// nothing is the input or output of a method that has none.
type nothing struct{}

// procedure declares a method that takes and answers JSON.
func procedure[In, Out any](nsid string, auth authFunc, h func(*call, *In) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth}
	m.in = inputOf[In]()
	m.prepare = func(c *call) (any, func() (any, error), error) {
		in := new(In)
		if err := readInput(c, m.in, in); err != nil {
			return nil, nil, err
		}
		return in, func() (any, error) { return result(h(c, in)) }, nil
	}
	return m
}

// query declares a method that only reads.
func query[Params, Out any](nsid string, auth authFunc, h func(*call, *Params) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth, query: true}
	m.in = inputOf[Params]()
	m.prepare = func(c *call) (any, func() (any, error), error) {
		in := new(Params)
		if m.in != nil {
			if err := m.in.query(c.URL.Query(), in); err != nil {
				return nil, nil, err
			}
		}
		return in, func() (any, error) { return result(h(c, in)) }, nil
	}
	return m
}

// inputOf is nil for nothing.
func inputOf[In any]() *schema {
	if reflect.TypeFor[In]() == reflect.TypeFor[nothing]() {
		return nil
	}
	return schemaOf(reflect.TypeFor[In](), nil)
}

// result drops the type of an output, and the output if it is nothing.
func result[Out any](out *Out, err error) (any, error) {
	if _, none := any(out).(*nothing); none || err != nil {
		return nil, err
	}
	return out, nil
}

// format sets the format of properties of the input, as "property=format".
func (m *method) format(pairs ...string) *method {
	for _, p := range pairs {
		name, format, _ := strings.Cut(p, "=")
		found := false
		for _, f := range m.in.fields {
			if f.name == name {
				leaf := f.schema
				if leaf.kind == reflect.Slice {
					leaf = leaf.elem
				}
				leaf.format, found = format, true
			}
		}
		if !found {
			panic("xrpc: " + m.nsid + " has no property " + name)
		}
	}
	return m
}

// missing lets the handler say what is wrong when a required property is missing.
func (m *method) missing(names ...string) *method {
	m.in.optional(names)
	return m
}

// costs limits the method for its caller.
func (m *method) costs(windows ...ratelimit.Window) *method {
	m.limit = &limit{windows: windows}
	return m
}

// costsBy limits the method by a key of its own.
func (m *method) costsBy(key func(*call, any) string, windows ...ratelimit.Window) *method {
	m.limit = &limit{windows: windows, key: key}
	return m
}

// maxBody is the most that is read of an input, in bytes, also when it was compressed.
const maxBody = 150 << 10

var errTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Message: "request entity too large"}

// readInput reads, checks and decodes the body of a procedure.
func readInput(c *call, s *schema, into any) error {
	body, err := readBody(c.Request)
	if err != nil {
		return err
	}
	if s == nil {
		if len(body) > 0 {
			return invalid("A request body was provided when none was expected")
		}
		return nil
	}
	contentType := c.Header.Get("Content-Type")
	if contentType == "" {
		if len(body) == 0 {
			return invalid("A request body is expected but none was provided")
		}
		return invalid("Request encoding (Content-Type) required but not provided")
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return invalid(clean("Wrong request encoding (Content-Type): " + contentType))
	}
	if len(body) == 0 {
		return invalid("A request body is expected but none was provided")
	}
	return s.decode("Input", body, into)
}

func readBody(r *http.Request) ([]byte, error) {
	var body io.Reader = r.Body
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		if r.ContentLength > maxBody {
			return nil, errTooLarge
		}
	case "gzip":
		unzipped, err := gzip.NewReader(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return nil, invalid("The request body is not gzip")
		}
		body = unzipped
	default:
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Message: "Unsupported Content-Encoding"}
	}
	b, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	var tooLarge *http.MaxBytesError
	switch {
	case len(b) > maxBody, errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, invalid("The request body could not be read")
	}
	return b, nil
}
