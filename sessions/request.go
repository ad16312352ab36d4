package sessions

// The schemes of [Request], in the spelling of the Authorization header.
const (
	// SchemeBearer is the scheme of tokens that are good for whoever has them (source: RFC 6750).
	SchemeBearer = "Bearer"
	// SchemeDPoP is the scheme of tokens that are bound to a key, with a proof that the client has the
	// key (source: RFC 9449): those of OAuth sessions.
	SchemeDPoP = "DPoP"
)

// Request is the part of a request that shows who makes it.
type Request struct {
	// Scheme is the scheme of the Authorization header: [SchemeBearer] or [SchemeDPoP].
	Scheme string
	// Token is the access token.
	Token string
	// Method is the HTTP method, and URL is the URL without its query, as the client knows it. A proof
	// is valid only for these two.
	Method, URL string
	// Proofs are the DPoP headers. One is wanted with [SchemeDPoP].
	Proofs []string
}

// Bearer returns a request with a bearer token.
func Bearer(token string) Request { return Request{Scheme: SchemeBearer, Token: token} }
