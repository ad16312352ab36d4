package gatehouse_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
)

// The program in the README is one that compiles.
func TestTheReadmeShowsAProgram(t *testing.T) {
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

// docs/configuration.md has every field of the configuration, and no other.
func TestTheDocsListTheConfiguration(t *testing.T) {
	b, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z][\w.]+(?:, [\w.]+)*) \|`).FindAllStringSubmatch(string(b), -1) {
		for field := range strings.SplitSeq(row[1], ", ") {
			if listed[field] {
				t.Errorf("%s is there twice", field)
			}
			listed[field] = true
		}
	}
	for _, field := range fieldsOf(reflect.TypeFor[gatehouse.Config](), "") {
		if !listed[field] {
			t.Errorf("Config.%s is not in docs/configuration.md", field)
		}
		delete(listed, field)
	}
	for field := range listed {
		t.Errorf("Config.%s is in docs/configuration.md only", field)
	}
}

// fieldsOf returns the names of a struct's fields, those of its groups as in "Handles.Hold".
func fieldsOf(t reflect.Type, prefix string) []string {
	var all []string
	for _, field := range reflect.VisibleFields(t) {
		if field.Type.Kind() == reflect.Struct && field.Type.PkgPath() == t.PkgPath() {
			all = append(all, fieldsOf(field.Type, prefix+field.Name+".")...)
			continue
		}
		all = append(all, prefix+field.Name)
	}
	return all
}

// The tests that SECURITY.md says stand for a line are there.
func TestSecurityNamesItsTests(t *testing.T) {
	b, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(code, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(b, -1)
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("there is no %s", m[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("SECURITY.md names %d tests", len(named))
	}
}
