package xrpc

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// PLCDirectory is the function of the same name, with what anybody may ask limited by address as
// methods are, and what anybody may add to the store more so. It isn't served at the names of
// accounts.
func (s *Server) PLCDirectory(l *did.Local) http.Handler {
	directory := PLCDirectory(l)
	return s.NotAtHandleHosts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.newCall(w, r)
		err := s.take(c, "", c.payer(), globalLimit)
		if err == nil && r.Method == http.MethodPost {
			err = s.take(c, "plc", c.payer(), plcLimit)
		}
		if err != nil {
			plcWrite(w, public(err).Status, "application/json", plcMessage(public(err).Message))
			return
		}
		directory.ServeHTTP(w, r)
	}))
}

var plcLimit = []ratelimit.Window{per(100, 5*time.Minute), per(300, day)}

// PLCDirectory serves a local directory of did:plc as the public one serves its own
// (source: the did:plc specification, 0.1). A path that doesn't begin with a DID is a plain 404.
func PLCDirectory(l *did.Local) http.Handler {
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
				plcFail(w, id, err)
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
		body, err := readBody(r)
		if err != nil {
			plcWrite(w, public(err).Status, "application/json", plcMessage(public(err).Message))
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
			plcFail(w, id, err)
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

func plcMessage(text string) map[string]string { return map[string]string{"message": clean(text)} }

func plcFail(w http.ResponseWriter, id syntax.DID, err error) {
	status, text := public(err).Status, public(err).Message
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
