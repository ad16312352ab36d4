package strictjson_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/strictjson"
)

func TestParse(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1) }
	for name, c := range map[string]struct{ document, want string }{
		"an object":                      {`{"a":1,"b":[{"a":1},{"a":"a"}],"c":{"a":{}}}`, ""},
		"an empty object":                {` {} `, ""},
		"names in two cases":             {`{"a":1,"A":2}`, ""},
		"a value as often as one likes":  {`{"a":"a","b":"a","c":["a","a"]}`, ""},
		"as deep as allowed":             {nested(strictjson.MaxDepth), ""},
		"too deep":                       {nested(strictjson.MaxDepth + 1), "it is nested more than 16 levels deep"},
		"too deep, and broken":           {strings.Repeat("[", 100_000), "it is nested more than 16 levels deep"},
		"a doubled name":                 {`{"a":1,"b":2,"a":3}`, `the name "a" comes twice in an object`},
		"a doubled name, escaped":        {`{"a":1,"\u0061":3}`, `the name "a" comes twice in an object`},
		"a doubled name, below":          {`{"a":[0,{"b":{"c":1,"c":2}}]}`, `the name "c" comes twice in an object`},
		"a doubled name after an object": {`{"a":{"x":1},"a":3}`, `the name "a" comes twice in an object`},
		"a doubled name after an array":  {`{"a":[1],"a":3}`, `the name "a" comes twice in an object`},
		"nothing":                        {``, "it isn't valid JSON"},
		"spaces":                         {`  `, "it isn't valid JSON"},
		"null":                           {`null`, "it isn't a JSON object"},
		"an array":                       {`[]`, "it isn't a JSON object"},
		"a string":                       {`"a"`, "it isn't a JSON object"},
		"two objects":                    {`{}{}`, "it isn't a JSON object"},
		"an object and more":             {`{} x`, "it isn't valid JSON"},
		"half an object":                 {`{"a":`, "it isn't valid JSON"},
		"a comma too many":               {`{"a":1,}`, "it isn't valid JSON"},
		"invalid UTF-8":                  {"{\"a\":\"\xff\"}", "it isn't valid UTF-8"},
	} {
		_, err := strictjson.Parse([]byte(c.document))
		if got := text(err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMembers(t *testing.T) {
	o, err := strictjson.Parse([]byte(`{"s":"x","S":"y","b":true,"l":["x","y"],"null":null,"n":1,"m":["x",null]}`))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := o.String("s"); s != "x" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if b, err := o.Bool("b"); !b || err != nil {
		t.Errorf("%v, %v", b, err)
	}
	if l, err := o.Strings("l"); !slices.Equal(l, []string{"x", "y"}) || err != nil {
		t.Errorf("%v, %v", l, err)
	}
	for _, absent := range []string{"null", "L", "other"} {
		s, err1 := o.String(absent)
		b, err2 := o.Bool(absent)
		l, err3 := o.Strings(absent)
		if s != "" || b || l != nil || err1 != nil || err2 != nil || err3 != nil || o.Has(absent) {
			t.Errorf("%s: %q %v %v, %v %v %v", absent, s, b, l, err1, err2, err3)
		}
	}
	_, err1 := o.String("n")
	_, err2 := o.Bool("n")
	_, err3 := o.Strings("n")
	_, err4 := o.Strings("m")
	for i, want := range []string{"n must be a string", "n must be true or false", "n must be an array of strings", "m must be an array of strings"} {
		if got := text([]error{err1, err2, err3, err4}[i]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzParse: what is accepted is an object that encoding/json accepts too, and in which nothing
// gets lost when it is written again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}],"c":"d"}`, `{"a":1,"a":2}`, `[[[[`, `{"a":{}}{`, `{"\u0061":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		o, err := strictjson.Parse(document)
		if err != nil {
			return
		}
		if !json.Valid(document) {
			t.Fatalf("%q was accepted", document)
		}
		again, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := strictjson.Parse(again); err != nil || len(p) != len(o) {
			t.Fatalf("%q became %q: %v", document, again, err)
		}
	})
}
