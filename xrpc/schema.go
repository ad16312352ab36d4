package xrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-at/gatehouse/accounts"
)

// schema checks a JSON value against a Go type that was generated from a
// lexicon: the tags say what is required, the types what may stand where. What the
// types don't say, formats, ranges and defaults, is said in the table of methods.
type schema struct {
	kind     reflect.Kind // String, Bool, Int64, Slice, Struct, or Interface for any object
	elem     *schema
	fields   []field
	variants map[string]*schema // of a union, by $type
	format   string
	typed    bool // an identifier as people type it
	min, max *int64
	noOthers string // the beginning of the message about an unknown property; if empty, those are ignored
}

type field struct {
	name      string
	required  bool
	byDefault any
	schema    *schema
}

// schemaOf derives the schema of a type. It panics on a type that no lexicon gives, since
// the table of methods is part of the source.
func schemaOf(t reflect.Type) *schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64:
		return &schema{kind: t.Kind()}
	case reflect.Interface, reflect.Map:
		return &schema{kind: reflect.Interface}
	case reflect.Slice:
		return &schema{kind: reflect.Slice, elem: schemaOf(t.Elem())}
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return &schema{kind: reflect.Interface, variants: variantsOf(t)}
		}
		s := &schema{kind: reflect.Struct}
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			s.fields = append(s.fields, field{name: name, required: !strings.Contains(options, "omitempty"), schema: schemaOf(f.Type)})
		}
		return s
	}
	panic(fmt.Sprintf("xrpc: no lexicon has the type %v", t))
}

// variantsOf returns the members of a union by their $type, and nil for another type with a decoder
// of its own. indigo's unions have a pointer for each member, whose $type is in a tag.
func variantsOf(union reflect.Type) map[string]*schema {
	variants := map[string]*schema{}
	for i := range union.NumField() {
		member := union.Field(i).Type
		if member.Kind() != reflect.Pointer || member.Elem().Kind() != reflect.Struct {
			return nil
		}
		typed, _ := member.Elem().FieldByName("LexiconTypeID")
		_, name, ok := strings.Cut(typed.Tag.Get("cborgen"), "const=")
		if !ok {
			return nil
		}
		name, _, _ = strings.Cut(name, ",")
		variants[name] = schemaOf(member)
	}
	return variants
}

// at returns the schemas of a property, such as "did" or "subject/did": of a union
// those of all members that have it, and of an array that of its elements.
func (s *schema) at(path string) []*schema {
	if s == nil {
		return nil
	}
	if s.kind == reflect.Slice {
		return s.elem.at(path)
	}
	if path == "" {
		return []*schema{s}
	}
	var found []*schema
	for _, member := range s.variants {
		found = append(found, member.at(path)...)
	}
	name, rest, _ := strings.Cut(path, "/")
	if f := s.field(name); f != nil {
		found = append(found, f.schema.at(rest)...)
	}
	return found
}

func (s *schema) field(name string) *field {
	if s == nil {
		return nil
	}
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

// check returns the value with unknown properties left out. Path begins the messages.
func (s *schema) check(path string, v any) (any, error) {
	wrong := func(what string) error { return fmt.Errorf("%s must be %s", path, what) }
	switch s.kind {
	case reflect.String:
		text, ok := v.(string)
		if !ok {
			return nil, wrong("a string")
		}
		if s.typed {
			text = accounts.NormalizeIdentifier(text)
			v = text
		}
		if f := formats[s.format]; f.valid != nil && !f.valid(text) {
			return nil, wrong(f.text)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return nil, wrong("a boolean")
		}
	case reflect.Int64:
		n, ok := integer(v)
		if !ok {
			return nil, wrong("an integer")
		}
		if s.max != nil && n > *s.max {
			return nil, fmt.Errorf("%s can not be greater than %d", path, *s.max)
		}
		if s.min != nil && n < *s.min {
			return nil, fmt.Errorf("%s can not be less than %d", path, *s.min)
		}
		return n, nil
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return nil, wrong("an array")
		}
		for i := range list {
			checked, err := s.elem.check(path+"/"+strconv.Itoa(i), list[i])
			if err != nil {
				return nil, err
			}
			list[i] = checked
		}
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("an object")
		}
		return s.properties(path, path+"/", object)
	case reflect.Interface:
		return s.anything(path, v)
	}
	return v, nil
}

// properties checks an object. At is what it is called itself, and prefix what
// begins the names of its properties.
func (s *schema) properties(at, prefix string, object map[string]any) (map[string]any, error) {
	known := make(map[string]any, len(s.fields))
	for _, f := range s.fields {
		v, ok := object[f.name]
		switch {
		case !ok && f.byDefault != nil:
			known[f.name] = f.byDefault
			continue
		case !ok && f.required:
			return nil, fmt.Errorf("%s must have the property %q", at, f.name)
		case !ok:
			continue
		}
		checked, err := f.schema.check(prefix+f.name, v)
		if err != nil {
			return nil, err
		}
		known[f.name] = checked
	}
	if s.noOthers != "" {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if s.field(name) == nil && name != "$type" {
				return nil, fmt.Errorf("%s: unknown property %.64q", s.noOthers, name)
			}
		}
	}
	return known, nil
}

// anything checks a value of no particular type, or of a union.
func (s *schema) anything(path string, v any) (any, error) {
	object, ok := v.(map[string]any)
	if s.variants == nil {
		if _, list := v.([]any); !ok && !list { // to the reference, an array is an object too
			return nil, fmt.Errorf("%s must be an object", path)
		}
		return v, nil
	}
	name, typed := object["$type"].(string)
	if !typed {
		return nil, fmt.Errorf(`%s must be an object which includes the "$type" property`, path)
	}
	if variant := s.variants[name]; variant != nil {
		return variant.check(path, v)
	}
	return v, nil // unions are open
}

// integer reads what JSON says is a number, such as 3, 3.0 or 3e0.
func integer(v any) (int64, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if n, err := number.Int64(); err == nil {
		return n, true
	}
	f, err := number.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// decode reads one JSON value, checks it, and fills in the type.
func (s *schema) decode(body []byte, into any) error {
	if !utf8.Valid(body) { // else different texts would be read as the same
		return errMalformedJSON
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return errMalformedJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errMalformedJSON
	}
	checked, err := s.check("Input", v)
	if err != nil {
		return invalid(err.Error())
	}
	return fill(checked, into)
}

var errMalformedJSON = invalid("Malformed JSON")

// fill makes a value of a type of a value that was checked against it. It takes the way
// over JSON, since properties may have decoders of their own.
func fill(checked, into any) error {
	known, err := json.Marshal(checked)
	if err == nil {
		err = json.Unmarshal(known, into)
	}
	if err != nil {
		return invalid("Input can't be decoded")
	}
	return nil
}

// query reads query parameters. An empty one counts as not given.
func (s *schema) query(q url.Values, into any) error {
	object := map[string]any{}
	for _, f := range s.fields {
		given := slices.DeleteFunc(q[f.name], func(text string) bool { return text == "" })
		switch {
		case len(given) == 0:
		case f.schema.kind == reflect.Slice:
			list := make([]any, len(given))
			for i, text := range given {
				list[i] = f.schema.elem.read(text)
			}
			object[f.name] = list
		default:
			object[f.name] = f.schema.read(given[0])
		}
	}
	known, err := s.properties("Params", "", object)
	if err != nil {
		return invalid("Error: " + err.Error())
	}
	return fill(known, into)
}

// read gives a text the type of its property, if it can be read so.
func (s *schema) read(text string) any {
	switch s.kind {
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true"
		}
	case reflect.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return json.Number(strconv.FormatInt(n, 10))
		}
	}
	return text
}

// datetime formats a time as the lexicon wants it.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
