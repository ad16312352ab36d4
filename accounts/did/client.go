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

// PublicDirectory is the directory of the AT network.
const PublicDirectory = "https://plc.directory"

// ClientConfig configures a [Client].
type ClientConfig struct {
	// URL is the directory's, with a path if it has one. Default [PublicDirectory].
	URL string
	// Timeout bounds one request, its answer included. Default 10 seconds.
	Timeout time.Duration
	// Tries is how often a request is made before the directory counts as
	// unavailable. Default 3.
	Tries int
	// Backoff is the pause after the first try; it doubles after each, up to 10
	// seconds, and is jittered. Default 250 ms.
	Backoff time.Duration
	// AllowPrivate lets the name of a directory lead to a private address. Without it, that
	// is only let be where the URL says so itself: by an address, localhost, or http.
	AllowPrivate bool
	// Transport replaces the client's own, and its care about addresses.
	Transport http.RoundTripper
	// UserAgent names the program. Default "gatehouse".
	UserAgent string
	// Now tells the time. Default [time.Now].
	Now func() time.Time
}

// Client is a directory over HTTP (source: the did:plc specification, 0.1).
//
// It honours the Retry-After header of the statuses 429 and 503. One read waits for that time and
// is made again, if the time is a minute at most and within its context. Until then, for 5 minutes
// at most, all other reads fail with [ErrUnavailable] without a request. A 429 without the header
// means 5 seconds. Operations are submitted all the same.
//
// Of a long log it remembers the hash of what it has verified, so that it verifies what was
// appended since, not all of it again.
type Client struct {
	base     *url.URL
	http     *http.Client
	cfg      ClientConfig
	sleep    func(context.Context, time.Duration) error
	patience patience
	verified *verifiedLogs
}

const (
	maxAnswer  = 4 << 20 // the most that is read of an answer, in bytes
	maxBackoff = 10 * time.Second
)

// NewClient returns a client. It refuses a URL that is not http(s)://HOST[/PATH], and negative
// numbers.
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
		return nil, errors.New("did: a time-out, a number of tries or a backoff is negative")
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
			// A directory has no reason to send us elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// transportFor keeps DNS from leading a public directory's name to a private
// address. A directory that is configured by a private address is meant, and so is one
// without TLS. Where there is a proxy, it is the proxy that connects.
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

// publicOnly looks at an address when it is about to be connected to, after DNS.
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

// do makes a request until it gets a definite answer.
func (c *Client) do(ctx context.Context, method string, id syntax.DID, suffix string, body []byte) (status int, answer []byte, err error) {
	target := c.base.JoinPath(id.String() + suffix).String()
	reads := method == http.MethodGet
	waits := false // for the time that the directory asked for
	defer func() {
		if waits {
			c.patience.leave()
		}
	}()
	for try := 1; ; try++ {
		if until, hold := c.patience.left(c.cfg.Now()); reads && hold && !waits {
			return 0, nil, fmt.Errorf("%w: %s wants no requests before %s", ErrUnavailable, c.base.Host, until.UTC().Format(time.RFC3339))
		}
		status, header, answer, err := c.once(ctx, method, target, body)
		if err == nil && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
			return status, answer, nil
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
			return 0, nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, c.base.Host, err)
		}
		if err := c.sleep(ctx, pause); err != nil {
			return 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
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
	status, answer, err := c.do(ctx, http.MethodPost, id, "", body)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return nil
	}
	// A directory refuses what it has already, and an answer to an earlier try may have got lost.
	// Nor is every refusal the directory's: its log tells what has come of the operation.
	log, err := c.Log(ctx, id)
	switch {
	case err == nil && contains(log, op):
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: %s redirects", ErrUnavailable, c.base.Host)
	}
	if reason := fault(id, log, op); reason != nil {
		return fmt.Errorf("%w (%s: status %d: %s)", reason, c.base.Host, status, excerpt(answer))
	}
	return refused("%s: status %d: %s", c.base.Host, status, excerpt(answer))
}

// fault returns what is wrong with an operation that the directory refused, as far as the log of
// its DID shows, or nil. The directory words its reasons differently, and may have others.
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

// excerpt is the beginning of an answer, for an operator.
func excerpt(b []byte) string {
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(b, &m) == nil && m.Message != "" {
		b = []byte(m.Message)
	}
	return fmt.Sprintf("%.200q", b)
}

// Log implements [Directory]. It checks the log, so that a directory can't pass off
// another DID's, or one of its own making.
func (c *Client) Log(ctx context.Context, id syntax.DID) ([]*Operation, error) {
	if !isPLC(id) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	status, answer, err := c.do(ctx, http.MethodGet, id, "/log", nil)
	switch {
	case err != nil:
		return nil, err
	case (status == http.StatusNotFound || status == http.StatusGone) && isObject(answer):
		return nil, ErrNotFound
	case status != http.StatusOK:
		return nil, fmt.Errorf("%w: %s: status %d: %s", ErrUnavailable, c.base.Host, status, excerpt(answer))
	}
	log, written, err := parseLog(answer)
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

// parseLog reads a log, and returns also how each operation is written.
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

// isObject tells a directory's own answer from that of a proxy before it, whose "not found"
// says nothing about a DID.
func isObject(answer []byte) bool {
	var m map[string]json.RawMessage
	return json.Unmarshal(answer, &m) == nil && m != nil
}
