package did

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/bluesky-social/indigo/util/ssrf"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// PublicDirectory is the URL of the directory that the atproto network uses.
const PublicDirectory = "https://plc.directory"

// ClientConfig configures a [Client].
type ClientConfig struct {
	// URL is the URL of the directory, which may have a path. Default [PublicDirectory].
	URL string
	// Timeout bounds one request, including its answer. Default 10 seconds.
	Timeout time.Duration
	// Tries is how often a request is tried before the directory counts as unavailable. Default 3.
	Tries int
	// Backoff is the pause after the first try. It doubles with each try, up to 10 seconds, and is
	// randomized. Default 250 milliseconds.
	Backoff time.Duration
	// AllowPrivate allows the directory's host name to resolve to a private address. Without it
	// that is an error, unless the host of URL is itself a private address or localhost, or its
	// scheme is http.
	AllowPrivate bool
	// Transport makes the requests. The default checks addresses, which a Transport of your own has
	// to do itself.
	Transport http.RoundTripper
	// UserAgent is sent with each request. Default "gatehouse".
	UserAgent string
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// Client is a [Directory] over HTTP (source: the did:plc specification, 0.1).
//
// It honors the Retry-After header of the statuses 429 and 503. One read waits as long as the
// header says and is then tried again, if that takes no longer than a minute and its context allows
// it. Until then, but at most for 5 minutes, all other reads fail with [ErrUnavailable] and without
// a request. A 429 without the header means 5 seconds. Operations are submitted in any case.
//
// It remembers the hash of the verified part of each long log, so that it has to verify only the
// operations that were added since.
type Client struct {
	base     *url.URL
	http     *http.Client
	cfg      ClientConfig
	sleep    func(context.Context, time.Duration) error
	patience patience
	verified *verifiedLogs
}

const (
	maxAnswer  = 4 << 20 // the largest answer that is read, in bytes
	maxBackoff = 10 * time.Second
)

// NewClient returns a Client. It returns an error if the URL is not of the form
// http(s)://HOST[/PATH], or a number in the configuration is negative.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = PublicDirectory
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		return nil, fmt.Errorf("did: %q is not the URL of a directory", cfg.URL)
	}
	if cfg.Timeout < 0 || cfg.Tries < 0 || cfg.Backoff < 0 {
		return nil, errors.New("did: ClientConfig.Timeout, Tries and Backoff must not be negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 3
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 250 * time.Millisecond
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "gatehouse"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	verified, err := newVerifiedLogs()
	if err != nil {
		return nil, fmt.Errorf("did: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = transportFor(base, cfg.AllowPrivate, http.ProxyFromEnvironment)
	}
	return &Client{
		base: base, cfg: cfg, sleep: sleep, verified: verified,
		http: &http.Client{
			Transport: cfg.Transport, Timeout: cfg.Timeout,
			// A directory has no reason to redirect.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// transportFor returns a transport that refuses to connect to a private address if the directory is
// named by a public host name and has TLS. A directory that is configured by a private address or
// without TLS is meant to be there. Where there is a proxy, the proxy makes the connection.
func transportFor(base *url.URL, allowPrivate bool, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	ip, err := netip.ParseAddr(base.Hostname())
	named := err != nil && !hostname.IsLoopback(base.Hostname()) || err == nil && isPublic(ip)
	via, _ := proxy(&http.Request{URL: base})
	if named && base.Scheme == "https" && via == nil && !allowPrivate {
		dialer.Control = publicOnly
	}
	return &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}
}

func isPublic(ip netip.Addr) bool { return ssrf.IsPublicIPAddress(net.IP(ip.Unmap().AsSlice())) }

// publicOnly refuses to connect to a private address. It is called after DNS resolution.
func publicOnly(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("did: %w", err)
	}
	if !isPublic(to.Addr()) {
		return fmt.Errorf("did: %s is not a public IP address", to.Addr())
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reply is a definite answer of a directory.
type reply struct {
	status int
	body   []byte
	first  bool // whether it answers the first try
}

// do makes a request until it gets a definite answer.
func (c *Client) do(ctx context.Context, method string, id syntax.DID, suffix string, body []byte) (reply, error) {
	target := c.base.JoinPath(id.String() + suffix).String()
	reads := method == http.MethodGet
	waits := false // whether this request is the one that waits until the directory can be asked again
	defer func() {
		if waits {
			c.patience.leave()
		}
	}()
	for try := 1; ; try++ {
		if until, hold := c.patience.left(c.cfg.Now()); reads && hold && !waits {
			return reply{}, fmt.Errorf("%w: %s asks for no requests before %s", ErrUnavailable, c.base.Host, until.UTC().Format(time.RFC3339))
		}
		status, header, answer, err := c.once(ctx, method, target, body)
		if err == nil && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
			return reply{status, answer, try == 1}, nil
		}
		var wait time.Duration
		if err == nil {
			err = fmt.Errorf("status %d", status)
			now := c.cfg.Now()
			if wait = asked(status, header, now, reads); wait > 0 && reads {
				c.patience.hold(now, wait)
			}
		}
		pause := min(c.cfg.Backoff<<min(try-1, 10), maxBackoff)
		pause = max(pause/2+rand.N(pause), wait)
		again := try < c.cfg.Tries && wait <= maxWait && inTime(ctx, pause)
		if again && wait > 0 && reads && !waits {
			again = c.patience.enter()
			waits = again
		}
		if !again {
			return reply{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, c.base.Host, err)
		}
		if err := c.sleep(ctx, pause); err != nil {
			return reply{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// inTime reports whether a context lasts longer than a pause.
func inTime(ctx context.Context, pause time.Duration) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() == nil && (!has || time.Until(deadline) > pause)
}

func (c *Client) once(ctx context.Context, method, target string, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errors.New("the answer is too large")
	}
	return resp.StatusCode, resp.Header, answer, err
}

// Submit implements [Directory].
func (c *Client) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
	if !isPLC(id) {
		return refused("%s is not a did:plc", id)
	}
	if err := op.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(op)
	if err != nil {
		return fmt.Errorf("did: %w", err)
	}
	answer, err := c.do(ctx, http.MethodPost, id, "", body)
	if err != nil {
		return err
	}
	if answer.status == http.StatusOK {
		if answer.first { // else an earlier try may have added it, and others may have followed
			receiptOf(ctx).accepted = true
		}
		return nil
	}
	// A directory refuses an operation that it has already, as when the answer to an earlier try
	// was lost, and not every refusal comes from the directory itself. The log shows which it is.
	log, err := c.Log(ctx, id)
	switch {
	case err == nil && contains(log, op):
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case answer.status >= 300 && answer.status < 400:
		return fmt.Errorf("%w: %s redirects", ErrUnavailable, c.base.Host)
	}
	if reason := fault(id, log, op); reason != nil {
		return fmt.Errorf("%w (%s: status %d: %s)", reason, c.base.Host, answer.status, excerpt(answer.body))
	}
	return refused("%s: status %d: %s", c.base.Host, answer.status, excerpt(answer.body))
}

// fault returns what is wrong with an operation that the directory refused, as far as the log of
// its DID shows, or nil. The directory's own reason has other words, and may be another one.
func fault(id syntax.DID, log []*Operation, op *Operation) error {
	logged := make([]*Logged, len(log))
	for i, o := range log {
		c, err := o.CID()
		if err != nil {
			return nil
		}
		logged[i] = &Logged{DID: id, Operation: o, CID: c}
	}
	_, err := next(id, logged, op, time.Time{})
	if !errors.Is(err, ErrRefused) {
		return nil
	}
	return err
}

// excerpt returns the beginning of an answer, for operators.
func excerpt(b []byte) string {
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(b, &m) == nil && m.Message != "" {
		b = []byte(m.Message)
	}
	return fmt.Sprintf("%.200q", b)
}

// Log implements [Directory]. It verifies the log, so that a directory can't pass off the log of
// another DID or a forged one.
func (c *Client) Log(ctx context.Context, id syntax.DID) ([]*Operation, error) {
	if !isPLC(id) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	answer, err := c.do(ctx, http.MethodGet, id, "/log", nil)
	switch {
	case err != nil:
		return nil, err
	case (answer.status == http.StatusNotFound || answer.status == http.StatusGone) && isObject(answer.body):
		return nil, ErrNotFound
	case answer.status != http.StatusOK:
		return nil, fmt.Errorf("%w: %s: status %d: %s", ErrUnavailable, c.base.Host, answer.status, excerpt(answer.body))
	}
	log, written, err := parseLog(answer.body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: the log of %s can't be read: %w", ErrUnavailable, c.base.Host, id, err)
	case len(log) == 0:
		return nil, fmt.Errorf("%w: %s: the log of %s is empty", ErrUnavailable, c.base.Host, id)
	}
	if err := c.verified.verify(ctx, id, log, written, c.cfg.Now()); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, fmt.Errorf("%w: %s: the log of %s is not genuine: %v", ErrUnavailable, c.base.Host, id, err)
	}
	return log, nil
}

// parseLog parses a log, and also returns each operation as the directory wrote it.
func parseLog(answer []byte) (log []*Operation, written []json.RawMessage, err error) {
	if err := json.Unmarshal(answer, &written); err != nil {
		return nil, nil, err
	}
	log = make([]*Operation, len(written))
	for i, w := range written {
		if err := json.Unmarshal(w, &log[i]); err != nil {
			return nil, nil, err
		}
	}
	return log, written, nil
}

// isObject reports whether an answer is a JSON object, as the directory's own answers are. The "not
// found" of a proxy in between says nothing about a DID.
func isObject(answer []byte) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal(answer, &m) == nil && m != nil
}
