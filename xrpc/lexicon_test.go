package xrpc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/lexicons"
)

// lexiconType is as much of a type's definition as the table has to say again.
type lexiconType struct {
	Type       string                  `json:"type"`
	Format     string                  `json:"format"`
	Required   []string                `json:"required"`
	Properties map[string]*lexiconType `json:"properties"`
	Items      *lexiconType            `json:"items"`
	Ref        string                  `json:"ref"`
	Refs       []string                `json:"refs"`
	Default    any                     `json:"default"`
	Minimum    *int64                  `json:"minimum"`
	Maximum    *int64                  `json:"maximum"`
}

// comparison holds the table against the lexicons.
type comparison struct {
	*testing.T
	*lexicons.Catalog
}

// def decodes a definition of the lexicon that refers to it.
func (c comparison) def(nsid, ref string, into any) (home string) {
	home, name, named := strings.Cut(ref, "#")
	if home == "" {
		home = nsid
	}
	if !named {
		name = "main"
	}
	if err := json.Unmarshal(c.Def(home+"#"+name), into); err != nil {
		c.Fatalf("%s#%s: %v", home, name, err)
	}
	return home
}

func (c comparison) same(nsid, path string, want *lexiconType, s *schema) {
	if s == nil {
		c.Errorf("%s is missing", path)
		return
	}
	if s.format != want.Format {
		c.Errorf("%s: the format is %q, want %q", path, s.format, want.Format)
	}
	if value(s.min) != value(want.Minimum) || value(s.max) != value(want.Maximum) {
		c.Errorf("%s: from %d to %d, want %d to %d", path, value(s.min), value(s.max), value(want.Minimum), value(want.Maximum))
	}
	switch want.Type {
	case "ref":
		var to lexiconType
		home := c.def(nsid, want.Ref, &to)
		c.same(home, path, &to, s)
	case "union":
		for _, ref := range want.Refs {
			var member lexiconType
			home := c.def(nsid, ref, &member)
			c.same(home, path+"("+ref+")", &member, s.variants[ref])
		}
	case "array":
		c.same(nsid, path+"[]", want.Items, s.elem)
	case "object", "params":
		for name, property := range want.Properties {
			f := s.field(name)
			if f == nil {
				c.Errorf("%s has no %s", path, name)
				continue
			}
			if fmt.Sprint(f.byDefault) != fmt.Sprint(property.Default) {
				c.Errorf("%s/%s is %v by default, want %v", path, name, f.byDefault, property.Default)
			}
			if required := slices.Contains(want.Required, name); f.byDefault == nil && f.required != required {
				c.Errorf("%s/%s: required is %v, want %v", path, name, f.required, required)
			}
			c.same(nsid, path+"/"+name, property, f.schema)
		}
		for _, f := range s.fields {
			if want.Properties[f.name] == nil && f.name != "$type" {
				c.Errorf("%s has a %s of its own", path, f.name)
			}
		}
	}
}

// TestTheTableSaysWhatTheLexiconsSay: formats, ranges and defaults are written down by hand.
func TestTheTableSaysWhatTheLexiconsSay(t *testing.T) {
	catalog, err := lexicons.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := comparison{t, catalog}
	for _, m := range new(Server).table() {
		var want struct {
			Type       string       `json:"type"`
			Parameters *lexiconType `json:"parameters"`
			Input      struct {
				Schema *lexiconType `json:"schema"`
			} `json:"input"`
		}
		c.def(m.nsid, m.nsid, &want)
		if m.query != (want.Type == "query") {
			t.Errorf("%s is a %s", m.nsid, want.Type)
		}
		in := want.Input.Schema
		if m.query {
			in = want.Parameters
		}
		switch {
		case in != nil:
			c.same(m.nsid, m.nsid, in, m.in)
		case m.in != nil:
			t.Errorf("%s takes no input", m.nsid)
		}
	}
}
