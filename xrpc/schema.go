package xrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// schema checks a JSON value against a Go type that was generated from a
// lexicon: the tags say what is required, the types what may stand where.
type schema struct {
	kind   reflect.Kind // String, Bool, Int64, Slice, Struct, or Interface for anything
	elem   *schema
	fields []field
	format string
}

type field struct {
	name     string
	required bool
	schema   *schema
}

// schemaOf derives the schema of a type. It panics on a type that no lexicon gives, since
// the table of methods is part of the source.
func schemaOf(t reflect.Type, formats map[string]string) *schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64:
		return &schema{kind: t.Kind()}
	case reflect.Interface, reflect.Map:
		return &schema{kind: reflect.Interface}
	case reflect.Slice:
		return &schema{kind: reflect.Slice, elem: schemaOf(t.Elem(), nil)}
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return &schema{kind: reflect.Interface}
		}
		s := &schema{kind: reflect.Struct}
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			fs := schemaOf(f.Type, nil)
			leaf := fs
			if fs.kind == reflect.Slice {
				leaf = fs.elem
			}
			leaf.format = formats[name]
			s.fields = append(s.fields, field{name, !strings.Contains(options, "omitempty"), fs})
		}
		return s
	}
	panic(fmt.Sprintf("xrpc: no lexicon has the type %v", t))
}

// optional makes properties optional that the lexicon requires, because their absence has an
// error of its own.
func (s *schema) optional(names []string) {
	for i, f := range s.fields {
		if slices.Contains(names, f.name) {
			s.fields[i].required = false
		}
	}
}

// check returns the value with unknown properties left out. Path begins the messages.
func (s *schema) check(path string, v any) (any, error) {
	wrong := func(what string) error { return invalid(clean(fmt.Sprintf("%s must be %s", path, what))) }
	switch s.kind {
	case reflect.String:
		text, ok := v.(string)
		if !ok {
			return nil, wrong("a string")
		}
		if s.format != "" && !validFormat(s.format, text) {
			return nil, wrong("a valid " + s.format)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return nil, wrong("a boolean")
		}
	case reflect.Int64:
		n, ok := v.(json.Number)
		if !ok {
			return nil, wrong("an integer")
		}
		if _, err := n.Int64(); err != nil {
			f, err := n.Float64()
			if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
				return nil, wrong("an integer")
			}
			return int64(f), nil
		}
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return nil, wrong("an array")
		}
		for i := range list {
			checked, err := s.elem.check(fmt.Sprintf("%s/%d", path, i), list[i])
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
		known := make(map[string]any, len(s.fields))
		for _, f := range s.fields {
			v, ok := object[f.name]
			if !ok {
				if f.required {
					return nil, invalid(fmt.Sprintf("%s must have the property %q", path, f.name))
				}
				continue
			}
			checked, err := f.schema.check(path+"/"+f.name, v)
			if err != nil {
				return nil, err
			}
			known[f.name] = checked
		}
		return known, nil
	}
	return v, nil
}

// decode reads one JSON value, checks it, and fills in the type.
func (s *schema) decode(path string, body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return invalid("Malformed JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("Malformed JSON")
	}
	checked, err := s.check(path, v)
	if err != nil {
		return err
	}
	known, err := json.Marshal(checked)
	if err == nil {
		err = json.Unmarshal(known, into)
	}
	if err != nil {
		return invalid(path + " can't be decoded")
	}
	return nil
}

// query reads query parameters as if they were JSON.
func (s *schema) query(q url.Values, into any) error {
	object := map[string]any{}
	for _, f := range s.fields {
		values, ok := q[f.name]
		if !ok {
			continue
		}
		if f.schema.kind == reflect.Slice {
			list := make([]any, len(values))
			for i, text := range values {
				list[i] = parameter(f.schema.elem.kind, text)
			}
			object[f.name] = list
			continue
		}
		object[f.name] = parameter(f.schema.kind, values[0])
	}
	body, err := json.Marshal(object)
	if err != nil {
		return invalid("Malformed parameters")
	}
	return s.decode("Params", body, into)
}

// parameter gives a text the type of its parameter, if it can be read so.
func parameter(kind reflect.Kind, text string) any {
	switch kind {
	case reflect.Bool:
		switch text {
		case "true":
			return true
		case "false":
			return false
		}
	case reflect.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return text
}

// validFormat checks the formats of strings that the methods' inputs use.
func validFormat(format, text string) bool {
	var err error
	switch format {
	case "did":
		_, err = syntax.ParseDID(text)
	case "handle":
		_, err = syntax.ParseHandle(text)
	case "at-identifier":
		_, err = syntax.ParseAtIdentifier(text)
	case "nsid":
		_, err = syntax.ParseNSID(text)
	case "datetime":
		_, err = syntax.ParseDatetimeLenient(text)
	case "at-uri":
		_, err = syntax.ParseATURI(text)
	case "cid":
		_, err = syntax.ParseCID(text)
	}
	return err == nil
}

// datetime formats a time as the lexicon wants it.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
