package gatehouse_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// start starts a server on a new store in memory, both of which end with the test.
func start(t *testing.T, cfg gatehouse.Config) (*gatehouse.Server, error) {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	srv, err := gatehouse.New(t.Context(), store, cfg)
	if err == nil {
		t.Cleanup(func() { srv.Close() })
	}
	return srv, err
}

// named is a way and a factor with a name.
type named string

func (n named) Name() string { return string(n) }

func (named) Prove(context.Context, signin.Attempt) (*signin.Proof, error) {
	return nil, accounts.ErrBadCredentials
}

func (named) EnrolledTx(storage.Tx, *accounts.Account) (bool, error) { return false, nil }

func (named) Challenge(context.Context, *accounts.Account) (string, error) { return "", nil }

func (named) RedeemTx(storage.Tx, *accounts.Account, string) (refusal, err error) { return nil, nil }

func TestMistakesNameTheField(t *testing.T) {
	hostname := func(s string) func(*gatehouse.Config) { return func(c *gatehouse.Config) { c.Hostname = s } }
	domains := func(s ...string) func(*gatehouse.Config) {
		return func(c *gatehouse.Config) { c.HandleDomains = s }
	}
	publicURL := func(s string) func(*gatehouse.Config) { return func(c *gatehouse.Config) { c.PublicURL = s } }
	extra := func(s ...string) func(*gatehouse.Config) {
		return func(c *gatehouse.Config) { c.ExtraHostnames = s }
	}
	admins := func(p xrpc.Passwords) func(*gatehouse.Config) { return func(c *gatehouse.Config) { c.Admins = p } }
	redirect := func(s string) func(*gatehouse.Config) {
		return func(c *gatehouse.Config) { c.Handles.HostRedirect = s }
	}
	ways := func(w ...signin.Way) func(*gatehouse.Config) {
		return func(c *gatehouse.Config) { c.SignIn.Ways = w }
	}
	factors := func(f ...signin.Factor) func(*gatehouse.Config) {
		return func(c *gatehouse.Config) { c.SignIn.Factors = f }
	}
	for _, c := range []struct {
		field  string
		change func(*gatehouse.Config)
		want   string // in the message
	}{
		{"Hostname", hostname(""), "is required"},
		{"Hostname", hostname("https://pds.example.com"), "is a URL, not a host name"},
		{"Hostname", hostname("pds.example.com:8443"), "which only a local host name may have"},
		{"Hostname", hostname("127.example.com:8080"), "which only a local host name may have"},
		{"Hostname", hostname("no host"), "is not a host name"},
		{"Hostname", hostname("localhost:http"), "not a number"},
		{"Hostname", hostname("[::1]:2583"), "did:web"},
		{"Hostname", hostname("user@localhost"), "is not a host name"},
		{"HandleDomains", domains(), "is required"},
		{"HandleDomains", domains(".local"), "is not a domain"},
		{"HandleDomains", domains(".test", "..test"), "is not a domain"},
		{"PublicURL", publicURL("pds.example.com"), "is not of the form"},
		{"PublicURL", publicURL("https://pds.example.com/?"), "is not of the form"},
		{"PublicURL", publicURL("https://pds.example.com//"), "is not of the form"},
		{"PublicURL", publicURL("https://pds..example.com"), "is not of the form"},
		{"PublicURL", publicURL("https://user:password@pds.example.com"), "is not of the form"},
		{"PublicURL", publicURL("https://pds.example.com/path"), "is not of the form"},
		{"ExtraHostnames", extra("api.test", "https://api.test"), "is not a host name"},
		{"ExtraHostnames", extra("api.test:443"), "is not a host name"},
		{"ExtraHostnames", extra(""), "is not a host name"},
		{"ExtraHostnames", extra("*.test"), "is not a host name"},
		{"ServiceName", func(c *gatehouse.Config) { c.ServiceName = "Two\nlines" }, "control character"},
		{"Admins", admins(xrpc.Passwords{"bob": ""}), "has 0 characters"},
		{"Admins", admins(xrpc.Passwords{"bob": "too short!!"}), "has 11 characters; at least 12"},
		{"Admins", admins(xrpc.Passwords{"a:b": "long enough password"}), "colon"},
		{"ModService", func(c *gatehouse.Config) { c.ModService = "mod.example.com" }, "is not a DID"},
		{"SignUp.Mode", func(c *gatehouse.Config) { c.SignUp.Mode = "nobody" }, `is not one of ["open" "invites"`},
		{"SignUp.InviteInterval", func(c *gatehouse.Config) { c.SignUp.InviteInterval = -1 }, "must not be negative"},
		{"SignIn.Ways", ways(named("ldap"), nil), "element 1 is nil"},
		{"SignIn.Ways", ways(named("")), "the name of element 0 is required"},
		{"SignIn.Ways", ways(named("password")), "already in use"},
		{"SignIn.Ways", ways(named("ldap"), named("ldap")), "already in use"},
		{"SignIn.Factors", factors(nil), "element 0 is nil"},
		{"SignIn.Factors", factors(named("email-code")), "already in use"},
		{"SignIn.NoAccountPasswords", func(c *gatehouse.Config) { c.SignIn.NoAccountPasswords = true }, "requires SignIn.Ways"},
		{"Handles.HoldAfterDeletion", func(c *gatehouse.Config) { c.Handles.HoldAfterDeletion = -1 }, "must not be negative"},
		{"Handles.HostRedirect", redirect("/profile"), "is not of the form"},
		{"Handles.HostRedirect", redirect("//example.com"), "is not of the form"},
		{"Handles.HostRedirect", redirect("javascript:alert(1)"), "is not of the form"},
		{"Handles.HostRedirect", redirect("https://{handle}/"), "in its host"},
		{"Handles.HostRedirect", redirect("https://{handle}.example.com?x"), "in its host"},
		{"Handles.HostRedirect", redirect("https://example.com:{handle}/"), "is not of the form"},
		{"Handles.HostRedirect", redirect("https://{handle}@example.com/"), "is not of the form"},
		{"Handles.HostRedirect", redirect("{handle}://example.com/"), "is not of the form"},
		{"Handles.HostRedirect", redirect("https://www.test/"), "is at the name of an account"},
		{"Handles.HostRedirect", redirect("https://ＷＷＷ。test./"), "is at the name of an account"},
		{"DIDs.Method", func(c *gatehouse.Config) { c.DIDs.Method = "key" }, `is not one of ["plc" "web"]`},
		{"DIDs.RecoveryKey", func(c *gatehouse.Config) { c.DIDs.RecoveryKey = "did:plc:x" }, "is not a did:key"},
		{"Keys.Tokens", func(c *gatehouse.Config) { c.Keys.Tokens = []sessions.Key{{ID: "one"}} }, "one"},
		{"Passwords.MinLength", func(c *gatehouse.Config) { c.Passwords.MinLength = 1000 }, "is not between 1 and 256"},
		{"Passwords", func(c *gatehouse.Config) { c.Passwords.Memory = 1 }, "m=1,t=2,p=1 is too little"},
		{"Passwords.Workers", func(c *gatehouse.Config) { c.Passwords.Workers = -1 }, "must not be negative"},
		{"Passwords.Queue", func(c *gatehouse.Config) { c.Passwords.Queue = -1 }, "must not be negative"},
		{"Mail.Templates", func(c *gatehouse.Config) { c.Mail.Templates = fstest.MapFS{"nonsense.txt": {}} }, "nonsense"},
		{"Mail.MuteNotices", func(c *gatehouse.Config) { c.Mail.MuteNotices = []mail.Kind{mail.ResetPassword} }, "is not one of"},
		{"Mail.Timeout", func(c *gatehouse.Config) { c.Mail.Timeout = -1 }, "must not be negative"},
		{"Limits.TrustedProxies", func(c *gatehouse.Config) { c.Limits.TrustedProxies = make([]netip.Prefix, 1) }, "element 0 is not a network"},
		{"MinDeletionDelay", func(c *gatehouse.Config) { c.MinDeletionDelay = -1 }, "must not be negative"},
		{"Description.PrivacyPolicyURL", func(c *gatehouse.Config) { c.Description.PrivacyPolicyURL = "/privacy" }, "is not of the form"},
		{"Description.TermsOfServiceURL", func(c *gatehouse.Config) { c.Description.TermsOfServiceURL = "javascript:alert(1)" }, "is not of the form"},
		{"Description.BlobUploadLimit", func(c *gatehouse.Config) { c.Description.BlobUploadLimit = -1 }, "must not be negative"},
		{"OAuth.Issuer", func(c *gatehouse.Config) { c.OAuth.Issuer = "http://entryway.example.com" }, "must begin with https://"},
		{"OAuth.Issuer", func(c *gatehouse.Config) { c.OAuth.Issuer = "https://entryway.example.com/" }, "more than a scheme, a host and a port"},
		{"OAuth.Issuer", func(c *gatehouse.Config) { c.OAuth.Issuer = "entryway" }, "is not a URL"},
		{"OAuth.Issuer", func(c *gatehouse.Config) {
			c.PublicURL, c.OAuth.Issuer = "https://pds.example.com", "https://pds.example.com"
		}, "is this server's own PublicURL"},
		{"OAuth.Resources", func(c *gatehouse.Config) { c.OAuth.Resources = []string{"https://pds.example.com"} }, "is not a DID"},
		{"OAuth.TrustedClients", func(c *gatehouse.Config) { c.OAuth.TrustedClients = []string{"app.example.com"} }, "is not the URL of a client's metadata document"},
		{"OAuth.Introspectors", func(c *gatehouse.Config) {
			c.OAuth.Introspectors = map[string]string{"feeds:one": "a long enough password"}
		}, "must not be empty or contain a colon"},
		{"OAuth.Introspectors", func(c *gatehouse.Config) { c.OAuth.Introspectors = map[string]string{"feeds": "short"} }, "at least 16 characters"},
		{"Keys.OAuth", func(c *gatehouse.Config) { c.Keys.OAuth = []sessions.OAuthKey{{ID: "one"}} }, "is not a P-256 key"},
		{"Hooks", func(c *gatehouse.Config) { c.Hooks = make([]accounts.Hook, 1) }, "element 0 is nil"},
		{"LeaveToFallback", func(c *gatehouse.Config) { c.LeaveToFallback = []string{"com.atproto.sync.listRepos"} }, "requires Fallback"},
		{"LeaveToFallback", func(c *gatehouse.Config) {
			c.Fallback, c.LeaveToFallback = http.NotFoundHandler(), []string{"com.atproto.sync.getRepo"}
		}, "is not a method of Gatehouse"},
	} {
		cfg := gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}}
		c.change(&cfg)
		_, err := start(t, cfg)
		if err == nil || !strings.Contains(err.Error(), "gatehouse: Config."+c.field+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.field, err, c.want)
		}
	}
	if _, err := gatehouse.New(t.Context(), nil, gatehouse.Config{}); err == nil {
		t.Error("New returned no error without a store")
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := start(t, gatehouse.Config{
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
	var fields []string
	for line := range strings.Lines(err.Error()) {
		_, rest, _ := strings.Cut(line, "Config.")
		field, _, _ := strings.Cut(rest, ":")
		fields = append(fields, field)
	}
	want := []string{
		"Admins", "Admins", "HandleDomains", "HandleDomains", "Hostname", "LeaveToFallback", "LeaveToFallback", "Mail.MuteNotices", "Mail.Timeout",
		"MinDeletionDelay", "ModService", "SignUp.InviteInterval", "SignUp.Mode",
	}
	if slices.Sort(fields); !slices.Equal(fields, want) {
		t.Errorf("mistakes in %q, want %q", fields, want)
	}
}

// TestEachChoiceHasOneField: what can be chosen is a value of an interface (or a list of keys), for
// which the Config has one field, and no second one that says the same as text.
func TestEachChoiceHasOneField(t *testing.T) {
	want := map[reflect.Type]string{
		reflect.TypeFor[xrpc.AdminAuth]():      "Admins",
		reflect.TypeFor[did.Directory]():       "DIDs.Directory",
		reflect.TypeFor[did.Signer]():          "DIDs.RotationKey",
		reflect.TypeFor[handle.Resolver]():     "Handles.Resolver",
		reflect.TypeFor[[]sessions.Key]():      "Keys.Tokens",
		reflect.TypeFor[keys.Store]():          "Keys.Accounts",
		reflect.TypeFor[[]sessions.OAuthKey](): "Keys.OAuth",
		reflect.TypeFor[client.Fetcher]():      "OAuth.Documents",
		reflect.TypeFor[scope.SetResolver]():   "OAuth.PermissionSets",
		reflect.TypeFor[mail.Mailer]():         "Mail.Mailer",
		reflect.TypeFor[ratelimit.Limiter]():   "Limits.Limiter",
	}
	fields := map[reflect.Type][]string{}
	for path, field := range fieldsOf(reflect.TypeFor[gatehouse.Config](), "") {
		fields[field.Type] = append(fields[field.Type], path)
		if text := field.Type == reflect.TypeFor[string]() || field.Type == reflect.TypeFor[[]byte](); text &&
			(strings.Contains(path, "Secret") || strings.HasSuffix(path, "Password")) {
			t.Errorf("Config.%s is a secret as text", path)
		}
	}
	for choice, path := range want {
		if !slices.Equal(fields[choice], []string{path}) {
			t.Errorf("%v is chosen in %q, want %s alone", choice, fields[choice], path)
		}
	}
}

// TestEveryFieldOfTheConfigIsUsed: the wiring hands each field on to something, directly or as what
// was made of it when it was checked.
func TestEveryFieldOfTheConfigIsUsed(t *testing.T) {
	derived := map[string]string{
		"ExtraHostnames":    "hostnames",
		"OAuth.Issuer":      "oauthIssuer",
		"Mail.Templates":    "templates",
		"Passwords.Memory":  "password",
		"Passwords.Time":    "password",
		"Passwords.Threads": "password",
		"Passwords.Workers": "password",
		"Passwords.Queue":   "password",
	}
	used := map[string]bool{}
	for _, name := range []string{"wire.go", "oauth.go", "gatehouse.go", "maintain.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if path, ok := strings.CutPrefix(selection(n), "cfg."); ok {
				used[path] = true
			}
			return true
		})
	}
	for path := range fieldsOf(reflect.TypeFor[gatehouse.Config](), "") {
		if !used[path] && !used[derived[path]] {
			t.Errorf("Config.%s isn't used", path)
		}
	}
}

// selection returns what an expression such as s.cfg.Mail.Mailer selects, without its first part.
func selection(n ast.Node) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if of := selection(s.X); of != "" {
		return of + "." + s.Sel.Name
	}
	return s.Sel.Name
}

// TestConstantsOfTheConfigHaveTypes, so that a constant for one field can't be used for another.
func TestConstantsOfTheConfigHaveTypes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name.Name != "gatehouse" {
			continue
		}
		for _, d := range file.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.CONST {
				continue
			}
			for _, s := range d.Specs {
				s := s.(*ast.ValueSpec)
				switch {
				case !s.Names[0].IsExported() || s.Names[0].Name == "Version":
				case s.Type == nil:
					t.Errorf("%s has no type", s.Names[0])
				default:
					typed++
				}
			}
		}
	}
	if typed < 6 {
		t.Errorf("found only %d constants", typed)
	}
}

// TestValidRedirects: the handle may be anywhere but in the host, and the host may be one of the
// server's own.
func TestValidRedirects(t *testing.T) {
	for _, redirect := range []string{
		"https://example.com", "HTTPS://example.com/{handle}", "https://example.com?handle={handle}", "https://example.com#{handle}",
		"https://pds.test/{handle}", "http://www.test/",
	} {
		_, err := start(t, gatehouse.Config{
			Hostname: "pds.test", ExtraHostnames: []string{"WWW.test"}, HandleDomains: []string{".test"},
			Handles: gatehouse.Handles{HostRedirect: redirect},
		})
		if err != nil {
			t.Errorf("%s: %v", redirect, err)
		}
	}
}

func TestALocalServerPublishesNothing(t *testing.T) {
	for host, local := range map[string]bool{
		"localhost": true, "localhost:2583": true, "pds.test": true, "a.b.localhost": true, "pds.example": true, "127.0.0.1": true,
		"Localhost": true, "pds.example.com": false, "127.example.com": false, "localhost.com": false,
	} {
		srv, err := start(t, gatehouse.Config{Hostname: host, HandleDomains: []string{".test"}})
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if got := srv.Directory != nil; got != local {
			t.Errorf("%s: there is a local directory: %v, want %v", host, got, local)
		}
		if got := srv.PLCDirectory() != nil; got != local {
			t.Errorf("%s: the local directory is served: %v, want %v", host, got, local)
		}
	}
}

func TestCloseLeavesTheStoreOpen(t *testing.T) {
	srv, err := start(t, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
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

func TestMailFailsWithoutAMailer(t *testing.T) {
	srv, err := start(t, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		t.Fatal(err)
	}
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
		srv, err := start(t, gatehouse.Config{
			Hostname: "lobby.test:2583", PublicURL: "https://Door.test", HandleDomains: []string{".test"}, DIDs: gatehouse.DIDs{Method: method},
		})
		if err != nil {
			t.Fatal(err)
		}
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
				t.Errorf("%s: %s is available: %+v, %v", method, name, a, err)
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
