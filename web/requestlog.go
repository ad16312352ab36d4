package web

import (
	"log/slog"
	"net/http"

	"github.com/gatehouse-at/gatehouse/internal/clientip"
)

// logged logs a line for each request, as package xrpc does for methods. Of the URL only the
// pattern is logged that it fits, since the rest may be secret. Assets leave no lines.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.cfg.Logger.Enabled(r.Context(), slog.LevelInfo) {
			next.ServeHTTP(w, r)
			return
		}
		start := s.cfg.Now()
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		if s.oauth != nil && r.Pattern == s.oauth.pages.AssetPath() {
			return
		}
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("verb", verbOf(r)), slog.String("path", r.Pattern), slog.Int("status", answer.status),
			slog.Duration("took", s.cfg.Now().Sub(start)), slog.String("ip", clientip.Key(s.clients.Find(r))))
	})
}

// verbOf returns the verb of a request for the log. Unknown ones may be any text.
func verbOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
		return r.Method
	}
	return "unknown"
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
