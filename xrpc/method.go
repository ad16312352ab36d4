package xrpc

import (
	"net/http"
	"net/netip"
	"reflect"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/httplimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// method is one row of the table: what is true of a method beside what its lexicon says. A
// procedure and a query are declared like this:
//
//	procedure("com.atproto.server.createAccount", newcomer, (*Server).createAccount).
//		typed("handle").
//		costs(per(100, 5*time.Minute), per(300, day))
//	query("com.atproto.server.describeServer", anyone, (*Server).describeServer)
//
// A handler has the types of its input and output, mostly indigo's, in its signature,
//
//	func (s *Server) createSession(c *call, in *atproto.ServerCreateSession_Input) (*atproto.ServerCreateSession_Output, error)
//
// and takes or returns *nothing if there is none. The properties of the input, their formats,
// ranges and defaults, and which of them are required, are in the lexicon, which the type of the
// input has to fit. Unknown properties are dropped.
//
// These steps follow each other: check the verb, charge the client's address (for methods that take
// no session), read the body, authenticate, charge the session, decode, handle. The body is read
// before the caller is authenticated, so that a client that sends its body slowly can't use a
// session after it has ended.
type method struct {
	nsid    string
	query   bool
	auth    auth
	windows []ratelimit.Window // its limit beside the one on all requests
	// isProtected and isPrivileged are rules for service tokens: see [sessions.ServiceAuthRules].
	isProtected, isPrivileged bool
	// read reads the body and checks its size and encoding, or checks that there is none.
	read func(c *call) ([]byte, error)
	// prepare decodes the input, and returns a function that calls the handler.
	prepare func(s *Server, c *call, body []byte) (answer func() (any, error), err error)
	// goType is the type of the input, nil if there is none.
	goType     reflect.Type
	typedPaths []string // the properties named in typed
	unknown    string   // the words given to noOthers
	in         *schema  // compiled from the lexicon; nil if there is no input
}

// call is one request.
type call struct {
	*http.Request
	header http.Header // of the answer
	nsid   string
	ip     netip.Addr
	client ratelimit.Client // who makes the call, to the limits
	caller
	limits httplimit.Headers
	id     string
	// challenges are sent with a 401. Nil: those of what takes access tokens.
	challenges []string
	dpop       dpopUse
}

// requestID returns the ID of the call in logs, which the client receives if the call fails.
func (c *call) requestID() string {
	if c.id == "" {
		c.id = uuid.NewString()
	}
	return c.id
}

// caller is who makes a call, as far as its method has to know.
type caller struct {
	// session is the session of an access or refresh token.
	session *sessions.Auth
	// refresh is a refresh token, which the handler has yet to verify.
	refresh *sessions.RefreshToken
	// subject is the account that a call without a session has signed up or logged in, for the log.
	subject syntax.DID
	// service is what a service-auth token proves.
	service *sessions.ServiceAuth
	// admin is the name of the admin.
	admin string
}

// did returns the DID on whose behalf the call is made, or "" if that isn't known.
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

// changes reports whether the method is a procedure, by its verb, which was checked before.
func (c *call) changes() bool { return c.Method == http.MethodPost }

// nothing is the input or output of a method that has none.
type nothing struct{}

// procedure declares a method that changes something. Its input is JSON.
func procedure[In, Out any](nsid string, auth auth, h func(*Server, *call, *In) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth, goType: inputType[In](), read: readInput}
	if m.goType == nil {
		m.read = noBody
	}
	m.prepare = func(s *Server, c *call, body []byte) (func() (any, error), error) {
		in := new(In)
		if m.in != nil {
			if err := m.in.decode(body, in); err != nil {
				return nil, err
			}
		}
		return func() (any, error) { return result(h(s, c, in)) }, nil
	}
	return m
}

// query declares a method that only reads. Its input is in the query parameters.
func query[Params, Out any](nsid string, auth auth, h func(*Server, *call, *Params) (*Out, error)) *method {
	m := &method{nsid: nsid, auth: auth, query: true, goType: inputType[Params](), read: noBody}
	m.prepare = func(s *Server, c *call, _ []byte) (func() (any, error), error) {
		in := new(Params)
		if m.in != nil {
			if err := m.in.query(c.URL.Query(), in); err != nil {
				return nil, err
			}
		}
		return func() (any, error) { return result(h(s, c, in)) }, nil
	}
	return m
}

// inputType returns the Go type of an input, or nil for nothing.
func inputType[In any]() reflect.Type {
	if reflect.TypeFor[In]() == reflect.TypeFor[nothing]() {
		return nil
	}
	return reflect.TypeFor[In]()
}

// result returns an output of any type, or nil for nothing.
func result[Out any](out *Out, err error) (any, error) {
	if _, none := any(out).(*nothing); none || err != nil {
		return nil, err
	}
	return out, nil
}

// typed names properties of the input that hold identifiers, or lists of them, which people type or
// paste. They are normalized before their format is checked, and reach the handler in normalized
// form. A property of an object within the input is "object/property".
func (m *method) typed(paths ...string) *method {
	m.typedPaths = append(m.typedPaths, paths...)
	return m
}

// noOthers refuses inputs with unknown properties, in a message that begins with the given words
// and names the property. It is for methods where ignoring a misspelled property would do harm,
// such as signing something that nobody asked for.
func (m *method) noOthers(words string) *method {
	m.unknown = words
	return m
}

// costs limits how often one caller may call the method.
func (m *method) costs(windows ...ratelimit.Window) *method {
	m.windows = windows
	return m
}

// protected declares that the method manages an account and is called with a session only, so that
// no session gets a service token for it.
func (m *method) protected() *method {
	m.isProtected = true
	return m
}

// privileged declares that a plain app password gets no service token for the method.
func (m *method) privileged() *method {
	m.isPrivileged = true
	return m
}
