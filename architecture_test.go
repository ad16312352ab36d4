package gatehouse_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-at/gatehouse"

// architecture is docs/architecture.md.
func architecture(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// imports returns the packages of this module that are no tests' or examples', by their path below
// the module (the front door is "."), with what each imports directly.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath       string
			Imports, GoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all[room(p.ImportPath)] = p.Imports
		}
	}
}

// room is the path of a package below the module, and any other import path as it is.
func room(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func within(p string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return p == r || strings.HasPrefix(p, r+"/") })
}

// TestTheArchitectureAgreesWithTheImports holds the table of rooms in docs/architecture.md against
// the source: each room imports what the table says, no less and no more.
func TestTheArchitectureAgreesWithTheImports(t *testing.T) {
	_, section, _ := strings.Cut(architecture(t), "\n## Rooms\n")
	section, _, _ = strings.Cut(section, "\n## ")
	may := map[string][]string{}
	name := regexp.MustCompile("`([^`]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .* \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		may[row[1]] = []string{}
		for _, to := range name.FindAllStringSubmatch(row[2], -1) {
			may[row[1]] = append(may[row[1]], to[1])
		}
	}
	for p, list := range imports(t) {
		if within(p, "examples", "internal/domaintest", "internal/e2e", "internal/interop", "internal/pgcluster", "internal/lexicons", "internal/performance") {
			continue
		}
		allowed, ok := may[p]
		if !ok {
			t.Errorf("%s is not in the table", p)
			continue
		}
		delete(may, p)
		used := map[string]bool{}
		for _, path := range list {
			to := room(path)
			if to == path && path != "net/http" { // not ours
				continue
			}
			if used[to] = true; !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s, which the table doesn't have", p, to)
			}
		}
		for _, to := range allowed {
			if !used[to] {
				t.Errorf("%s doesn't import %s, which the table has", p, to)
			}
		}
	}
	for p := range may {
		t.Errorf("%s is in the table, and there is no such package", p)
	}
}

// TestTheWaysLeadThroughTheSource: docs/architecture.md follows five things through the source.
// Each step names a file and a function in it, and no way comes back to a file that it has left.
func TestTheWaysLeadThroughTheSource(t *testing.T) {
	_, section, _ := strings.Cut(architecture(t), "\n## Ways\n")
	ways := 0
	for way := range strings.SplitSeq(section, "\n### ") {
		title, _, _ := strings.Cut(strings.TrimSpace(way), "\n")
		steps := regexp.MustCompile("(?m)^\\d+\\. `([\\w/]+\\.go)` ([^:]+):").FindAllStringSubmatch(way, -1)
		if len(steps) == 0 {
			continue
		}
		ways++
		visited := map[string]bool{}
		for _, step := range steps {
			file := step[1]
			if visited[file] {
				t.Errorf("%s: %s is visited twice", title, file)
			}
			visited[file] = true
			source, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("%s: %v", title, err)
				continue
			}
			for _, function := range regexp.MustCompile("`(?:\\w+\\.)?(\\w+)`").FindAllStringSubmatch(step[2], -1) {
				if !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |\t)` + function[1] + `\b`).Match(source) {
					t.Errorf("%s: %s declares no %s", title, file, function[1])
				}
			}
		}
	}
	if ways != 5 {
		t.Errorf("%d ways", ways)
	}
}

// TestImportRules keeps the rules that no list of rooms shows: what only some may import, since
// whoever imports them pays for it, and the direction of the arrows.
func TestImportRules(t *testing.T) {
	domains := []string{"accounts", "oauth", "signin", "sessions", "invites", "apppasswords", "audit"}
	backends := []string{"storage/memory", "storage/bolt", "storage/postgres"}
	only := map[string][]string{
		"go.etcd.io/bbolt":              {"storage/bolt", "internal/performance"},
		"github.com/jackc/pgx/v5":       {"storage/postgres", "internal/pgcluster", "internal/performance"},
		"github.com/alecthomas/kong":    {"examples"},
		"github.com/wneessen/go-mail":   {"accounts/mail/deliver"},
		"pgregory.net/rapid":            {"storage/storagetest"},
		"github.com/tidwall/btree":      {"storage/internal/kv", "storage/memory"},
		"github.com/golang-jwt/jwt/v5":  {"sessions", "internal/jws"},
		"github.com/go-jose/go-jose/v4": {"internal/jws", "internal/jwks", "internal/oauthtest", "oauth"},
		"github.com/petermattis/goid":   {"storage/internal"},
		"testing":                       {"storage/storagetest", "gatehousetest", "internal"},
		module + "/storage/postgres":    {"examples", "internal/e2e", "internal/performance"},
		module + "/internal/domaintest": {},
	}
	for p, list := range imports(t) {
		for _, path := range list {
			to := room(path)
			for what, who := range only {
				if within(path, what) && !within(p, who...) {
					t.Errorf("%s imports %s, which only %v may", p, path, who)
				}
			}
			switch {
			case within(p, domains...) && path == "net/http" && p != "accounts/did":
				t.Errorf("%s is a domain and imports net/http", p)
			case within(p, domains...) && within(to, append([]string{".", "xrpc", "web", "examples", "gatehousetest"}, backends...)...):
				t.Errorf("%s is a domain and imports %s", p, to)
			case within(p, "storage") && to != path && !within(to, "storage"):
				t.Errorf("%s imports %s: storage knows nothing but itself", p, to)
			case within(p, "xrpc", "web") && within(to, append([]string{"."}, backends...)...):
				t.Errorf("%s imports %s", p, to)
			case within(p, "accounts") && within(to, "signin", "sessions", "invites", "apppasswords"):
				t.Errorf("%s imports %s, which is above it", p, to)
			case within(p, "sessions", "invites", "apppasswords") && within(to, "signin", "oauth"), within(p, "signin") && within(to, "oauth"):
				t.Errorf("%s imports %s, which is above it", p, to)
			}
		}
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
			"github.com/jackc/pgx", "github.com/chromedp", "github.com/alecthomas/kong", "github.com/wneessen/go-mail", "pgregory.net/rapid", "go.etcd.io/bbolt", "testing",
			module + "/storage/", // the backends
		} {
			if strings.HasPrefix(path, optional) {
				t.Errorf("the front door needs %s", path)
			}
		}
	}
}
