// Package lexicons reads the official lexicons, which ship inside the indigo module of go.mod.
// Tests check outputs against them, and a generator extracts from them what the server needs of its
// methods.
package lexicons

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
)

// Catalog holds the lexicons below com.atproto.
type Catalog struct {
	catalog *lexicon.BaseCatalog
	methods map[string]Method
	defs    map[string]json.RawMessage // by NSID#name
}

// Method is what a lexicon says of a method, beside the types.
type Method struct {
	// Query is true for a query, false for a procedure.
	Query bool
	// Output is true if the method answers JSON.
	Output bool
	// Errors are the names of the errors it declares.
	Errors []string
	// Input are the types of its parameters or of its input's properties, by name.
	Input map[string]string
}

// properties are the properties of an object.
type properties struct {
	Properties map[string]struct {
		Type string `json:"type"`
	} `json:"properties"`
}

var load = sync.OnceValues(func() (*Catalog, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/bluesky-social/indigo").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the indigo module: %w", err)
	}
	c := &Catalog{lexicon.NewBaseCatalog(), map[string]Method{}, map[string]json.RawMessage{}}
	root := filepath.Join(strings.TrimSpace(string(out)), "lexicons", "com", "atproto")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := c.add(b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	return c, err
})

// Load returns the Catalog. It finds the indigo module with the go command.
func Load() (*Catalog, error) { return load() }

// add adds a lexicon. The library validates only records, so the output of a method becomes a
// record with the output as its only property.
func (c *Catalog) add(b []byte) error {
	var file struct {
		Lexicon int                        `json:"lexicon"`
		ID      string                     `json:"id"`
		Defs    map[string]json.RawMessage `json:"defs"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return err
	}
	for name, def := range file.Defs {
		c.defs[file.ID+"#"+name] = def
	}
	var main struct {
		Type       string     `json:"type"`
		Parameters properties `json:"parameters"`
		Input      struct {
			Schema properties `json:"schema"`
		} `json:"input"`
		Output *struct {
			Encoding string          `json:"encoding"`
			Schema   json.RawMessage `json:"schema"`
		} `json:"output"`
		Errors []struct {
			Name string `json:"name"`
		} `json:"errors"`
	}
	if raw := file.Defs["main"]; raw != nil {
		if err := json.Unmarshal(raw, &main); err != nil {
			return err
		}
	}
	if main.Type == "query" || main.Type == "procedure" {
		m := Method{Query: main.Type == "query", Input: map[string]string{}}
		for _, from := range []properties{main.Parameters, main.Input.Schema} {
			for name, p := range from.Properties {
				m.Input[name] = p.Type
			}
		}
		for _, e := range main.Errors {
			m.Errors = append(m.Errors, e.Name)
		}
		delete(file.Defs, "main")
		if main.Output != nil && main.Output.Schema != nil {
			m.Output = true
			record, err := json.Marshal(map[string]any{
				"type": "record", "key": "any",
				"record": map[string]any{
					"type": "object", "required": []string{"output"},
					"properties": map[string]any{"output": main.Output.Schema},
				},
			})
			if err != nil {
				return err
			}
			file.Defs["main"] = record
		}
		c.methods[file.ID] = m
	}
	if len(file.Defs) == 0 || main.Type == "subscription" || main.Type == "permission-set" {
		return nil
	}
	again, err := json.Marshal(file)
	if err != nil {
		return err
	}
	var sf lexicon.SchemaFile
	if err := json.Unmarshal(again, &sf); err != nil {
		return err
	}
	return c.catalog.AddSchemaFile(sf)
}

// Method returns what the lexicon of a method says.
func (c *Catalog) Method(nsid string) (Method, bool) {
	m, ok := c.methods[nsid]
	return m, ok
}

// Def returns the JSON of a definition by its NSID#name, or nil if there is none.
func (c *Catalog) Def(ref string) json.RawMessage { return c.defs[ref] }

// CheckOutput validates the body of a successful response.
func (c *Catalog) CheckOutput(nsid string, body []byte) error {
	m, ok := c.methods[nsid]
	switch {
	case !ok:
		return fmt.Errorf("%s has no lexicon", nsid)
	case !m.Output && len(body) == 0:
		return nil
	case !m.Output:
		return fmt.Errorf("%s has no output, and answered %q", nsid, body)
	}
	data, err := atdata.UnmarshalJSON([]byte(`{"$type":"` + nsid + `","output":` + string(body) + `}`))
	if err != nil {
		return fmt.Errorf("%s: %w", nsid, err)
	}
	if err := lexicon.ValidateRecord(c.catalog, data, nsid, 0); err != nil {
		return fmt.Errorf("%s: %w in %s", nsid, err, body)
	}
	return nil
}

// Methods returns the NSIDs of the methods that begin with one of the prefixes, sorted.
func (c *Catalog) Methods(prefixes ...string) []string {
	var all []string
	for nsid := range c.methods {
		for _, p := range prefixes {
			if strings.HasPrefix(nsid, p) {
				all = append(all, nsid)
			}
		}
	}
	slices.Sort(all)
	return all
}
