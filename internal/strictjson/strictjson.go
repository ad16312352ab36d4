// Package strictjson reads JSON objects of strangers. It refuses what programs understand
// differently, so that a document means the same here as for everybody else who looks at it: names
// that come twice, and names in another case than the wanted one. And it bounds how deep objects
// are nested.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 16

// Object is a JSON object: its members by name, as they are.
type Object map[string]json.RawMessage

// Parse returns the object that a document consists of. The errors are fit to be shown to whoever
// wrote the document.
func Parse(document []byte) (Object, error) {
	if !utf8.Valid(document) {
		return nil, errors.New("it isn't valid UTF-8")
	}
	if err := check(document); err != nil {
		return nil, err
	}
	var o Object
	if err := json.Unmarshal(document, &o); err != nil || o == nil {
		return nil, errors.New("it isn't a JSON object")
	}
	return o, nil
}

// level is an object or array that check is inside of.
type level struct {
	names map[string]bool // nil: an array
	name  bool            // whether a name comes next
}

// check reads a document token by token, since decoding a document into a value tells nothing about
// names that come twice.
func check(document []byte) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var levels []level
	for {
		token, err := d.Token()
		if err == io.EOF && len(levels) == 0 && d.InputOffset() > 0 {
			return nil
		}
		if err != nil {
			return errors.New("it isn't valid JSON")
		}
		inside := len(levels) - 1
		if name, ok := token.(string); ok && inside >= 0 && levels[inside].name {
			if levels[inside].names[name] {
				return fmt.Errorf("the name %.100q comes twice in an object", name)
			}
			levels[inside].names[name] = true
			levels[inside].name = false
			continue
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(levels) == MaxDepth {
				return fmt.Errorf("it is nested more than %d levels deep", MaxDepth)
			}
			l := level{}
			if token == json.Delim('{') {
				l = level{names: map[string]bool{}, name: true}
			}
			levels = append(levels, l)
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:inside]
			inside--
		}
		if inside >= 0 {
			levels[inside].name = levels[inside].names != nil
		}
	}
}

// Has reports whether the object has a member that isn't null.
func (o Object) Has(name string) bool {
	raw, found := o[name]
	return found && string(raw) != "null"
}

// String returns a member that is a string. It is empty if there is none, or if it is null.
func (o Object) String(name string) (string, error) { return member[string](o, name, "a string") }

// Bool returns a member that is true or false. It is false if there is none, or if it is null.
func (o Object) Bool(name string) (bool, error) { return member[bool](o, name, "true or false") }

// Strings returns a member that is an array of strings. It is nil if there is none, or if it is
// null.
func (o Object) Strings(name string) ([]string, error) {
	pointers, err := member[[]*string](o, name, "an array of strings")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, p := range pointers {
		if p == nil {
			return nil, fmt.Errorf("%s must be an array of strings", name)
		}
		list = append(list, *p)
	}
	return list, nil
}

func member[T any](o Object, name, form string) (value T, err error) {
	if !o.Has(name) {
		return value, nil
	}
	if err := json.Unmarshal(o[name], &value); err != nil {
		var none T
		return none, fmt.Errorf("%s must be %s", name, form)
	}
	return value, nil
}
