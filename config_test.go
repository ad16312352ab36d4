package gatehouse_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

func TestBadConfigurationsNameTheField(t *testing.T) {
	for field, change := range map[string]func(*gatehouse.Config){
		"Hostname":                      func(c *gatehouse.Config) { c.Hostname = "" },
		"Hostname ":                     func(c *gatehouse.Config) { c.Hostname = "https://pds.example.com" },
		"Hostname  ":                    func(c *gatehouse.Config) { c.Hostname = "pds.example.com:8443" },
		"Hostname   ":                   func(c *gatehouse.Config) { c.Hostname = "no host" },
		"HandleDomains":                 func(c *gatehouse.Config) { c.HandleDomains = nil },
		"HandleDomains ":                func(c *gatehouse.Config) { c.HandleDomains = []string{".local"} },
		"PublicURL":                     func(c *gatehouse.Config) { c.PublicURL = "pds.example.com" },
		"Hostname     ":                 func(c *gatehouse.Config) { c.Hostname = "localhost:http" },
		"Hostname      ":                func(c *gatehouse.Config) { c.Hostname = "[::1]:2583" },
		"Hostname       ":               func(c *gatehouse.Config) { c.Hostname = "user@localhost" },
		"HandleDomains  ":               func(c *gatehouse.Config) { c.HandleDomains = []string{".test", "..test"} },
		"PublicURL   ":                  func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com/?" },
		"PublicURL    ":                 func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com//" },
		"PublicURL     ":                func(c *gatehouse.Config) { c.PublicURL = "https://pds..example.com" },
		"PublicURL  ":                   func(c *gatehouse.Config) { c.PublicURL = "https://user:password@pds.example.com" },
		"PublicURL ":                    func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com/path" },
		"SignUp.InviteInterval":         func(c *gatehouse.Config) { c.SignUp.InviteInterval = -1 },
		"SignUp.Mode":                   func(c *gatehouse.Config) { c.SignUp.Mode = "nobody" },
		"DIDs.Method":                   func(c *gatehouse.Config) { c.DIDs.Method = "key" },
		"DIDs.RecoveryKey":              func(c *gatehouse.Config) { c.DIDs.RecoveryKey = "did:plc:x" },
		"Passwords.MinLength":           func(c *gatehouse.Config) { c.Passwords.MinLength = 1000 },
		"Passwords":                     func(c *gatehouse.Config) { c.Passwords.Memory = 1 },
		"Description.BlobUploadLimit":   func(c *gatehouse.Config) { c.Description.BlobUploadLimit = -1 },
		"Hostname    ":                  func(c *gatehouse.Config) { c.Hostname = "127.example.com:8080" },
		"Admins":                        func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"bob": ""} },
		"Admins ":                       func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"a:b": "long enough password"} },
		"Admins   ":                     func(c *gatehouse.Config) { c.Admins = xrpc.Passwords{"bob": "too short!!"} },
		"MinDeletionDelay":              func(c *gatehouse.Config) { c.MinDeletionDelay = -1 },
		"Mail.MuteNotices":              func(c *gatehouse.Config) { c.Mail.MuteNotices = []mail.Kind{mail.ResetPassword} },
		"Keys.Tokens":                   func(c *gatehouse.Config) { c.Keys.Tokens = []sessions.Key{{ID: "one"}} },
		"Mail.Templates":                func(c *gatehouse.Config) { c.Mail.Templates = fstest.MapFS{"nonsense.txt": {}} },
		"Mail.Timeout":                  func(c *gatehouse.Config) { c.Mail.Timeout = -1 },
		"ServiceName":                   func(c *gatehouse.Config) { c.ServiceName = "Two\nlines" },
		"Description.PrivacyPolicyURL":  func(c *gatehouse.Config) { c.Description.PrivacyPolicyURL = "/privacy" },
		"Description.TermsOfServiceURL": func(c *gatehouse.Config) { c.Description.TermsOfServiceURL = "javascript:alert(1)" },
		"ModService":                    func(c *gatehouse.Config) { c.ModService = "mod.example.com" },

		"Handles.HoldAfterDeletion": func(c *gatehouse.Config) { c.Handles.HoldAfterDeletion = -1 },
		"ExtraHostnames":            func(c *gatehouse.Config) { c.ExtraHostnames = []string{"api.test", "https://api.test"} },
		"ExtraHostnames ":           func(c *gatehouse.Config) { c.ExtraHostnames = []string{"api.test:443"} },
		"ExtraHostnames  ":          func(c *gatehouse.Config) { c.ExtraHostnames = []string{""} },
		"ExtraHostnames   ":         func(c *gatehouse.Config) { c.ExtraHostnames = []string{"*.test"} },
		"Handles.HostRedirect":      func(c *gatehouse.Config) { c.Handles.HostRedirect = "/profile" },
		"Handles.HostRedirect ":     func(c *gatehouse.Config) { c.Handles.HostRedirect = "//example.com" },
		"Handles.HostRedirect  ":    func(c *gatehouse.Config) { c.Handles.HostRedirect = "javascript:alert(1)" },
		"Handles.HostRedirect   ":   func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://{handle}/" },
		"Handles.HostRedirect    ":  func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://{handle}.example.com?x" },
		"Handles.HostRedirect     ": func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://example.com:{handle}/" },
		"Handles.HostRedirect.":     func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://{handle}@example.com/" },
		"Handles.HostRedirect..":    func(c *gatehouse.Config) { c.Handles.HostRedirect = "{handle}://example.com/" },
		"Handles.HostRedirect...":   func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://www.test/" }, // which is the name of an account
		"Handles.HostRedirect....":  func(c *gatehouse.Config) { c.Handles.HostRedirect = "https://ＷＷＷ。test./" },
		"LeaveToFallback":           func(c *gatehouse.Config) { c.LeaveToFallback = []string{"com.atproto.sync.listRepos"} },
		"LeaveToFallback ": func(c *gatehouse.Config) {
			c.Fallback, c.LeaveToFallback = http.NotFoundHandler(), []string{"com.atproto.sync.getRepo"}
		},
	} {
		cfg := gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}}
		change(&cfg)
		store := memory.New()
		srv, err := gatehouse.New(t.Context(), store, cfg)
		if err == nil {
			srv.Close()
		}
		if field = strings.TrimRight(field, " ."); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%s: %v", field, err)
		}
		store.Close()
	}
	if _, err := gatehouse.New(t.Context(), nil, gatehouse.Config{}); err == nil {
		t.Error("no store, no error")
	}
}

// TestAllMistakesAreReportedAtOnce has several of them in one configuration.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	store := memory.New()
	defer store.Close()
	_, err := gatehouse.New(t.Context(), store, gatehouse.Config{
		Hostname: "no host", HandleDomains: []string{".local", "..test"}, ModService: "mod.example.com",
		Admins:           xrpc.Passwords{"bob": "short", "": "long enough password"},
		SignUp:           gatehouse.SignUp{Mode: "nobody", InviteInterval: -1},
		Mail:             gatehouse.Mail{Timeout: -1, MuteNotices: []mail.Kind{mail.ResetPassword}},
		MinDeletionDelay: -1,
		LeaveToFallback:  []string{"com.atproto.sync.getRepo"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	var named []string
	for line := range strings.Lines(err.Error()) {
		_, rest, _ := strings.Cut(line, "Config.")
		field, _, _ := strings.Cut(rest, ":")
		named = append(named, field)
	}
	want := []string{
		"Admins", "Admins", "HandleDomains", "HandleDomains", "Hostname", "LeaveToFallback", "LeaveToFallback", "Mail.MuteNotices", "Mail.Timeout", "MinDeletionDelay", "ModService", "SignUp.InviteInterval", "SignUp.Mode",
	}
	if slices.Sort(named); !slices.Equal(named, want) {
		t.Errorf("named are %q, want %q", named, want)
	}
}

// TestRedirectsThatAreFine: the handle may be anywhere but in the host, and the host may be one of
// the server's own.
func TestRedirectsThatAreFine(t *testing.T) {
	for _, redirect := range []string{
		"https://example.com", "HTTPS://example.com/{handle}", "https://example.com?handle={handle}", "https://example.com#{handle}", "https://pds.test/{handle}", "http://www.test/",
	} {
		store := memory.New()
		srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
			Hostname: "pds.test", ExtraHostnames: []string{"WWW.test"}, HandleDomains: []string{".test"}, Handles: gatehouse.Handles{HostRedirect: redirect},
		})
		if err != nil {
			t.Errorf("%s: %v", redirect, err)
			continue
		}
		srv.Close()
		store.Close()
	}
}

func TestALocalServerPublishesNothing(t *testing.T) {
	for host, local := range map[string]bool{
		"localhost": true, "localhost:2583": true, "pds.test": true, "a.b.localhost": true, "pds.example": true, "127.0.0.1": true,
		"Localhost": true, "pds.example.com": false, "127.example.com": false, "localhost.com": false,
	} {
		store := memory.New()
		srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: host, HandleDomains: []string{".test"}})
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if got := srv.Directory != nil; got != local {
			t.Errorf("%s: a local directory: %v, want %v", host, got, local)
		}
		if srv.PLCDirectory() != nil != local {
			t.Errorf("%s: PLCDirectory is wrong", host)
		}
		srv.Close()
		store.Close()
	}
}

func TestCloseStopsEverythingAndLeavesTheStore(t *testing.T) {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := srv.Accounts.Find(context.Background(), "alice.test"); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("the store after Close: %v", err)
	}
}

func TestNoMailerIsAnError(t *testing.T) {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()
	a, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "password"})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Accounts.RequestDelete(ctx, a.DID); err == nil || !strings.Contains(err.Error(), "no mailer is configured") {
		t.Errorf("RequestDelete: %v", err)
	}
}

func TestNobodyIsNamedLikeTheServer(t *testing.T) {
	ctx := context.Background()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		store := memory.New()
		defer store.Close()
		srv, err := gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "lobby.test:2583", PublicURL: "https://Door.test", HandleDomains: []string{".test"}, DIDs: gatehouse.DIDs{Method: method},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		for _, name := range []string{"lobby.test", "DOOR.test"} {
			_, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: name, Email: "eve@example.com", Password: "password"})
			if !errors.Is(err, handle.ErrNotAvailable) {
				t.Errorf("%s: a sign-up as %s: %v", method, name, err)
			}
			_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: name, Email: "eve@example.com", Password: "password", AllowReserved: true})
			if !errors.Is(err, handle.ErrNotAvailable) {
				t.Errorf("%s: a sign-up by an admin as %s: %v", method, name, err)
			}
			if a, err := srv.Accounts.Handles().Available(ctx, name); a.Available || err != nil {
				t.Errorf("%s: %s is free: %+v, %v", method, name, a, err)
			}
		}
		a, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "password"})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Accounts.Identity().UpdateHandle(ctx, a.DID, "lobby.test", true); !errors.Is(err, handle.ErrNotAvailable) {
			t.Errorf("%s: a handle change to lobby.test: %v", method, err)
		}
	}
}
