package gatehouse_test

import (
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
)

// TestTheReadmeShowsAnExample: the program in the README is an example, so it compiles.
func TestTheReadmeShowsAnExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("examples/minimal/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(program), "package main\n")
	if !strings.Contains(string(readme), "```go\npackage main\n"+want+"```\n") {
		t.Error("the README doesn't show examples/minimal/main.go")
	}
}

// TestTheDocsListTheConfiguration: docs/configuration.md has a row for every field of the Config.
func TestTheDocsListTheConfiguration(t *testing.T) {
	b, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z][\w.]+(?:, [\w.]+)*) \|`).FindAllStringSubmatch(string(b), -1) {
		for field := range strings.SplitSeq(row[1], ", ") {
			if listed[field] {
				t.Errorf("%s is listed twice", field)
			}
			listed[field] = true
		}
	}
	for field := range fieldsOf(reflect.TypeFor[gatehouse.Config](), "") {
		if !listed[field] {
			t.Errorf("Config.%s is not in docs/configuration.md", field)
		}
		delete(listed, field)
	}
	for field := range listed {
		t.Errorf("docs/configuration.md lists Config.%s, which doesn't exist", field)
	}
}

// fieldsOf yields the fields of a struct by their paths, those of its groups as in "Handles.Hold".
func fieldsOf(t reflect.Type, prefix string) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(t) {
			if field.Type.Kind() != reflect.Struct || field.Type.PkgPath() != t.PkgPath() {
				if !yield(prefix+field.Name, field) {
					return
				}
				continue
			}
			for path, inner := range fieldsOf(field.Type, prefix+field.Name+".") {
				if !yield(path, inner) {
					return
				}
			}
		}
	}
}

// TestSecurityNamesItsTests: the tests that SECURITY.md names exist.
func TestSecurityNamesItsTests(t *testing.T) {
	b, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(code, -1) {
			found[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(b, -1)
	for _, m := range named {
		if !found[string(m[1])] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("SECURITY.md names %d tests", len(named))
	}
}
