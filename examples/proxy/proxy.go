package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

const (
	userAgent   = "gatehouse-proxy/" + gatehouse.Version
	maxRequest  = 10 << 20         // bytes of the body of a request
	maxResponse = 10 << 20         // bytes of the body of a response
	timeout     = 60 * time.Second // of a request, including its response
	maxRunning  = 1000             // requests at the same time, each of which has two connections
	maxOfOne    = 20               // requests of one account at the same time
)

// budget limits the requests of an account, and separately those of each of its app passwords and
// OAuth clients.
var budget = ratelimit.Window{Points: 3000, Per: 5 * time.Minute}

// The headers that are passed on, which are the same as in the reference server. All others are
// dropped: the client's credentials, cookies and addresses, and what concerns only its connection
// to this server.
var (
	requestHeaders  = []string{"Accept-Encoding", "Accept-Language", "Atproto-Accept-Labelers", "X-Bsky-Topics"}
	bodyHeaders     = []string{"Content-Type", "Content-Encoding"}
	responseHeaders = []string{"Content-Type", "Content-Encoding", "Content-Language", "Atproto-Repo-Rev", "Atproto-Content-Labelers", "Retry-After"}
)

// proxy is a Fallback that passes requests on to the services that they name.
type proxy struct {
	srv       *gatehouse.Server
	appView   *service          // for requests that name no service; if nil, they are refused
	transport http.RoundTripper // decides which addresses may be connected to
	timeout   time.Duration
	meter     ratelimit.Meter
	turns     turns
}

// newProxy returns a proxy for a server. If appView is empty, requests that name no service are
// refused.
func newProxy(srv *gatehouse.Server, appView string) (*proxy, error) {
	p := &proxy{srv: srv, transport: publicTransport(), timeout: timeout}
	p.meter.Limiter = ratelimit.NewMemory(ratelimit.Config{})
	if appView != "" {
		to, err := parseService(appView)
		if err != nil {
			return nil, err
		}
		p.appView = &to
	}
	return p, nil
}

// ServeHTTP checks the request, and then who makes it, before it contacts any other server.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nsid, to, err := p.destination(r)
	if err != nil {
		refuse(w, err)
		return
	}
	p.srv.RequireAuth()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.pass(w, r, nsid, to); err != nil {
			if e := new(failure); !errors.As(err, &e) && r.Context().Err() == nil {
				slog.WarnContext(r.Context(), "not proxied", "method", nsid, "service", to, "error", err)
			}
			refuse(w, err)
		}
	})).ServeHTTP(w, r)
}

// destination returns the method that a request calls, and the service that it names.
func (p *proxy) destination(r *http.Request) (nsid syntax.NSID, to service, err error) {
	nsid, err = syntax.ParseNSID(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/xrpc/"), "/"))
	if err != nil {
		return "", to, &failure{http.StatusBadRequest, "InvalidRequest", "invalid xrpc path"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return "", to, &failure{http.StatusBadRequest, "InvalidRequest", "XRPC requests only supports GET and POST"}
	}
	// In HTTP/2 a query can contain characters that would end the request line of HTTP/1.
	if strings.ContainsFunc(r.URL.RawQuery, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", to, &failure{http.StatusBadRequest, "InvalidRequest", "invalid query"}
	}
	switch named := r.Header.Values("Atproto-Proxy"); {
	case len(named) > 1:
		return "", to, &failure{http.StatusBadRequest, "InvalidRequest", "invalid proxy header format"}
	case len(named) == 1:
		if to, err = parseService(named[0]); err != nil {
			return "", to, &failure{http.StatusBadRequest, "InvalidRequest", err.Error()}
		}
		return nsid, to, nil
	case p.appView == nil:
		return "", to, &failure{http.StatusNotImplemented, "MethodNotImplemented", "Method Not Implemented: " + nsid.String() +
			" isn't served here; to have another service answer, name it in an atproto-proxy header"}
	}
	return nsid, *p.appView, nil
}

// pass passes a request on, and the response back. It returns an error only if it hasn't written
// any part of a response. After that it closes the connection on an error, so that the client
// learns that the response is incomplete.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request, nsid syntax.NSID, to service) error {
	ctx, cancel := context.WithTimeout(r.Context(), p.timeout)
	defer cancel()
	auth := gatehouse.Auth(ctx)
	if err := p.meter.Charge(ctx, "proxy "+payer(auth), budget); err != nil {
		return err
	}
	if !p.turns.take(auth.Account.DID) {
		return &failure{http.StatusTooManyRequests, "RateLimitExceeded", "Too many requests at the same time"}
	}
	defer p.turns.giveBack(auth.Account.DID)

	out, err := p.request(ctx, r, nsid, to, auth)
	if err != nil {
		return err
	}
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if ctx.Err() != nil { // a service may answer properly when the proxy hangs up
		return ctx.Err()
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode < 200, resp.StatusCode >= 300 && resp.StatusCode < 400:
		return &failure{http.StatusBadGateway, "UpstreamFailure", "Upstream service answered with a redirect"}
	case resp.StatusCode >= 400 && media != "application/json": // an error page of a proxy in between
		return &failure{statusOf(resp), "UpstreamFailure", "Upstream service answered " + strconv.Itoa(resp.StatusCode)}
	case resp.ContentLength > maxResponse:
		return &failure{http.StatusBadGateway, "UpstreamFailure", "Upstream service answered too much"}
	}
	h := w.Header()
	for _, name := range responseHeaders {
		if values := resp.Header.Values(name); len(values) > 0 {
			h.Set(name, strings.Join(values, ", "))
		}
	}
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	if media == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	// The response has this server's origin and can contain anything, so browsers mustn't show it
	// as a page.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.WriteHeader(statusOf(resp))
	// The same goes for the rest of a response.
	if _, err := io.Copy(w, http.MaxBytesReader(nil, resp.Body, maxResponse)); err != nil || ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// payer returns the key of the budget to which a request is charged.
func payer(auth *sessions.Auth) string {
	id := auth.Account.DID.String()
	switch {
	case auth.Client != nil:
		return id + " oauth " + auth.Client.ID
	case auth.Session != nil:
		return id + " " + auth.Session.AppPassword
	}
	return id
}

// request returns the request that is sent to the service.
func (p *proxy) request(ctx context.Context, r *http.Request, nsid syntax.NSID, to service, auth *sessions.Auth) (*http.Request, error) {
	if r.ContentLength > maxRequest {
		return nil, &failure{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "request entity too large"}
	}
	u, err := endpoint(ctx, p.srv, to)
	if err != nil {
		return nil, err
	}
	// The token is valid for this method of this service, and for a minute. ServiceToken refuses
	// methods that manage an account, and those that the session of an app password may not call. An
	// OAuth client needs a permission for the method of this service.
	token, err := p.srv.Sessions.ServiceToken(ctx, auth, sessions.ServiceTokenParams{
		Audience: to.did.String(), Service: to.id, Method: nsid.String(),
	})
	switch {
	case errors.Is(err, sessions.ErrInvalidRequest):
		return nil, &failure{http.StatusBadRequest, "InvalidToken", "Bad token method"}
	case errors.Is(err, sessions.ErrScopeMissing):
		e := xrpc.ErrorOf(err)
		return nil, &failure{e.Status, e.Name, e.Message}
	}
	if err != nil {
		return nil, fmt.Errorf("making a service token: %w", err)
	}
	u.Path, u.RawQuery = "/xrpc/"+nsid.String(), r.URL.RawQuery
	headers, body := requestHeaders, io.ReadCloser(http.NoBody)
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		headers = slices.Concat(requestHeaders, bodyHeaders)
		body = http.MaxBytesReader(nil, r.Body, maxRequest) // without w, which may be in use when the body is read
	}
	out, err := http.NewRequestWithContext(ctx, r.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != http.NoBody {
		out.ContentLength = r.ContentLength
	}
	for _, name := range headers {
		if values := r.Header.Values(name); len(values) > 0 {
			out.Header.Set(name, strings.Join(values, ", "))
		}
	}
	out.Header.Set("Accept-Encoding", cmp.Or(out.Header.Get("Accept-Encoding"), "identity"))
	out.Header.Set("User-Agent", userAgent)
	out.Header.Set("Authorization", "Bearer "+token)
	return out, nil
}

// statusOf returns the status for the client. An internal error of the service is a 502, since it
// isn't an error of this server.
func statusOf(resp *http.Response) int {
	if resp.StatusCode == http.StatusInternalServerError {
		return http.StatusBadGateway
	}
	return resp.StatusCode
}

// turns limits the requests that run at the same time, in total and of each account, so that slow
// services, and accounts whose services are slow on purpose, don't block others.
type turns struct {
	mu  sync.Mutex
	all int
	of  map[syntax.DID]int
}

func (t *turns) take(id syntax.DID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all >= maxRunning || t.of[id] >= maxOfOne {
		return false
	}
	if t.of == nil {
		t.of = map[syntax.DID]int{}
	}
	t.all++
	t.of[id]++
	return true
}

func (t *turns) giveBack(id syntax.DID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.of[id]--; t.of[id] == 0 {
		delete(t.of, id)
	}
}

// failure is an error of the proxy, as clients are answered.
type failure struct {
	status        int
	name, message string
}

func (f *failure) Error() string { return f.message }

// refuse writes an error, without details that are of no use to the client.
func refuse(w http.ResponseWriter, err error) {
	f := &failure{http.StatusBadGateway, "UpstreamFailure", "Upstream service unreachable"}
	var limited *ratelimit.LimitedError
	var tooLarge *http.MaxBytesError
	var slow net.Error
	switch {
	case errors.As(err, &f):
	case errors.As(err, &limited):
		f = &failure{http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded"}
		w.Header().Set("Retry-After", strconv.Itoa(1+int(time.Until(limited.State.Reset).Seconds())))
	case errors.Is(err, sessions.ErrExpiredToken), errors.Is(err, sessions.ErrAccountTakedown), errors.Is(err, sessions.ErrAccountNotFound):
		// The session has ended after RequireAuth checked it.
		f = &failure{http.StatusBadRequest, "ExpiredToken", "Token has been revoked"}
	case errors.Is(err, sessions.ErrBoundToken): // the same of an OAuth client
		f = &failure{http.StatusUnauthorized, "invalid_token", "Token has been revoked"}
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
	case errors.As(err, &tooLarge):
		f = &failure{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "request entity too large"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		f = &failure{http.StatusGatewayTimeout, "UpstreamTimeout", "Upstream service timed out"}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": f.name, "message": f.message})
}
