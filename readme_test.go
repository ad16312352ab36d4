package gatehouse_test

import (
	"os"
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
