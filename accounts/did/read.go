package did

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The functions below parse JSON, and refuse anything that isn't exactly of the expected form with
// an error that names the property, since what is signed has to be what was sent.

// readJSON parses one JSON value. It refuses a property that appears twice, since parsers differ in
// which of the two values they take.
func readJSON(b []byte) (any, error) {
	if !json.Valid(b) {
		return nil, unreadable("it must be JSON")
	}
	return readValue("", json.NewDecoder(bytes.NewReader(b)), maxLevels)
}

// maxLevels bounds the nesting of objects and arrays. No operation has as many levels.
const maxLevels = 8

func readValue(path string, d *json.Decoder, levels int) (any, error) {
	token, err := d.Token()
	switch {
	case err != nil:
		return nil, unreadable("%s must be JSON", subject(path))
	case levels == 0:
		return nil, unreadable("%s must not be nested so deeply", subject(path))
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, unreadable("%s must be JSON", subject(path))
			}
			at := within(path, text(name))
			if _, twice := object[text(name)]; twice {
				return nil, unreadable("%s must not appear twice", at)
			}
			if object[text(name)], err = readValue(at, d, levels-1); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := readValue(path, d, levels-1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = d.Token()
		return list, err
	}
	return token, nil
}

// text returns a value if it is a string, and otherwise an empty string.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// readObject parses an object that has all required properties, and besides them only optional
// ones.
func readObject(path string, v any, required []string, optional ...string) (map[string]any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, unreadable("%s must be an object", subject(path))
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return nil, unreadable("unknown property %q", within(path, name))
		}
	}
	for _, name := range required {
		if _, ok := object[name]; !ok {
			return nil, unreadable("%s must have the property %q", subject(path), name)
		}
	}
	return object, nil
}

// subject returns how a message refers to a path. The empty path is the whole operation.
func subject(path string) string {
	if path == "" {
		return "it"
	}
	return path
}

// within returns the path of a property. The name comes from a client, so it is shortened and
// cleaned.
func within(path, name string) string {
	if len(name) > maxName {
		name = name[:maxName] + "..."
	}
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
	if path == "" {
		return name
	}
	return path + "/" + name
}

func readString(path string, v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", unreadable("%s must be a string", path)
	}
	return s, nil
}

func readStrings(path string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, unreadable("%s must be an array", path)
	}
	out := make([]string, len(list))
	for i := range list {
		s, err := readString(fmt.Sprintf("%s/%d", path, i), list[i])
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// readMap parses an object whose properties may have any name.
func readMap[V any](path string, v any, read func(path string, v any) (V, error)) (map[string]V, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, unreadable("%s must be an object", path)
	}
	out := make(map[string]V, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value, err := read(within(path, name), object[name])
		if err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, nil
}

func readService(path string, v any) (s Service, err error) {
	object, err := readObject(path, v, []string{"type", "endpoint"})
	if err != nil {
		return s, err
	}
	if s.Type, err = readString(within(path, "type"), object["type"]); err != nil {
		return s, err
	}
	s.Endpoint, err = readString(within(path, "endpoint"), object["endpoint"])
	return s, err
}

// contents are the properties of an operation that make up the state of a DID.
var contents = []string{"rotationKeys", "verificationMethods", "alsoKnownAs", "services"}

// readContents parses the properties of contents that an object has.
func readContents(object map[string]any) (e Edit, err error) {
	if v, ok := object["rotationKeys"]; ok {
		if e.RotationKeys, err = readStrings("rotationKeys", v); err != nil {
			return e, err
		}
	}
	if v, ok := object["verificationMethods"]; ok {
		if e.VerificationMethods, err = readMap("verificationMethods", v, readString); err != nil {
			return e, err
		}
	}
	if v, ok := object["alsoKnownAs"]; ok {
		if e.AlsoKnownAs, err = readStrings("alsoKnownAs", v); err != nil {
			return e, err
		}
	}
	if v, ok := object["services"]; ok {
		e.Services, err = readMap("services", v, readService)
	}
	return e, err
}

// Edit is a change of the state of a DID. Fields that are nil stay as they are (source:
// com.atproto.identity.signPlcOperation).
type Edit struct {
	RotationKeys        []string           `json:"rotationKeys,omitempty"`
	VerificationMethods map[string]string  `json:"verificationMethods,omitempty"`
	AlsoKnownAs         []string           `json:"alsoKnownAs,omitempty"`
	Services            map[string]Service `json:"services,omitempty"`
}

// UnmarshalJSON decodes an edit. It returns an [InvalidError] for an unknown property and for a
// value of the wrong type.
func (e *Edit) UnmarshalJSON(b []byte) error {
	sent, err := readJSON(b)
	if err != nil {
		return err
	}
	object, err := readObject("", sent, nil, contents...)
	if err != nil {
		return err
	}
	read, err := readContents(object)
	if err != nil {
		return err
	}
	*e = read
	return nil
}

// Apply changes an operation as the edit says. It has the form of the functions that
// [Registrar.Change] and [Registrar.Sign] take.
func (e Edit) Apply(op *Operation) {
	if e.RotationKeys != nil {
		op.RotationKeys = slices.Clone(e.RotationKeys)
	}
	if e.VerificationMethods != nil {
		op.VerificationMethods = maps.Clone(e.VerificationMethods)
	}
	if e.AlsoKnownAs != nil {
		op.AlsoKnownAs = slices.Clone(e.AlsoKnownAs)
	}
	if e.Services != nil {
		op.Services = maps.Clone(e.Services)
	}
}
