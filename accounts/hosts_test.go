package accounts_test

import (
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

func TestHostKind(t *testing.T) {
	s := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Hostname, c.PublicURL, c.ExtraHostnames = "pds.example.test:8080", "https://front.test", []string{"Www.users.test", "other.example.com"}
		c.HandleDomains = []string{".example.test", "users.test"}
	})).Gatehouse.Accounts
	for name, want := range map[string]accounts.HostKind{
		"pds.example.test": accounts.OwnHost, "front.test": accounts.OwnHost, "www.users.test": accounts.OwnHost, "other.example.com": accounts.OwnHost,
		"alice.example.test": accounts.HandleHost, "alice.users.test": accounts.HandleHost, "a.b.users.test": accounts.HandleHost, "x.pds.example.test": accounts.HandleHost,
		".users.test": accounts.HandleHost, "www.example.test": accounts.HandleHost,
		"example.test": accounts.ForeignHost, "users.test": accounts.ForeignHost, "otherusers.test": accounts.ForeignHost, "alice.users.test.example.com": accounts.ForeignHost,
		"127.0.0.1": accounts.ForeignHost, "::1": accounts.ForeignHost, "localhost": accounts.ForeignHost, "": accounts.ForeignHost, "test": accounts.ForeignHost,
	} {
		if got := s.HostKind(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
