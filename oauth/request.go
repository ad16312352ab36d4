package oauth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
)

// request is an authorization request as it is stored, from the time it is pushed until it is
// answered.
type request struct {
	// ID is the hash of the request URI.
	ID       string `json:"id"`
	ClientID string `json:"clientId"`
	// AuthKey is the thumbprint of the key with which the client authenticated, if it did, and Key
	// that of the key of its proof. The tokens will be bound to both.
	AuthKey string `json:"authKey,omitempty"`
	Key     string `json:"key"`
	Params  params `json:"params"`
	// Device is the browser that opened the request, at OpenedAt.
	Device    string    `json:"device,omitempty"`
	OpenedAt  time.Time `json:"openedAt,omitzero"`
	PushedAt  time.Time `json:"pushedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

var requests = storage.NewCollection("oauth_requests",
	func(r *request) string { return r.ID },
	storage.Ordered("expires", func(r *request) string { return storage.TimeKey(r.ExpiresAt) }),
	storage.Ordered("client", func(r *request) string { return clientKey(r.ClientID) }),
).OwnedBy(storage.OwnerGatehouse)

// Request is an authorization request that a browser has opened.
type Request struct {
	// URI is the request URI, which is a secret of the client and the browser.
	URI string
	// Client is who asks.
	Client *client.Client
	// Scope is what the client asks for, and Items says what it means.
	Scope scope.Set
	Items []scope.Item
	// LoginHint names the account that the client expects: a handle, a DID or an e-mail address.
	LoginHint string
	Prompt    Prompt
	// UILocales are the languages that the person prefers, as BCP 47 tags with spaces in between.
	UILocales string
	// Display is the kind of page that the client has room for: "page", "popup" or "touch", or "" if
	// it doesn't say.
	Display string
	// RedirectURI and ResponseMode say where and how the answer goes to the client.
	RedirectURI, ResponseMode string

	record *request
}

var (
	errNoRequest = refuse(codeInvalidRequest, "the authorization request has expired, was answered already, or never existed")
	// errOtherBrowser is told to the client of a request that a second browser opens. The first one
	// can go on with it.
	errOtherBrowser = refuse(codeAccessDenied, "the request was opened in another browser")
)

// Open returns a pushed request for the browser that opens it, and binds it to that browser: no
// other one can open it later. The error is an [*Error], or one of the store.
func (s *Service) Open(ctx context.Context, clientID, requestURI string, d *device.Device) (*Request, error) {
	switch {
	case clientID == "":
		return nil, refuse(codeInvalidRequest, "client_id is required")
	case requestURI == "":
		return nil, refuse(codeInvalidRequest, "request_uri is required: this server only takes pushed authorization requests")
	}
	var r *request
	err := storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		if r, refusal, err = s.requestTx(tx, clientID, requestURI); refusal != nil || err != nil {
			return refusal, err
		}
		now := s.now()
		switch r.Device {
		case "":
			r.Device, r.OpenedAt = d.ID, now
		case d.ID:
		default:
			return errOtherBrowser, nil
		}
		until := earlier(now.Add(pageLifetime), r.PushedAt.Add(requestLifetime))
		if r.OpenedAt.Equal(now) || until.Sub(r.ExpiresAt) > time.Minute {
			r.ExpiresAt = until
			return nil, requests.Put(tx, r)
		}
		return nil, nil
	})
	if errors.Is(err, errOtherBrowser) {
		if _, err := s.clientOf(ctx, r); err != nil {
			return nil, err
		}
		return nil, &Error{Code: errOtherBrowser.Code, Description: errOtherBrowser.Description, Answer: s.failed(&r.Params, errOtherBrowser)}
	}
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, r, requestURI)
}

// describe returns a request with its client and what the scope means.
func (s *Service) describe(ctx context.Context, r *request, uri string) (*Request, error) {
	c, err := s.clientOf(ctx, r)
	if err != nil {
		return nil, err
	}
	set, err := scope.Parse(r.Params.Scope)
	if err != nil {
		return nil, translate(err)
	}
	sets, err := s.cfg.Sets.Resolve(ctx, set)
	if err != nil {
		return nil, translate(err)
	}
	return &Request{
		URI: uri, Client: c, Scope: set, Items: scope.Describe(set, sets), LoginHint: r.Params.LoginHint, Prompt: r.Params.Prompt,
		UILocales: r.Params.UILocales, Display: r.Params.Display,
		RedirectURI: r.Params.RedirectURI, ResponseMode: r.Params.ResponseMode, record: r,
	}, nil
}

// clientOf returns the client of a request, whose document may have changed since the request was
// pushed: the redirect URI still has to be its own.
func (s *Service) clientOf(ctx context.Context, r *request) (*client.Client, error) {
	c, err := s.cfg.Clients.Get(ctx, r.ClientID)
	if err == nil {
		_, err = c.RedirectURI(r.Params.RedirectURI)
	}
	if err != nil {
		return nil, translate(err)
	}
	return c, nil
}

// requestTx returns the stored request of a URI. A client_id that isn't that of the request is
// refused, and leaves the request to its own client.
func (s *Service) requestTx(tx storage.Tx, clientID, uri string) (r *request, refusal, err error) {
	id, ok := strings.CutPrefix(uri, uriPrefix)
	if !ok {
		return nil, errNoRequest, nil
	}
	r, err = requests.Get(tx, s.hash("request", id))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, errNoRequest, nil
	case err != nil:
		return nil, nil, err
	case !s.now().Before(r.ExpiresAt), !token.Equal(r.ClientID, clientID):
		return nil, errNoRequest, nil
	}
	return r, nil, nil
}

// ownTx returns the stored request of a browser that has opened it before.
func (s *Service) ownTx(tx storage.Tx, r *Request, d *device.Device) (own *request, refusal, err error) {
	own, refusal, err = s.requestTx(tx, r.record.ClientID, r.URI)
	if refusal == nil && err == nil && own.Device != d.ID {
		return nil, errNoRequest, nil
	}
	return own, refusal, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
