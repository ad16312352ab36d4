package fetch

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// Config configures a [Client].
type Config struct {
	// Transport makes the requests. The default is one that refuses private addresses; a transport
	// of your own has to do that itself.
	Transport http.RoundTripper
	// UserAgent is sent with the requests. Default "gatehouse".
	UserAgent string
	// AllowLoopback permits URLs such as http://127.0.0.1:8080/client.json, for a server that is
	// itself on loopback.
	AllowLoopback bool
	// Timeout bounds a request, with the time that it waits for its turn. Default 10 seconds.
	Timeout time.Duration
	// Concurrency is the most requests that are under way. Further ones wait for their turn.
	// Default 64.
	Concurrency int
	// PerSite is the most requests that are under way at hosts of one registrable domain, so that
	// one slow site can't take all turns. Further ones are refused. Default 8.
	PerSite int
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// Client gets documents. It implements [client.Fetcher], and its methods are safe for concurrent
// use.
type Client struct {
	cfg      Config
	public   *http.Client
	loopback *http.Client
	flights  lookup.Group // by URL and size
	turns    *turns
}

// New returns a Client.
func New(cfg Config) *Client {
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "gatehouse")
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 64)
	cfg.PerSite = cmp.Or(cfg.PerSite, 8)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, turns: newTurns(cfg.Concurrency, cfg.PerSite)}
	if cfg.Transport != nil {
		c.public = guarded(cfg.Transport)
		c.loopback = c.public
	} else {
		c.public = guarded(publicTransport())
		c.loopback = guarded(loopbackTransport())
	}
	return c
}

func guarded(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Get returns the JSON document at a URL, of at most so many bytes. Concurrent calls for one URL
// are answered by one request. Errors: [client.ErrUnreachable], [client.ErrUnfit]. Both have a
// message for the developer of a client.
func (c *Client) Get(ctx context.Context, rawURL string, maxBytes int64) (*client.Document, error) {
	at, err := url.Parse(rawURL)
	if err != nil {
		return nil, unfit("it isn't a URL", err)
	}
	hc, err := c.clientOf(at)
	if err != nil {
		return nil, err
	}
	key := strconv.FormatInt(maxBytes, 10) + " " + rawURL
	return lookup.Do(ctx, &c.flights, key, c.cfg.Timeout, gaveUp, func(ctx context.Context) (*client.Document, error) {
		done, err := c.turns.take(ctx, at.Hostname())
		if err != nil {
			return nil, err
		}
		defer done()
		return c.get(ctx, hc, at, maxBytes)
	})
}

// clientOf returns the HTTP client that is to get a URL.
func (c *Client) clientOf(at *url.URL) (*http.Client, error) {
	switch {
	case at.Host == "" || at.User != nil || at.Opaque != "":
		return nil, unfit("its URL must have a host and no credentials", nil)
	case at.Scheme == "https":
		return c.public, nil
	case at.Scheme == "http" && c.cfg.AllowLoopback && isLoopback(at.Hostname()):
		return c.loopback, nil
	}
	return nil, unfit("its URL must be an https one", nil)
}

func (c *Client) get(ctx context.Context, hc *http.Client, at *url.URL, maxBytes int64) (*client.Document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, unfit("it isn't a URL", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	resp, err := hc.Do(req)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read, or isn't wanted
	if err := checkStatus(resp.StatusCode); err != nil {
		return nil, err
	}
	kind, err := checkType(resp.Header)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err == nil {
		// When a request is given up while its body is read, the server may notice before the
		// reader does, and end the body as if it were complete.
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return nil, c.failure(ctx, err)
	case int64(len(body)) > maxBytes:
		return nil, tooLarge(maxBytes)
	}
	return &client.Document{Body: body, ContentType: kind, Lifetime: lifetime(resp.Header, c.cfg.Now())}, nil
}

// checkStatus refuses answers that aren't the document. Those of a server that is overloaded or
// broken may be over soon.
func checkStatus(status int) error {
	described := fmt.Sprintf("it answered with the status %d", status)
	if text := http.StatusText(status); text != "" {
		described += " " + text
	}
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return unreachable(described, nil)
	case status >= 300 && status < 400:
		return unfit(described+", and redirects aren't followed", nil)
	}
	return unfit(described+", and 200 is needed", nil)
}

// checkType returns the media type of an answer, which has to be one of JSON (source: RFC 6839).
func checkType(h http.Header) (string, error) {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return "", unfit(fmt.Sprintf("it has %d Content-Type headers, and one that says application/json is needed", len(values)), nil)
	}
	kind, _, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" && (!strings.HasPrefix(kind, "application/") || !strings.HasSuffix(kind, "+json")) {
		return "", unfit(fmt.Sprintf("its Content-Type is %.100q, and application/json is needed", values[0]), err)
	}
	return kind, nil
}

func tooLarge(maxBytes int64) error {
	return unfit(fmt.Sprintf("it has more than %d bytes", maxBytes), nil)
}
