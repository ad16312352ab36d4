package xrpc

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// The values of headers that most answers have. Set by their canonical names, they cost nothing; they
// must not be modified.
var (
	contentJSON   = []string{"application/json; charset=utf-8"}
	noSniff       = []string{"nosniff"}
	anyOrigin     = []string{"*"}
	exposed       = []string{exposedHeaders}
	cachedPrivate = []string{"private"}
	byCredentials = []string{"Authorization"}
)

// fail answers a request with an error, and returns the status.
func (s *Server) fail(w http.ResponseWriter, c *call, err error) int {
	e := ErrorOf(err)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		w.Header().Set("X-Request-Id", c.requestID())
		s.cfg.Logger.ErrorContext(c.Context(), "request failed",
			"method", methodName(s.methods[c.nsid]), "status", e.Status, "request", c.requestID(), "error", err)
		if e.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
	}
	if e.Status == http.StatusUnauthorized {
		w.Header()["Www-Authenticate"] = c.challenge(e)
	}
	body, _ := json.Marshal(map[string]string{"error": e.Name, "message": refusal.Clean(e.Message)})
	s.write(w, c, e.Status, body)
	return e.Status
}

// succeed answers a request with an output, which may be nil.
func (s *Server) succeed(w http.ResponseWriter, c *call, out any) int {
	if out == nil {
		w.WriteHeader(http.StatusOK)
		return http.StatusOK
	}
	body, err := encode(out)
	if err != nil {
		return s.fail(w, c, fmt.Errorf("encoding the output: %w", err))
	}
	s.write(w, c, http.StatusOK, body)
	return http.StatusOK
}

// encoder is implemented by outputs that encode themselves faster than [json.Marshal] would.
type encoder interface{ encode() ([]byte, error) }

// ready is an output that is encoded already.
type ready struct{ body []byte }

func (r *ready) encode() ([]byte, error) { return r.body, nil }

func encode(out any) ([]byte, error) {
	if e, ok := out.(encoder); ok {
		return e.encode()
	}
	return json.Marshal(out)
}

// gzipAbove is the size in bytes from which a response is compressed. What is smaller, as the
// answers about sessions are, travels in a few packets in any case, and compressing it would take
// longer than all the rest.
const gzipAbove = 4096

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// write writes a JSON body, compressed if that is worthwhile and the client accepts it.
func (s *Server) write(w http.ResponseWriter, c *call, status int, body []byte) {
	h := w.Header()
	h["Content-Type"], h["X-Content-Type-Options"] = contentJSON, noSniff
	if len(body) >= gzipAbove {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(c.Request) {
			h.Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			if c.Method != http.MethodHead {
				z := gzips.Get().(*gzip.Writer)
				z.Reset(w)
				_, _ = z.Write(body)
				_ = z.Close()
				gzips.Put(z)
			}
			return
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if c.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// acceptsGzip reports whether the Accept-Encoding header allows gzip.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, q, weighted := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q = strings.ReplaceAll(q, " ", "")
			return !weighted || strings.Trim(strings.TrimPrefix(q, "q="), "0.") != ""
		}
	}
	return false
}
