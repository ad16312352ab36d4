package sessions

// The schemes of [Request], in the spelling of the Authorization header.
const (
	// SchemeBearer is that of tokens that are good for whoever has them (source: RFC 6750).
	SchemeBearer = "Bearer"
	// SchemeDPoP is that of tokens that are bound to a key, of which the request has a proof (source:
	// RFC 9449). No token of this server is, so it is refused.
	SchemeDPoP = "DPoP"
)

// Request is the part of a request that shows who makes it.
type Request struct {
	// Scheme is that of the Authorization header: [SchemeBearer] or [SchemeDPoP].
	Scheme string
	// Token is the access token.
	Token string
	// Method is the HTTP method, and URL the URL without query, as the client knows it. A proof is for
	// these two.
	Method, URL string
	// Proof is the DPoP header.
	Proof string
}

// Bearer returns a request with a bearer token.
func Bearer(token string) Request { return Request{Scheme: SchemeBearer, Token: token} }
