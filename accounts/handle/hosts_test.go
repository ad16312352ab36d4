package handle_test

import (
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

func TestHostKind(t *testing.T) {
	s := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Hostname, c.PublicURL, c.ExtraHostnames = "pds.example.test:8080", "https://front.test", []string{"Www.users.test", "other.example.com"}
		c.HandleDomains = []string{".example.test", "users.test"}
	})).Gatehouse.Accounts.Handles()
	for name, want := range map[string]handle.HostKind{
		"pds.example.test": handle.OwnHost, "front.test": handle.OwnHost, "www.users.test": handle.OwnHost, "other.example.com": handle.OwnHost,
		"alice.example.test": handle.AccountHost, "alice.users.test": handle.AccountHost, "a.b.users.test": handle.AccountHost, "x.pds.example.test": handle.AccountHost,
		".users.test": handle.AccountHost, "www.example.test": handle.AccountHost,
		"example.test": handle.ForeignHost, "users.test": handle.ForeignHost, "otherusers.test": handle.ForeignHost, "alice.users.test.example.com": handle.ForeignHost,
		"127.0.0.1": handle.ForeignHost, "::1": handle.ForeignHost, "localhost": handle.ForeignHost, "": handle.ForeignHost, "test": handle.ForeignHost,
	} {
		if got := s.HostKind(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
