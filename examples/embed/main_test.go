package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestEmbed(t *testing.T) {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	server := httptest.NewUnstartedServer(nil)
	app, srv, err := newApp(ctx, store, "http://"+server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	server.Config.Handler = app
	server.Start()
	defer server.Close()

	email, password := "alice@example.com", "correct horse"
	created, err := atproto.ServerCreateAccount(ctx, atclient.NewAPIClient(server.URL), &atproto.ServerCreateAccount_Input{
		Handle: "alice.test", Email: &email, Password: &password,
	})
	if err != nil {
		t.Fatal(err)
	}
	for visit := 1; visit <= 2; visit++ {
		if got := get(t, server.URL+"/me", created.AccessJwt, http.StatusOK); got["hello"] != "alice.test" || got["visits"] != float64(visit) {
			t.Errorf("visit %d: %v", visit, got)
		}
	}
	if got := get(t, server.URL+"/me", "", http.StatusUnauthorized); got["error"] != "AuthMissing" {
		t.Errorf("without a token: %v", got)
	}
	atAlice := httptest.NewRequest("GET", "http://alice.test/", nil)
	answer := httptest.NewRecorder()
	if app.ServeHTTP(answer, atAlice); answer.Code != http.StatusNotFound {
		t.Errorf("the page at the host name of an account: %d", answer.Code)
	}
	if err := srv.Accounts.DeleteNow(ctx, syntax.DID(created.Did)); err != nil {
		t.Fatal(err)
	}
	err = store.View(ctx, func(tx storage.Tx) error { _, err := profiles.Get(tx, created.Did); return err })
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the profile of a deleted account: %v", err)
	}
}

func get(t *testing.T, url, token string, want int) (out map[string]any) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("%s: %d, want %d", url, resp.StatusCode, want)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
