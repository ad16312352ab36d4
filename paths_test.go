package gatehouse_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestPathsOfAnEmbedder are served by the handler for everything, or refused when the server is
// made.
func TestPathsOfAnEmbedder(t *testing.T) {
	short := oauth.Paths{Authorize: "/authorize", PAR: "/par", Token: "/token", Revoke: "/revoke", JWKS: "/jwks"}
	twice := short
	twice.Token = twice.PAR
	for name, c := range map[string]struct {
		paths   oauth.Paths
		account string
		good    bool
	}{
		"the defaults":               {oauth.Paths{}, "", true},
		"all but the introspection":  {short, "", true},
		"an account path beside":     {short, "/me", true},
		"only one of them":           {oauth.Paths{Authorize: "/authorize"}, "", false},
		"one for two things":         {twice, "", false},
		"that of the methods":        {oauth.Paths{}, "/xrpc", false},
		"that of the documents":      {oauth.Paths{}, "/.well-known", false},
		"the root":                   {oauth.Paths{}, "/", false},
		"that of the local PLC":      {oauth.Paths{}, "/plc", false},
		"where the endpoints are":    {oauth.Paths{}, "/oauth", true},
		"where an endpoint has been": {short, "/oauth/token", true},
	} {
		store := memory.New()
		srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, PublicURL: "http://localhost:2583",
			OAuth: gatehouse.OAuth{Paths: c.paths}, Pages: gatehouse.Pages{AccountPath: c.account}, NoMaintenance: true, Logger: slog.New(slog.DiscardHandler),
		})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		account, authorize := "/account", "/oauth/authorize"
		if c.account != "" {
			account = c.account
		}
		if c.paths.Authorize != "" {
			authorize = c.paths.Authorize
		}
		h := srv.Handler()
		for path, want := range map[string]int{account + "/sign-in": 200, authorize: 400, "/xrpc/com.atproto.server.describeServer": 200} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "http://localhost:2583"+path, nil)
			if h.ServeHTTP(w, r); w.Code != want {
				t.Errorf("%s: %s: %d, want %d", name, path, w.Code, want)
			}
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		store.Close()
	}
}
