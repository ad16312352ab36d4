package lexicons

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Extract returns what the lexicons say of the inputs of methods, with the definitions that these
// refer to, and without descriptions: a JSON array of lexicons, one on a line, sorted by NSID.
func (c *Catalog) Extract(nsids ...string) ([]byte, error) {
	e := extraction{c, map[string]map[string]any{}}
	for _, nsid := range nsids {
		if err := e.add(nsid, "main"); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	for i, nsid := range slices.Sorted(maps.Keys(e.lexicons)) {
		out.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		one, err := json.Marshal(struct {
			Lexicon int            `json:"lexicon"`
			ID      string         `json:"id"`
			Defs    map[string]any `json:"defs"`
		}{1, nsid, e.lexicons[nsid]})
		if err != nil {
			return nil, err
		}
		out.Write(one)
	}
	out.WriteString("\n]\n")
	return out.Bytes(), nil
}

// extraction collects definitions, by NSID and name.
type extraction struct {
	*Catalog
	lexicons map[string]map[string]any
}

// add adds a definition and those that it refers to.
func (e *extraction) add(nsid, name string) error {
	if _, done := e.lexicons[nsid][name]; done {
		return nil
	}
	var def map[string]any
	if err := json.Unmarshal(e.Def(nsid+"#"+name), &def); err != nil {
		return fmt.Errorf("%s#%s: %w", nsid, name, err)
	}
	if name == "main" {
		delete(def, "output")
		delete(def, "errors")
	}
	if e.lexicons[nsid] == nil {
		e.lexicons[nsid] = map[string]any{}
	}
	e.lexicons[nsid][name] = def
	return e.follow(nsid, def)
}

// follow adds the definitions that one refers to, and removes its descriptions.
func (e *extraction) follow(nsid string, def map[string]any) error {
	if _, text := def["description"].(string); text {
		delete(def, "description")
	}
	refs := []any{}
	switch def["type"] {
	case "ref":
		refs = append(refs, def["ref"])
	case "union":
		refs, _ = def["refs"].([]any)
	}
	for _, ref := range refs {
		home, name, named := strings.Cut(fmt.Sprint(ref), "#")
		if home == "" {
			home = nsid
		}
		if !named {
			name = "main"
		}
		if err := e.add(home, name); err != nil {
			return err
		}
	}
	for _, part := range def {
		if inner, ok := part.(map[string]any); ok {
			if err := e.follow(nsid, inner); err != nil {
				return err
			}
		}
	}
	return nil
}
