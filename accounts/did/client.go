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
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/bluesky-social/indigo/util/ssrf"
)

// PublicDirectory is the directory of the AT network.
const PublicDirectory = "https://plc.directory"

// ClientConfig configures a [Client].
type ClientConfig struct {
	// URL is the directory's. Default [PublicDirectory].
	URL string
	// Timeout bounds one request. Default 10 seconds.
	Timeout time.Duration
	// Tries is how often a request is made before the directory counts as
	// unavailable. Default 3.
	Tries int
	// Backoff is the pause after the first try; it doubles after each, and is jittered. Default 250 ms.
	Backoff time.Duration
	// Transport replaces the one that refuses to connect to private
	// addresses, which is only used where URL isn't one itself.
	Transport http.RoundTripper
	// UserAgent names the program. Default "gatehouse".
	UserAgent string
}

// Client is a directory over HTTP (source: the did:plc specification, 0.1).
type Client struct {
	base  *url.URL
	http  *http.Client
	cfg   ClientConfig
	sleep func(context.Context, time.Duration) error
}

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 4 << 20

// NewClient returns a client. It refuses a URL that is not http(s)://HOST.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = PublicDirectory
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" ||
		base.Path != "" && base.Path != "/" || base.RawQuery != "" || base.User != nil {
		return nil, fmt.Errorf("did: %q is not the URL of a directory", cfg.URL)
	}
	base.Path = ""
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
	if cfg.Transport == nil {
		cfg.Transport = transportFor(base)
	}
	return &Client{
		base: base, cfg: cfg, sleep: sleep,
		http: &http.Client{
			Transport: cfg.Transport, Timeout: cfg.Timeout,
			// A directory has no reason to send us elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// transportFor keeps DNS from leading a public directory's name to a private
// address. A directory that is configured by a private address is meant.
func transportFor(base *url.URL) http.RoundTripper {
	host := base.Hostname()
	ip, err := netip.ParseAddr(host)
	private := host == "localhost" || err == nil && !ssrf.IsPublicIPAddress(net.IP(ip.AsSlice()))
	if private || base.Scheme == "http" {
		return http.DefaultTransport.(*http.Transport).Clone()
	}
	return ssrf.PublicOnlyTransport()
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
	if id.Method() != "plc" {
		return 0, nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	target := c.base.JoinPath(id.String() + suffix).String()
	for try := 0; ; try++ {
		status, answer, err = c.once(ctx, method, target, body)
		if err == nil && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
			return status, answer, nil
		}
		if err == nil {
			err = fmt.Errorf("status %d", status)
		}
		if try+1 >= c.cfg.Tries || ctx.Err() != nil {
			return 0, nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, c.base.Host, err)
		}
		pause := c.cfg.Backoff << try
		if err := c.sleep(ctx, pause/2+rand.N(pause)); err != nil {
			return 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

func (c *Client) once(ctx context.Context, method, target string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errors.New("the answer is too large")
	}
	return resp.StatusCode, answer, err
}

// Submit implements [Directory].
func (c *Client) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
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
	log, err := c.Log(ctx, id)
	switch {
	case err == nil && contains(log, op):
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: %s redirects", ErrUnavailable, c.base.Host)
	}
	return refused("%s: status %d: %s", c.base.Host, status, excerpt(answer))
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

// Log implements [Directory].
func (c *Client) Log(ctx context.Context, id syntax.DID) ([]*Operation, error) {
	status, answer, err := c.do(ctx, http.MethodGet, id, "/log", nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound || status == http.StatusGone:
		return nil, ErrNotFound
	case status != http.StatusOK:
		return nil, fmt.Errorf("%w: %s: status %d", ErrUnavailable, c.base.Host, status)
	}
	var log []*Operation
	if err := json.Unmarshal(answer, &log); err != nil || len(log) == 0 {
		return nil, fmt.Errorf("%w: %s: the log of %s can't be read: %v", ErrUnavailable, c.base.Host, id, err)
	}
	for _, op := range log {
		if op == nil {
			return nil, fmt.Errorf("%w: %s: the log of %s has a gap", ErrUnavailable, c.base.Host, id)
		}
	}
	return log, nil
}
