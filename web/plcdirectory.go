package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/httpbody"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// PLCDirectory serves [Config.Directory] as the function of the same name does. Requests are
// limited by address, and operations, which anybody may add to the store, more strictly. It returns
// nil if there is no local directory.
func (s *Server) PLCDirectory() http.Handler {
	if s.cfg.Directory == nil {
		return nil
	}
	directory := late(func() http.Handler { return PLCDirectory(s.cfg.Directory, s.cfg.Errors) })
	return s.guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var windows []ratelimit.Window
		if r.Method == http.MethodPost {
			windows = plcLimit
		}
		if err := s.charge(w, r, "plc", windows...); err != nil {
			p := s.describe(err)
			plcWrite(w, p.status, "application/json", plcMessage(p.message))
			return
		}
		directory.ServeHTTP(w, r)
	}))
}

// plcLimit is how many operations an address may submit.
var plcLimit = []ratelimit.Window{{Points: 100, Per: 5 * time.Minute}, {Points: 300, Per: 24 * time.Hour}}

// PLCDirectory serves a local directory of did:plc as the public one serves its own (source: the
// did:plc specification, 0.1). A path that doesn't begin with a DID is a plain 404. The ErrorFunc
// describes errors of the store; if it is nil, they are answered 500.
func PLCDirectory(l *did.Local, describe ErrorFunc) http.Handler {
	if describe == nil {
		describe = func(error) (int, string, string) {
			return http.StatusInternalServerError, "InternalServerError", "Internal Server Error"
		}
	}
	fail := func(w http.ResponseWriter, id syntax.DID, err error) {
		status, _, text := describe(err)
		switch {
		case errors.Is(err, did.ErrNotFound):
			status, text = http.StatusNotFound, "DID not registered: "+id.String()
		case errors.Is(err, did.ErrTombstoned):
			status, text = http.StatusGone, "DID not available: "+id.String()
		case errors.Is(err, did.ErrRefused):
			status, text = http.StatusBadRequest, strings.TrimPrefix(err.Error(), did.ErrRefused.Error()+": ")
		}
		plcWrite(w, status, "application/json", plcMessage(text))
	}
	mux := http.NewServeMux()
	get := func(path string, render func(id syntax.DID, log []*did.Logged) (any, error)) {
		mux.HandleFunc("GET /{did}"+path, func(w http.ResponseWriter, r *http.Request) {
			id, err := syntax.ParseDID(r.PathValue("did"))
			if err != nil {
				http.NotFound(w, r)
				return
			}
			audit, err := l.Audit(r.Context(), id)
			var out any
			if err == nil {
				out, err = render(id, audit)
			}
			if err != nil {
				fail(w, id, err)
				return
			}
			contentType := "application/json"
			if path == "" {
				contentType = "application/did+ld+json"
			}
			plcWrite(w, http.StatusOK, contentType, out)
		})
	}
	data := func(id syntax.DID, audit []*did.Logged) (*did.Data, error) {
		ops := inForce(audit)
		if d := ops[len(ops)-1].Data(id); d != nil {
			return d, nil
		}
		return nil, did.ErrTombstoned
	}
	get("", func(id syntax.DID, audit []*did.Logged) (any, error) {
		d, err := data(id, audit)
		if err != nil {
			return nil, err
		}
		return d.Document(), nil
	})
	get("/data", func(id syntax.DID, audit []*did.Logged) (any, error) { return data(id, audit) })
	get("/log", func(_ syntax.DID, audit []*did.Logged) (any, error) { return inForce(audit), nil })
	get("/log/audit", func(_ syntax.DID, audit []*did.Logged) (any, error) { return audit, nil })
	get("/log/last", func(_ syntax.DID, audit []*did.Logged) (any, error) {
		ops := inForce(audit)
		return ops[len(ops)-1], nil
	})
	mux.HandleFunc("POST /{did}", func(w http.ResponseWriter, r *http.Request) {
		id, err := syntax.ParseDID(r.PathValue("did"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		var op did.Operation
		body, unread := httpbody.Read(r)
		if unread != nil {
			plcWrite(w, unread.Status, "application/json", plcMessage(unread.Message))
			return
		}
		if err := json.Unmarshal(body, &op); err != nil {
			text := "Not a valid operation"
			if wrong := (*did.InvalidError)(nil); errors.As(err, &wrong) {
				text += ": " + wrong.Reason
			}
			plcWrite(w, http.StatusBadRequest, "application/json", plcMessage(text))
			return
		}
		if err := l.Submit(r.Context(), id, &op); err != nil {
			fail(w, id, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("OK"))
	})
	return mux
}

func inForce(audit []*did.Logged) []*did.Operation {
	var ops []*did.Operation
	for _, l := range audit {
		if !l.Nullified {
			ops = append(ops, l.Operation)
		}
	}
	return ops
}

func plcMessage(text string) map[string]string {
	return map[string]string{"message": refusal.Clean(text)}
}

func plcWrite(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"Internal Server Error"}`)
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", contentType+"; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
