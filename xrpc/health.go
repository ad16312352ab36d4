package xrpc

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// healthTimeout is how long the store may take to answer and count as healthy.
const healthTimeout = 5 * time.Second

// health tells load balancers whether the store answers.
func (s *Server) health(w http.ResponseWriter, c *call) {
	if err := checkVerb(c, http.MethodGet); err != nil {
		s.fail(w, c, err)
		return
	}
	answer := map[string]string{"version": s.cfg.Version}
	status := http.StatusOK
	if s.cfg.Health != nil {
		ctx, cancel := context.WithTimeout(c.Context(), healthTimeout)
		defer cancel()
		if err := s.cfg.Health(ctx); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "unhealthy", "error", err)
			status, answer["error"] = http.StatusServiceUnavailable, "Service Unavailable"
		}
	}
	body, _ := json.Marshal(answer)
	s.write(w, c, status, body)
}
