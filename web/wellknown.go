package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/briefly"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// wellKnown caches the answers below /.well-known/ and of the TLS check for a second, by what was
// asked and the host. Accounts that this process changes are looked up again at once.
type wellKnown struct {
	mu      sync.Mutex
	answers map[string]*briefly.Value[wellKnownAnswer]
}

type wellKnownAnswer struct {
	contentType string
	body        []byte
	err         error
}

// maxWellKnown is how many answers are cached. Since clients choose the hosts, the cache is emptied
// when there are more.
const maxWellKnown = 4096

func (k *wellKnown) at(key string) *briefly.Value[wellKnownAnswer] {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.answers[key]
	if b == nil {
		if len(k.answers) >= maxWellKnown || k.answers == nil {
			k.answers = map[string]*briefly.Value[wellKnownAnswer]{}
		}
		b = briefly.New[wellKnownAnswer]()
		k.answers[key] = b
	}
	return b
}

// The paths below /.well-known/ that are served, also at the names of accounts.
const (
	atprotoDIDPath  = "/.well-known/atproto-did"
	didDocumentPath = "/.well-known/did.json"
)

// WellKnown serves what is below /.well-known/: atproto-did, the DID of the account whose handle is
// the host of the request, and did.json, the DID documents of the server and of accounts with a
// did:web on its domains.
func (s *Server) WellKnown() http.Handler {
	handler := late(func() http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET "+atprotoDIDPath, s.atprotoDID)
		mux.HandleFunc("GET "+didDocumentPath, s.didDocument)
		s.handleMetadata(mux)
		return mux
	})
	return s.hostGuard(handler, handler)
}

// atprotoDID serves /.well-known/atproto-did: the DID of the account whose handle is the host of
// the request (source: the atproto handle specification).
func (s *Server) atprotoDID(w http.ResponseWriter, r *http.Request) {
	s.serveWellKnown(w, r, "User not found", func() wellKnownAnswer {
		a, err := s.accountOfHost(r.Context(), handlehost.Name(r.Host))
		if err != nil {
			return wellKnownAnswer{err: err}
		}
		return wellKnownAnswer{contentType: "text/plain; charset=utf-8", body: []byte(a.DID)}
	})
}

// didDocument serves /.well-known/did.json: the document of the server's own did:web, and those of
// accounts whose did:web is the host of the request, on one of the server's domains. An account
// that is deactivated or taken down keeps its DID and its document, without which it couldn't leave
// (source: the did:web method specification).
func (s *Server) didDocument(w http.ResponseWriter, r *http.Request) {
	s.serveWellKnown(w, r, "Not found", func() wellKnownAnswer {
		body, err := s.documentOfHost(r.Context(), r.Host)
		return wellKnownAnswer{contentType: "application/did+json", body: body, err: err}
	})
}

// serveWellKnown serves what find finds for the host, limited by address as methods are.
func (s *Server) serveWellKnown(w http.ResponseWriter, r *http.Request, notFound string, find func() wellKnownAnswer) {
	if limited := s.charge(w, r, ""); limited != nil {
		s.noWellKnown(w, r, limited, notFound)
		return
	}
	key := notFound + " " + strings.ToLower(r.Host)
	if len(r.Host) > 512 {
		s.noWellKnown(w, r, accounts.ErrNotFound, notFound)
		return
	}
	answer, err := s.briefAnswer(r, key, find)
	if err != nil {
		answer.err = err
	}
	if answer.err != nil {
		s.noWellKnown(w, r, answer.err, notFound)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", answer.contentType)
	_, _ = w.Write(answer.body)
}

// briefAnswer returns the cached answer of a key, or the one that find returns.
func (s *Server) briefAnswer(r *http.Request, key string, find func() wellKnownAnswer) (wellKnownAnswer, error) {
	return s.wellKnown.at(key).Get(r.Context(), s.cfg.Now, s.cfg.Accounts.Changes(), func() (wellKnownAnswer, bool) {
		answer := find()
		// If this client hangs up, the error says nothing to the others.
		return answer, r.Context().Err() == nil
	})
}

// documentOfHost returns the DID document that is served at a host, which may have a port: the
// server's own, or that of an account.
func (s *Server) documentOfHost(ctx context.Context, host string) (json.RawMessage, error) {
	for _, host := range []string{host, handlehost.Name(host)} {
		// A port is part of the server's own DID where its host name has one.
		if id, err := hostname.WebDID(host); err == nil && id.String() == s.cfg.ServiceDID {
			data := did.Data{DID: id, Services: map[string]did.Service{did.AtprotoPDS: {Type: did.AtprotoPDSType, Endpoint: s.cfg.Accounts.PublicURL()}}}
			return data.Document(), nil
		}
	}
	id, err := hostname.WebDID(handlehost.Name(host))
	if err != nil {
		return nil, accounts.ErrNotFound
	}
	a, err := s.cfg.Accounts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	// Other documents aren't resolved: that may lead back here.
	doc := s.cfg.Accounts.Identity().HostedDocument(a)
	if doc == nil {
		return nil, accounts.ErrNotFound
	}
	return doc, nil
}

// accountOfHost returns the account whose handle is a host name, if the handle resolves.
func (s *Server) accountOfHost(ctx context.Context, name string) (*accounts.Account, error) {
	h, err := handle.Normalize(name)
	if err != nil {
		return nil, accounts.ErrNotFound
	}
	a, err := s.cfg.Accounts.Find(ctx, h.String())
	if err == nil && !a.HandleResolves() {
		return nil, accounts.ErrNotFound
	}
	return a, err
}

// noWellKnown answers a request that has no other answer. A 404 is taken for the end of a handle or
// a DID, so it must not stand for a failure.
func (s *Server) noWellKnown(w http.ResponseWriter, r *http.Request, err error, notFound string) {
	if errors.Is(err, accounts.ErrNotFound) {
		http.Error(w, notFound, http.StatusNotFound)
		return
	}
	p := s.describe(err)
	if p.status >= http.StatusInternalServerError {
		s.logFailure(r, p.status, err)
	}
	http.Error(w, p.message, p.status)
}
