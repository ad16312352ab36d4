package gatehouse_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestBadConfigurationsNameTheField(t *testing.T) {
	for field, change := range map[string]func(*gatehouse.Config){
		"Hostname":          func(c *gatehouse.Config) { c.Hostname = "" },
		"Hostname ":         func(c *gatehouse.Config) { c.Hostname = "https://pds.example.com" },
		"Hostname  ":        func(c *gatehouse.Config) { c.Hostname = "pds.example.com:8443" },
		"Hostname   ":       func(c *gatehouse.Config) { c.Hostname = "no host" },
		"HandleDomains":     func(c *gatehouse.Config) { c.HandleDomains = nil },
		"HandleDomains ":    func(c *gatehouse.Config) { c.HandleDomains = []string{".local"} },
		"PublicURL":         func(c *gatehouse.Config) { c.PublicURL = "pds.example.com" },
		"Hostname     ":     func(c *gatehouse.Config) { c.Hostname = "localhost:http" },
		"Hostname      ":    func(c *gatehouse.Config) { c.Hostname = "[::1]:2583" },
		"Hostname       ":   func(c *gatehouse.Config) { c.Hostname = "user@localhost" },
		"HandleDomains  ":   func(c *gatehouse.Config) { c.HandleDomains = []string{".test", "..test"} },
		"PublicURL   ":      func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com/?" },
		"PublicURL    ":     func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com//" },
		"PublicURL     ":    func(c *gatehouse.Config) { c.PublicURL = "https://pds..example.com" },
		"PublicURL  ":       func(c *gatehouse.Config) { c.PublicURL = "https://user:password@pds.example.com" },
		"PublicURL ":        func(c *gatehouse.Config) { c.PublicURL = "https://pds.example.com/path" },
		"InviteInterval":    func(c *gatehouse.Config) { c.InviteInterval = -1 },
		"SignUp":            func(c *gatehouse.Config) { c.SignUp = "nobody" },
		"DIDMethod":         func(c *gatehouse.Config) { c.DIDMethod = "key" },
		"PLC":               func(c *gatehouse.Config) { c.PLC = "plc.directory" },
		"PLCRotationKey":    func(c *gatehouse.Config) { c.PLCRotationKey = "nonsense" },
		"RecoveryKey":       func(c *gatehouse.Config) { c.RecoveryKey = "did:plc:x" },
		"JWTSecret":         func(c *gatehouse.Config) { c.JWTSecret = []byte("short") },
		"KeySecret":         func(c *gatehouse.Config) { c.KeySecret = []byte("short") },
		"MinPasswordLength": func(c *gatehouse.Config) { c.MinPasswordLength = 1000 },
		"PasswordMemory":    func(c *gatehouse.Config) { c.PasswordMemory = 1 },
		"RateLimits":        func(c *gatehouse.Config) { c.RateLimits = "maybe" },
		"Limiter":           func(c *gatehouse.Config) { c.RateLimits, c.Limiter = gatehouse.Off, ratelimit.Off{} },
		"TrustedProxies":    func(c *gatehouse.Config) { c.TrustedProxies = []string{"proxy"} },
		"BlobUploadLimit":   func(c *gatehouse.Config) { c.BlobUploadLimit = -1 },
		"Hostname    ":      func(c *gatehouse.Config) { c.Hostname = "127.example.com:8080" },
		"Admins":            func(c *gatehouse.Config) { c.Admins = map[string]string{"bob": ""} },
		"Admins ":           func(c *gatehouse.Config) { c.Admins = map[string]string{"a:b": "long enough password"} },
		"Admins  ": func(c *gatehouse.Config) {
			c.Admins, c.AdminPassword = map[string]string{"admin": "long enough password"}, "another password"
		},
		"Admins   ":         func(c *gatehouse.Config) { c.Admins = map[string]string{"bob": "too short!!"} },
		"AdminPassword":     func(c *gatehouse.Config) { c.AdminPassword = "too short!!" },
		"MinDeletionDelay":  func(c *gatehouse.Config) { c.MinDeletionDelay = -1 },
		"MuteNotices":       func(c *gatehouse.Config) { c.MuteNotices = []mail.Kind{mail.ResetPassword} },
		"JWTKeys":           func(c *gatehouse.Config) { c.JWTKeys = []sessions.Key{{ID: "one"}} },
		"MailTemplates":     func(c *gatehouse.Config) { c.MailTemplates = fstest.MapFS{"nonsense.txt": {}} },
		"MailTimeout":       func(c *gatehouse.Config) { c.MailTimeout = -1 },
		"ServiceName":       func(c *gatehouse.Config) { c.ServiceName = "Two\nlines" },
		"PrivacyPolicyURL":  func(c *gatehouse.Config) { c.PrivacyPolicyURL = "/privacy" },
		"TermsOfServiceURL": func(c *gatehouse.Config) { c.TermsOfServiceURL = "javascript:alert(1)" },
		"ModService":        func(c *gatehouse.Config) { c.ModService = "mod.example.com" },

		"HandleHoldAfterDeletion": func(c *gatehouse.Config) { c.HandleHoldAfterDeletion = -1 },
		"ExtraHostnames":          func(c *gatehouse.Config) { c.ExtraHostnames = []string{"api.test", "https://api.test"} },
		"ExtraHostnames ":         func(c *gatehouse.Config) { c.ExtraHostnames = []string{"api.test:443"} },
		"ExtraHostnames  ":        func(c *gatehouse.Config) { c.ExtraHostnames = []string{""} },
		"ExtraHostnames   ":       func(c *gatehouse.Config) { c.ExtraHostnames = []string{"*.test"} },
		"HandleHostRedirect":      func(c *gatehouse.Config) { c.HandleHostRedirect = "/profile" },
		"HandleHostRedirect ":     func(c *gatehouse.Config) { c.HandleHostRedirect = "//example.com" },
		"HandleHostRedirect  ":    func(c *gatehouse.Config) { c.HandleHostRedirect = "javascript:alert(1)" },
		"HandleHostRedirect   ":   func(c *gatehouse.Config) { c.HandleHostRedirect = "https://{handle}/" },
		"HandleHostRedirect    ":  func(c *gatehouse.Config) { c.HandleHostRedirect = "https://{handle}.example.com?x" },
		"HandleHostRedirect     ": func(c *gatehouse.Config) { c.HandleHostRedirect = "https://example.com:{handle}/" },
		"HandleHostRedirect.":     func(c *gatehouse.Config) { c.HandleHostRedirect = "https://{handle}@example.com/" },
		"HandleHostRedirect..":    func(c *gatehouse.Config) { c.HandleHostRedirect = "{handle}://example.com/" },
		"HandleHostRedirect...":   func(c *gatehouse.Config) { c.HandleHostRedirect = "https://www.test/" }, // which is the name of an account
		"HandleHostRedirect....":  func(c *gatehouse.Config) { c.HandleHostRedirect = "https://ＷＷＷ。test./" },
		"LeaveToFallback":         func(c *gatehouse.Config) { c.LeaveToFallback = []string{"com.atproto.sync.listRepos"} },
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

// TestRedirectsThatAreFine: the handle may be anywhere but in the host, and the host may be one of
// the server's own.
func TestRedirectsThatAreFine(t *testing.T) {
	for _, redirect := range []string{
		"https://example.com", "HTTPS://example.com/{handle}", "https://example.com?handle={handle}", "https://example.com#{handle}", "https://pds.test/{handle}", "http://www.test/",
	} {
		store := memory.New()
		srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
			Hostname: "pds.test", ExtraHostnames: []string{"WWW.test"}, HandleDomains: []string{".test"}, HandleHostRedirect: redirect,
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
	for _, method := range []string{gatehouse.MethodPLC, gatehouse.MethodWeb} {
		store := memory.New()
		defer store.Close()
		srv, err := gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "lobby.test:2583", PublicURL: "https://Door.test", HandleDomains: []string{".test"}, DIDMethod: method,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		for _, handle := range []string{"lobby.test", "DOOR.test"} {
			_, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: handle, Email: "eve@example.com", Password: "password"})
			if !errors.Is(err, accounts.ErrHandleNotAvailable) {
				t.Errorf("%s: a sign-up as %s: %v", method, handle, err)
			}
			_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: handle, Email: "eve@example.com", Password: "password", AllowReserved: true})
			if !errors.Is(err, accounts.ErrHandleNotAvailable) {
				t.Errorf("%s: a sign-up by an admin as %s: %v", method, handle, err)
			}
			if _, free, suggestions, err := srv.Accounts.HandleAvailable(ctx, handle); free || err != nil {
				t.Errorf("%s: %s is free: %v, %v, %v", method, handle, free, suggestions, err)
			}
		}
		a, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "password"})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Accounts.UpdateHandle(ctx, a.DID, "lobby.test", true); !errors.Is(err, accounts.ErrHandleNotAvailable) {
			t.Errorf("%s: a handle change to lobby.test: %v", method, err)
		}
	}
}
