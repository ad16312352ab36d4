package gatehouse_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-at/gatehouse"

// TestImports keeps the arrows pointing one way: xrpc, web → domains → storage.
func TestImports(t *testing.T) {
	imports := map[string][]string{} // of packages of this module, direct ones
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		imports[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p.Imports
	}
	domains := []string{"accounts", "sessions", "invites", "apppasswords"}
	within := func(p string, roots ...string) bool {
		return slices.ContainsFunc(roots, func(r string) bool { return p == r || strings.HasPrefix(p, r+"/") })
	}
	backends := []string{"storage/memory", "storage/bolt", "storage/postgres"}
	// What only some may import, since whoever imports them pays for it.
	only := map[string][]string{
		"go.etcd.io/bbolt":                                   {"storage/bolt"},
		"github.com/jackc/pgx/v5":                            {"storage/postgres", "internal/pgcluster"},
		"github.com/alecthomas/kong":                         {"examples"},
		"github.com/wneessen/go-mail":                        {"accounts/mail/deliver"},
		"pgregory.net/rapid":                                 {"storage/storagetest"},
		"github.com/tidwall/btree":                           {"storage/internal/kv", "storage/memory"},
		"github.com/golang-jwt/jwt/v5":                       {"sessions"},
		"testing":                                            {"storage/storagetest", "gatehousetest", "internal"},
		"github.com/gatehouse-at/gatehouse/storage/postgres": {"examples", "internal/e2e"},
	}
	for p, list := range imports {
		for _, path := range list {
			inside, ours := strings.CutPrefix(path, module)
			inside = strings.TrimPrefix(inside, "/")
			for what, who := range only {
				if (path == what || strings.HasPrefix(path, what+"/")) && !within(p, who...) {
					t.Errorf("%s imports %s, which only %v may", p, path, who)
				}
			}
			switch {
			case within(p, domains...) && path == "net/http" && p != "accounts/did":
				t.Errorf("%s is a domain and imports net/http", p)
			case !ours:
			case within(p, domains...) && (inside == "" || within(inside, append([]string{"xrpc", "web", "examples", "gatehousetest"}, backends...)...)):
				t.Errorf("%s is a domain and imports %s", p, path)
			case within(p, "storage") && !within(inside, "storage"):
				t.Errorf("%s imports %s: storage knows nothing but itself", p, path)
			case within(p, "xrpc", "web") && (inside == "" || within(inside, backends...)):
				t.Errorf("%s imports %s", p, path)
			case p == "accounts" && within(inside, "sessions", "invites", "apppasswords"):
				t.Errorf("accounts import %s, which follow them", path)
			}
		}
	}
	if len(imports["accounts"]) == 0 {
		t.Error("nothing was looked at")
	}
}

// TestAnEmbedderPaysForWhatItUses looks at everything that a program compiles which imports the
// front door alone.
func TestAnEmbedderPaysForWhatItUses(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(string(out))
	if !slices.Contains(all, module+"/accounts") {
		t.Fatal("nothing was looked at")
	}
	for _, path := range all {
		for _, optional := range []string{
			"github.com/jackc/pgx", "github.com/alecthomas/kong", "github.com/wneessen/go-mail", "pgregory.net/rapid", "go.etcd.io/bbolt", "testing",
			module + "/storage/", // the backends
		} {
			if strings.HasPrefix(path, optional) {
				t.Errorf("the front door needs %s", path)
			}
		}
	}
}
