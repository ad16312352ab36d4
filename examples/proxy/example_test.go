package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// An app asks its account server for a timeline, which an app view has. The app view learns whose
// timeline it is from a token that is only valid for this method of this service.
func Example() {
	const appViewDID = "did:web:appview.example"
	directory := httptest.NewServer(nil)
	defer directory.Close()
	appView := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := syntax.NSID(strings.TrimPrefix(r.URL.Path, "/xrpc/"))
		v := auth.ServiceAuthValidator{Audience: appViewDID, Dir: &identity.BaseDirectory{PLCURL: directory.URL, SkipHandleVerification: true}}
		who, err := v.Validate(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &method)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"timelineOfA":%q,"limit":%q,"error":%v}`, who.Method(), r.FormValue("limit"), err != nil)
	}))
	defer appView.Close()

	store := memory.New()
	defer store.Close()
	var p *proxy
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		Fallback:      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) }),
		DIDs: gatehouse.DIDs{Resolver: func(context.Context, syntax.DID) (json.RawMessage, error) { // in place of HTTPS
			return fmt.Appendf(nil, `{"id":%q,"service":[{"id":"#bsky_appview","type":"BskyAppView","serviceEndpoint":%q}]}`, appViewDID, appView.URL), nil
		}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	directory.Config.Handler = srv.PLCDirectory()
	p, err = newProxy(srv, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	p.transport = appView.Client().Transport // it connects to loopback addresses

	tokens, err := srv.SignIn.SignUp(context.Background(), accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func(service string) {
		r := httptest.NewRequest("GET", "/xrpc/app.bsky.feed.getTimeline?limit=30", nil)
		r.Header.Set("Authorization", "Bearer "+tokens.AccessJWT)
		if service != "" {
			r.Header.Set("Atproto-Proxy", service)
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	ask(appViewDID + "#bsky_appview")
	ask(appViewDID + "#bsky_chat")
	ask("")
	// Output:
	// 200 {"timelineOfA":"plc","limit":"30","error":false}
	// 400 {"error":"InvalidRequest","message":"could not resolve proxy did service url"}
	// 501 {"error":"MethodNotImplemented","message":"Method Not Implemented: app.bsky.feed.getTimeline isn't served here; to have another service answer, name it in an atproto-proxy header"}
}
