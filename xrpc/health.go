package xrpc

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// healthTimeout is how long a healthy store may take to answer.
const healthTimeout = 5 * time.Second

// serveHealth tells load balancers whether the store answers. Since anybody may ask, it asks the
// store at most once a second.
func (s *Server) serveHealth(w http.ResponseWriter, c *call) {
	if err := checkVerb(c, http.MethodGet); err != nil {
		s.fail(w, c, err)
		return
	}
	answer := map[string]string{"version": s.cfg.Version}
	status := http.StatusOK
	if s.cfg.Health != nil {
		unhealthy, err := s.health.Get(c.Context(), s.cfg.Now, 0, s.checkHealth)
		if unhealthy != nil || err != nil {
			status, answer["error"] = http.StatusServiceUnavailable, "Service Unavailable"
		}
	}
	body, _ := json.Marshal(answer)
	s.write(w, c, status, body)
}

// checkHealth asks the store. It doesn't use the context of a request, since others wait for the
// result too.
func (s *Server) checkHealth() (error, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	err := s.cfg.Health(ctx)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "unhealthy", "error", err)
	}
	return err, true
}
