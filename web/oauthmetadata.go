package web

import (
	"encoding/json"
	"net/http"
	"sync"
)

// allowOrigins lets scripts of all websites read an answer, with the headers that OAuth clients
// look at. Nothing that is answered so depends on cookies.
func allowOrigins(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate, Retry-After")
}

// preflight answers the question of a browser whether a script may make a request.
func preflight(w http.ResponseWriter, methods string) {
	h := w.Header()
	allowOrigins(h)
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// document serves a JSON document that is the same for everybody.
func (s *Server) document(v any) http.HandlerFunc {
	encode := sync.OnceValues(func() ([]byte, error) { return json.Marshal(v) })
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodOptions:
			preflight(w, "GET, HEAD")
			return
		case http.MethodGet, http.MethodHead:
		default:
			allowOrigins(w.Header())
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			writeOAuthError(w, http.StatusMethodNotAllowed, codeInvalidRequest, "this document can only be read, with GET")
			return
		}
		body, err := encode()
		if err != nil {
			s.failEndpoint(w, r, err)
			return
		}
		allowOrigins(w.Header())
		w.Header().Set("Cache-Control", "public, max-age=300")
		writeJSON(w, http.StatusOK, json.RawMessage(body))
	}
}
