package gatehousetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// health asks a server for its health.
func health(srv *gatehousetest.Server) error {
	resp, err := srv.Client().Get(srv.URL + "/xrpc/_health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// open returns an error if a store is closed.
func open(s storage.Store) error {
	return s.View(context.Background(), func(storage.Tx) error { return nil })
}

func TestServersOfParallelTestsAreIndependent(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := gatehousetest.NewServer(t)
			began := srv.Clock.Now()
			alice := srv.CreateAccount("alice.test")
			srv.Clock.Advance(time.Duration(i) * time.Hour)
			if got := srv.Login(alice).Account.DID.String(); got != alice.DID {
				t.Errorf("logged in as %s, want %s", got, alice.DID)
			}
			if got := srv.Clock.Now().Sub(began); got != time.Duration(i)*time.Hour {
				t.Errorf("another test advanced the clock: %v", got)
			}
		})
	}
}

func TestTheServerOutlivesTheCleanupOfItsTest(t *testing.T) {
	var srv *gatehousetest.Server
	t.Run("test", func(t *testing.T) {
		srv = gatehousetest.NewServer(t)
		t.Cleanup(func() {
			if err := health(srv); err != nil {
				t.Errorf("in a cleanup: %v", err)
			}
		})
	})
	if err := health(srv); err == nil {
		t.Error("the server is still running after its test")
	}
	if err := open(srv.Store); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("its store after the test: %v", err)
	}
}

func TestTheStoreOfTheCallerStaysOpen(t *testing.T) {
	store, err := bolt.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	var alice *gatehousetest.Account
	for _, name := range []string{"first", "second"} { // the second server has the account of the first
		t.Run(name, func(t *testing.T) {
			srv := gatehousetest.NewServer(t, gatehousetest.WithStore(store))
			if alice == nil {
				alice = srv.CreateAccount("alice.test")
			}
			srv.Login(alice)
		})
	}
	if err := open(store); err != nil {
		t.Error(err)
	}
	t.Run("closed before the server", func(t *testing.T) { // as a deferred call does
		gatehousetest.NewServer(t, gatehousetest.WithStore(store))
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCreateAccountInAnyMode(t *testing.T) {
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.SignUp.Mode = gatehouse.SignUpInvites }))
	for _, handle := range []string{"alice.test", "admin.test"} {
		if a := srv.CreateAccount(handle); a.Handle != handle || a.DID == "" || a.AccessJWT == "" || a.RefreshJWT == "" {
			t.Errorf("CreateAccount: %+v", a)
		}
	}
	srv.Close() // before the test ends, when it is called again
}
