package xrpc

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/lexicon"
)

// lexiconsJSON are the lexicons of the methods in the table, as far as their inputs need them.
//
//go:generate go run ../internal/lexicons/extract lexicons.json
//go:embed lexicons.json
var lexiconsJSON []byte

// methods returns the methods in the table by NSID, with the schemas of their inputs. The lexicons
// are parsed and compiled once in a process.
var methods = sync.OnceValues(func() (map[string]*method, error) {
	catalog, err := parseLexicons(lexiconsJSON)
	if err != nil {
		return nil, err
	}
	return compileTable(catalog, declared())
})

// compileTable adds the schemas of their inputs to the rows of a table, and returns the rows by NSID.
// They aren't changed from then on. It returns an error for a row that doesn't fit its lexicon, and
// for a method that has two.
func compileTable(lexicons lexicon.Catalog, table []*method) (map[string]*method, error) {
	all := make(map[string]*method, len(table))
	for _, m := range table {
		if all[m.nsid] != nil {
			return nil, fmt.Errorf("%s: it is in the table twice", m.nsid)
		}
		var err error
		if m.in, err = (compiler{lexicons}).row(m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.nsid, err)
		}
		all[m.nsid] = m
	}
	return all, nil
}

// parseLexicons parses files that each hold an array of lexicons.
func parseLexicons(files ...[]byte) (lexicon.Catalog, error) {
	catalog := lexicon.NewBaseCatalog()
	for _, file := range files {
		var all []lexicon.SchemaFile
		if err := json.Unmarshal(file, &all); err != nil {
			return nil, fmt.Errorf("lexicons: %w", err)
		}
		for _, one := range all {
			if err := catalog.AddSchemaFile(one); err != nil {
				return nil, fmt.Errorf("lexicon %s: %w", one.ID, err)
			}
		}
	}
	return catalog, nil
}

// compiler makes schemas of lexicons. It checks that Go types fit the lexicons, so that each value
// that satisfies a schema can be decoded into its type. Properties are checked in the order in
// which the fields of the type are declared, since lexicons give them none.
type compiler struct{ lexicons lexicon.Catalog }

// row returns the schema of the input of a method, with what its row adds to the lexicon.
func (c compiler) row(m *method) (*schema, error) {
	in, err := c.input(m)
	if err != nil {
		return nil, err
	}
	for _, path := range m.typedPaths {
		found := in.at(path)
		if len(found) == 0 {
			return nil, fmt.Errorf("no property %s", path)
		}
		for _, s := range found {
			s.typed = true
		}
	}
	if m.unknown != "" {
		if in == nil {
			return nil, errors.New("no input that could have other properties")
		}
		in.noOthers = m.unknown
	}
	return in, nil
}

// input returns the schema of the input or the parameters of a method, nil if it has none.
func (c compiler) input(m *method) (*schema, error) {
	def, err := c.lexicons.Resolve(m.nsid)
	if err != nil {
		return nil, err
	}
	var in any
	switch main := def.Def.(type) {
	case lexicon.SchemaQuery:
		if !m.query {
			return nil, errors.New("a query, declared as a procedure")
		}
		if main.Parameters != nil {
			in = *main.Parameters
		}
	case lexicon.SchemaProcedure:
		if m.query {
			return nil, errors.New("a procedure, declared as a query")
		}
		if main.Parameters != nil {
			return nil, errors.New("parameters of procedures aren't supported")
		}
		if main.Input != nil {
			if main.Input.Encoding != "application/json" || main.Input.Schema == nil {
				return nil, errors.New("an input that isn't JSON isn't supported")
			}
			in = main.Input.Schema.Inner
		}
	default:
		return nil, fmt.Errorf("a %T, not a method", main)
	}
	switch {
	case in == nil && m.goType == nil:
		return nil, nil
	case in == nil:
		return nil, fmt.Errorf("the lexicon has no input, but the handler takes %v", m.goType)
	case m.goType == nil:
		return nil, errors.New("the lexicon has an input, but the handler takes none")
	}
	return c.compile(m.nsid, in, m.goType)
}

// compile returns the schema of a definition in the lexicon of the given NSID, of values that the
// Go type holds.
func (c compiler) compile(nsid string, def any, t reflect.Type) (*schema, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	misfit := func(kind reflect.Kind) error {
		if t.Kind() != kind {
			return fmt.Errorf("%v doesn't hold a %T", t, def)
		}
		return nil
	}
	unsupported := func(rules ...bool) error { // rules that no method here has so far
		if slices.Contains(rules, true) {
			return fmt.Errorf("a rule of this %T isn't supported", def)
		}
		return nil
	}
	switch def := def.(type) {
	case lexicon.SchemaString:
		// Maximum lengths aren't checked here: the size of the request has a limit, and handlers
		// validate what they take.
		err := unsupported(def.MinLength != nil, def.MinGraphemes != nil, def.MaxGraphemes != nil, def.Enum != nil, def.Const != nil)
		s := &schema{kind: reflect.String}
		if def.Format != nil {
			s.format = *def.Format
			if _, ok := formats[s.format]; !ok {
				return nil, fmt.Errorf("unknown format %s", s.format)
			}
		}
		return s, errors.Join(err, misfit(reflect.String))
	case lexicon.SchemaBoolean:
		return &schema{kind: reflect.Bool}, errors.Join(unsupported(def.Const != nil), misfit(reflect.Bool))
	case lexicon.SchemaInteger:
		err := unsupported(def.Enum != nil, def.Const != nil)
		return &schema{kind: reflect.Int64, min: int64Of(def.Minimum), max: int64Of(def.Maximum)}, errors.Join(err, misfit(reflect.Int64))
	case lexicon.SchemaArray:
		if err := errors.Join(unsupported(def.MinLength != nil, def.MaxLength != nil), misfit(reflect.Slice)); err != nil {
			return nil, err
		}
		elem, err := c.compile(nsid, def.Items.Inner, t.Elem())
		return &schema{kind: reflect.Slice, elem: elem}, err
	case lexicon.SchemaUnknown:
		if t.Kind() != reflect.Interface && t.Kind() != reflect.Map && !decodes(t) {
			return nil, misfit(reflect.Interface)
		}
		return &schema{kind: reflect.Interface}, nil
	case lexicon.SchemaParams:
		return c.object(nsid, def.Properties, def.Required, t)
	case lexicon.SchemaObject:
		if err := unsupported(len(def.Nullable) > 0); err != nil {
			return nil, err
		}
		if decodes(t) {
			return nil, fmt.Errorf("%v has a decoder of its own", t)
		}
		return c.object(nsid, def.Properties, def.Required, t)
	case lexicon.SchemaRef:
		return c.reference(nsid, def.Ref, t)
	case lexicon.SchemaUnion:
		if err := unsupported(def.Closed != nil && *def.Closed); err != nil {
			return nil, err
		}
		return c.union(nsid, def.Refs, t)
	}
	return nil, fmt.Errorf("%T isn't supported", def)
}

// reference compiles the definition that a lexicon refers to.
func (c compiler) reference(nsid, ref string, t reflect.Type) (*schema, error) {
	def, err := c.lexicons.Resolve(fullRef(nsid, ref))
	if err != nil {
		return nil, err
	}
	home, _, _ := strings.Cut(def.ID, "#")
	return c.compile(home, def.Def, t)
}

// fullRef completes a reference within a lexicon.
func fullRef(nsid, ref string) string {
	if strings.HasPrefix(ref, "#") {
		return nsid + ref
	}
	return ref
}

// object compiles an object, or parameters.
func (c compiler) object(nsid string, properties map[string]lexicon.SchemaDef, required []string, t reflect.Type) (*schema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v doesn't hold an object", t)
	}
	s := &schema{kind: reflect.Struct}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		optional := slices.Contains(strings.Split(options, ","), "omitempty")
		if name == "$type" { // which members of unions have, and no lexicon lists
			s.fields = append(s.fields, field{name: name, required: !optional, schema: &schema{kind: reflect.String}})
			continue
		}
		def, ok := properties[name]
		if !ok {
			return nil, fmt.Errorf("%v.%s is not in the lexicon", t, t.Field(i).Name)
		}
		property, err := c.compile(nsid, def.Inner, t.Field(i).Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f := field{name: name, required: slices.Contains(required, name), byDefault: defaultOf(def.Inner), schema: property}
		switch present := f.required || f.byDefault != nil; {
		case present && optional:
			return nil, fmt.Errorf("%s is always present, but its Go field is omitempty", name)
		case !present && !optional:
			return nil, fmt.Errorf("%s is optional, but its Go field isn't omitempty", name)
		case !present && !canBeNil(t.Field(i).Type):
			return nil, fmt.Errorf("%s is optional, but its Go field can't be nil", name)
		}
		s.fields = append(s.fields, f)
	}
	for name := range properties {
		if s.field(name) == nil {
			return nil, fmt.Errorf("%v has no field for %s", t, name)
		}
	}
	return s, nil
}

// union compiles an open union. indigo's unions have a pointer for each member, whose $type is in a
// tag.
func (c compiler) union(nsid string, refs []string, t reflect.Type) (*schema, error) {
	if t.Kind() != reflect.Struct || !decodes(t) {
		return nil, fmt.Errorf("%v doesn't hold a union", t)
	}
	s := &schema{kind: reflect.Interface, variants: map[string]*schema{}}
	members := map[string]reflect.Type{}
	for i := range t.NumField() {
		members[typeOf(t.Field(i).Type)] = t.Field(i).Type
	}
	for _, ref := range refs {
		name := fullRef(nsid, ref)
		member, ok := members[name]
		if !ok {
			return nil, fmt.Errorf("%v has no member for %s", t, name)
		}
		variant, err := c.reference(nsid, ref, member)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.variants[name] = variant
	}
	if len(members) != len(refs) {
		return nil, fmt.Errorf("%v has %d members for %d references", t, len(members), len(refs))
	}
	return s, nil
}

// typeOf returns the $type of a member of a union.
func typeOf(member reflect.Type) string {
	if member.Kind() != reflect.Pointer || member.Elem().Kind() != reflect.Struct {
		return ""
	}
	f, _ := member.Elem().FieldByName("LexiconTypeID")
	_, name, _ := strings.Cut(f.Tag.Get("cborgen"), "const=")
	name, _, _ = strings.Cut(name, ",")
	return name
}

// decodes reports whether a type decodes JSON by itself.
func decodes(t reflect.Type) bool {
	return t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func canBeNil(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Interface, reflect.Map:
		return true
	}
	return false
}

// defaultOf returns the default of a property as check returns its value, or nil.
func defaultOf(def any) any {
	switch def := def.(type) {
	case lexicon.SchemaString:
		return orNil(def.Default)
	case lexicon.SchemaBoolean:
		return orNil(def.Default)
	case lexicon.SchemaInteger:
		return orNil(int64Of(def.Default))
	}
	return nil
}

func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func int64Of(p *int) *int64 {
	if p == nil {
		return nil
	}
	n := int64(*p)
	return &n
}
