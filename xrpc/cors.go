package xrpc

import "net/http"

// exposedHeaders are the response headers that scripts of other origins may read.
const exposedHeaders = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Retry-After, WWW-Authenticate, DPoP-Nonce, X-Request-Id"

// allowOrigins lets scripts of all origins read a response. Since there are no cookies, they can do
// no more than any other client.
func allowOrigins(h http.Header) {
	h["Access-Control-Allow-Origin"], h["Access-Control-Expose-Headers"] = anyOrigin, exposed
}

// preflight answers a CORS preflight request.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	// A wildcard doesn't cover Authorization, so the requested headers are repeated.
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	h.Set("Access-Control-Max-Age", "86400") // a day, in seconds
	w.WriteHeader(http.StatusNoContent)
}
