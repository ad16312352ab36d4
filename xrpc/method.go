package xrpc

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// method is one row of the table. A procedure and a query are declared so:
//
//	procedure("com.atproto.server.createSession", anyone, s.createSession).
//		format("did=did").
//		costs(per(100, 5*time.Minute), per(300, day))
//	query("com.atproto.admin.getInviteCodes", s.admin, s.getInviteCodes).
//		byDefault("limit=100").between("limit", 1, 500)
//
// where a handler has the types of its input and output, mostly indigo's, in its signature,
//
//	func (s *Server) createSession(c *call, in *atproto.ServerCreateSession_Input) (*atproto.ServerCreateSession_Output, error)
//
// and takes or returns *nothing where there is none. Properties are required unless their tag says
// omitempty; unknown ones are dropped. What is declared is looked at once, when the server is made,
// and a mistake in it panics there.
//
// A request goes through the verb, the limits by address (if its method takes no session), the
// reading of its body, auth, the limits of its session, decoding, and the handler. The body is read
// before the caller is looked up, so that a request whose body is held back can't outlast what it
// was let in for.
type method struct {
	nsid    string
	query   bool
	auth    auth
	windows []ratelimit.Window // what it costs beside the limit of all methods
	// read reads the body, if there may be one, and finds fault with its size and encoding.
	read func(c *call) ([]byte, error)
	// prepare decodes the request; the function that it returns answers it.
	prepare func(c *call, body []byte) (answer func() (any, error), err error)
	in      *schema
}

// call is one request on its way.
type call struct {
	*http.Request
	header http.Header // of the answer
	now    func() time.Time
	nsid   string
	ip     netip.Addr
	client ratelimit.Client // who makes the call, to the limits
	caller
	state ratelimit.State // of the tightest limit met so far
	id    string
	// challenges are those of a 401. Nil: bearerChallenge.
	challenges []string
}

// requestID names the call in logs, and to the client if it fails.
func (c *call) requestID() string {
	if c.id == "" {
		c.id = uuid.NewString()
	}
	return c.id
}

// caller is who makes a call, as far as its method asks.
type caller struct {
	// session is that of an access token.
	session *sessions.Auth
	// refresh is a refresh token, good or not.
	refresh string
	// subject is the account that a call without a session turned out to be about.
	subject syntax.DID
	// service is what a service-auth token proved.
	service *sessions.ServiceAuth
	// admin names the admin.
	admin string
}

// did returns the DID on whose behalf the call is made, or an empty one.
func (c *caller) did() syntax.DID {
	if c.session != nil {
		return c.session.Account.DID
	}
	if c.subject != "" {
		return c.subject
	}
	if c.service != nil {
		return c.service.Issuer
	}
	return ""
}

// changes reports whether the method is a procedure. Its verb, which was checked before, tells.
func (c *call) changes() bool { return c.Method == http.MethodPost }

// nothing is the input or output of a method that has none.
type nothing struct{}

// procedure declares a method that takes and answers JSON.
func procedure[In, Out any](nsid string, auth auth, h func(*call, *In) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth, in: inputOf[In](), read: readInput}
	if m.in == nil {
		m.read = noBody
	}
	m.prepare = func(c *call, body []byte) (func() (any, error), error) {
		in := new(In)
		if m.in != nil {
			if err := m.in.decode(body, in); err != nil {
				return nil, err
			}
		}
		return func() (any, error) { return result(h(c, in)) }, nil
	}
	return m
}

// query declares a method that only reads.
func query[Params, Out any](nsid string, auth auth, h func(*call, *Params) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth, query: true, in: inputOf[Params](), read: noBody}
	m.prepare = func(c *call, _ []byte) (func() (any, error), error) {
		in := new(Params)
		if m.in != nil {
			if err := m.in.query(c.URL.Query(), in); err != nil {
				return nil, err
			}
		}
		return func() (any, error) { return result(h(c, in)) }, nil
	}
	return m
}

// inputOf is nil for nothing.
func inputOf[In any]() *schema {
	if reflect.TypeFor[In]() == reflect.TypeFor[nothing]() {
		return nil
	}
	return schemaOf(reflect.TypeFor[In]())
}

// result drops the type of an output, and the output if it is nothing.
func result[Out any](out *Out, err error) (any, error) {
	if _, none := any(out).(*nothing); none || err != nil {
		return nil, err
	}
	return out, nil
}

// format sets formats of properties of the input, as "property=format". The property of an object
// within it is "object/property".
func (m *method) format(pairs ...string) *method {
	for _, p := range pairs {
		name, format, _ := strings.Cut(p, "=")
		if _, ok := formats[format]; !ok {
			panic("xrpc: " + m.nsid + ": there is no format " + format)
		}
		for _, s := range m.properties(name) {
			s.format = format
		}
	}
	return m
}

// typed names properties of the input that are identifiers, or lists of them, as people type and
// paste them. They are normalised before their format is checked, and reach the handler in that
// form.
func (m *method) typed(names ...string) *method {
	for _, name := range names {
		for _, s := range m.properties(name) {
			s.typed = true
		}
	}
	return m
}

// between sets the range of an integer of the input, whose ends belong to it.
func (m *method) between(name string, least, most int64) *method {
	for _, s := range m.properties(name) {
		s.min, s.max = &least, &most
	}
	return m
}

// byDefault says what properties of the input are if they aren't given, as "property=value".
func (m *method) byDefault(pairs ...string) *method {
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		f := m.property(name)
		checked, err := f.schema.check(name, f.schema.read(value))
		if err != nil {
			panic("xrpc: " + m.nsid + ": " + err.Error())
		}
		f.byDefault = checked
	}
	return m
}

// noOthers refuses unknown properties of the input by name, in a message that begins with the given
// words. It is for methods where ignoring a misspelled property would do harm, such as signing
// something that nobody asked for.
func (m *method) noOthers(words string) *method {
	m.in.noOthers = words
	return m
}

// missing lets the handler say what is wrong when a required property is missing.
func (m *method) missing(names ...string) *method {
	for _, name := range names {
		m.property(name).required = false
	}
	return m
}

// property returns a property of the input. A name that it doesn't have is a mistake in the table.
func (m *method) property(name string) *field {
	f := m.in.field(name)
	if f == nil {
		panic("xrpc: " + m.nsid + " has no property " + name)
	}
	return f
}

// properties is property for a path that can lead to several.
func (m *method) properties(path string) []*schema {
	found := m.in.at(path)
	if len(found) == 0 {
		panic("xrpc: " + m.nsid + " has no property " + path)
	}
	return found
}

// costs limits the method for its caller.
func (m *method) costs(windows ...ratelimit.Window) *method {
	m.windows = windows
	return m
}
