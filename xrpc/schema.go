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
	"unicode/utf8"

	"github.com/gatehouse-at/gatehouse/accounts"
)

// schema validates a JSON value. It is compiled from a lexicon, and fits the Go type into which the
// value is decoded: see [compiler].
type schema struct {
	kind     reflect.Kind // String, Bool, Int64, Slice, Struct, or Interface for any object
	elem     *schema
	fields   []field
	variants map[string]*schema // of a union, by $type
	format   string
	typed    bool // an identifier that people type, which is normalized first
	min, max *int64
	noOthers string // the beginning of the message about an unknown property; if empty, they are dropped
}

type field struct {
	name      string
	required  bool
	byDefault any
	schema    *schema
}

// at returns the schemas of a property by its path, such as "did" or "subject/did": in a union
// those in all members that have it, and in an array that of its elements.
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

// field returns the field of an object, or nil.
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

// check validates a value, and returns it with defaults added and unknown properties dropped.
// Messages begin with the path.
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

// properties validates an object. Messages call it by the path at, and its properties by their
// names after the prefix.
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

// anything validates a value of the type unknown, or of a union.
func (s *schema) anything(path string, v any) (any, error) {
	object, ok := v.(map[string]any)
	if s.variants == nil {
		if _, list := v.([]any); !ok && !list { // the reference server accepts arrays as objects
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

// integer converts a JSON number with an integral value, such as 3, 3.0 or 3e0.
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

// decode parses a body that holds one JSON value, validates it, and decodes it into a Go value.
func (s *schema) decode(body []byte, into any) error {
	if !utf8.Valid(body) { // the decoder would replace each invalid byte by the same character
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

// fill decodes a value that has been checked into a Go value. It encodes it as JSON first, since
// properties may have decoders of their own.
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

// query parses and validates query parameters, and decodes them into a Go value. Empty ones count
// as missing.
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

// read converts a query parameter to the type of its property. It returns the string if that is
// impossible, for check to refuse.
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
