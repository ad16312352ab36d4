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

// The README's table of the configuration has every field, and no other.
func TestTheReadmeListsTheConfiguration(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Configuration\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+(?:, \w+)*) \|`).FindAllStringSubmatch(section, -1) {
		for field := range strings.SplitSeq(row[1], ", ") {
			if listed[field] {
				t.Errorf("%s is there twice", field)
			}
			listed[field] = true
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[gatehouse.Config]()) {
		if !listed[field.Name] {
			t.Errorf("Config.%s is not in the README", field.Name)
		}
		delete(listed, field.Name)
	}
	for field := range listed {
		t.Errorf("Config.%s is in the README only", field)
	}
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
