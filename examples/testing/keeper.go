// Package testing is a small client of the AT Protocol. Its tests show how such a program is tested
// with Gatehouse.
package testing

import (
	"context"
	"fmt"
	"sync"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"
)

// Keeper keeps a user logged in. It logs in once, refreshes the session when the access token has
// expired, and keeps the latest tokens.
type Keeper struct {
	client *atclient.APIClient

	mu        sync.Mutex
	last      atclient.PasswordSessionData
	refreshes int
}

// Login logs in to a server.
func Login(ctx context.Context, host, identifier, password string) (*Keeper, error) {
	k := &Keeper{}
	client, err := atclient.LoginWithPasswordHost(ctx, host, identifier, password, "", k.refreshed)
	if err != nil {
		return nil, fmt.Errorf("logging in as %s: %w", identifier, err)
	}
	k.client = client
	return k, nil
}

func (k *Keeper) refreshed(_ context.Context, data atclient.PasswordSessionData) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.refreshes = data, k.refreshes+1
}

// Refreshes returns how often the session was refreshed.
func (k *Keeper) Refreshes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refreshes
}

// WhoAmI asks the server for the handle of the session's account.
func (k *Keeper) WhoAmI(ctx context.Context) (string, error) {
	session, err := atproto.ServerGetSession(ctx, k.client)
	if err != nil {
		return "", err
	}
	return session.Handle, nil
}

// AppPassword creates an app password for another program.
func (k *Keeper) AppPassword(ctx context.Context, name string) (string, error) {
	made, err := atproto.ServerCreateAppPassword(ctx, k.client, &atproto.ServerCreateAppPassword_Input{Name: name})
	if err != nil {
		return "", err
	}
	return made.Password, nil
}

// Logout ends the session.
func (k *Keeper) Logout(ctx context.Context) error {
	return k.client.Auth.(*atclient.PasswordAuth).Logout(ctx, k.client.Client)
}
