package xrpc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/api/atproto"
)

// TestMistakesInTheTable shows that they are found when the table is compiled, not by a request.
func TestMistakesInTheTable(t *testing.T) {
	echo := func(nsid string) *method {
		return procedure(nsid, anyone, func(*Server, *call, *sampleInput) (*nothing, error) { return nil, nil })
	}
	search := func(nsid string) *method {
		return query(nsid, anyone, func(*Server, *call, *sampleParams) (*nothing, error) { return nil, nil })
	}
	silent := func(nsid string) *method {
		return procedure(nsid, anyone, func(*Server, *call, *nothing) (*nothing, error) { return nil, nil })
	}
	for name, c := range map[string]struct {
		row  *method
		want string
	}{
		"a method without a lexicon":        {echo("com.example.other"), "schema not found"},
		"a lexicon of something else":       {echo("com.example.echo#dids"), "not a method"},
		"a query as a procedure":            {echo("com.example.search"), "a query, declared as a procedure"},
		"a procedure as a query":            {search("com.example.echo"), "a procedure, declared as a query"},
		"no type for an input":              {silent("com.example.echo"), "the handler takes none"},
		"a type for no input":               {echo("com.example.nothing"), "the lexicon has no input"},
		"another method's type":             {echo("com.example.login"), "xrpc.sampleInput.Text is not in the lexicon"},
		"a typed property that isn't there": {echo("com.example.echo").typed("other"), "no property other"},
		"a typed property within no object": {echo("com.example.echo").typed("text/x"), "no property text/x"},
		"a typed property of no input":      {silent("com.example.nothing").typed("text"), "no property text"},
		"no others of no input":             {silent("com.example.nothing").noOthers("Invalid"), "no input"},
	} {
		_, err := compileTable(sampleLexicons(), []*method{c.row})
		if err == nil || !strings.HasPrefix(err.Error(), c.row.nsid+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	twice := []*method{echo("com.example.echo"), echo("com.example.echo")}
	if _, err := compileTable(sampleLexicons(), twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same method twice: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a server without services")
	}
}

// Types of an object with a property p.
type (
	optional[T any] struct {
		P T `json:"p,omitempty"`
	}
	present[T any] struct {
		P T `json:"p"`
	}
	untagged struct{ P *string }
	text     = optional[*string]
	union    = optional[*atproto.AdminUpdateSubjectStatus_Input_Subject]
)

// TestTypesThatDoNotFit compiles lexicons for Go types that don't hold what they allow.
func TestTypesThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		def  string // of the property p, or of the whole object
		in   any
		want string // in the error; empty: they fit
	}{
		"a string":                           {`{"type":"string"}`, text{}, ""},
		"a string of a maximum length":       {`{"type":"string","maxLength":2048}`, text{}, ""},
		"a string of known values":           {`{"type":"string","knownValues":["a"]}`, text{}, ""},
		"a string of a minimum length":       {`{"type":"string","minLength":1}`, text{}, "a rule of this lexicon.SchemaString isn't supported"},
		"a string of some graphemes":         {`{"type":"string","maxGraphemes":1}`, text{}, "isn't supported"},
		"a string of an enum":                {`{"type":"string","enum":["a"]}`, text{}, "isn't supported"},
		"a constant string":                  {`{"type":"string","const":"a"}`, text{}, "isn't supported"},
		"an integer":                         {`{"type":"integer"}`, optional[*int64]{}, ""},
		"an integer in a string":             {`{"type":"integer"}`, text{}, "p: string doesn't hold a lexicon.SchemaInteger"},
		"an integer in a float":              {`{"type":"integer"}`, optional[*float64]{}, "doesn't hold"},
		"an integer of an enum":              {`{"type":"integer","enum":[1]}`, optional[*int64]{}, "isn't supported"},
		"a boolean in a string":              {`{"type":"boolean"}`, text{}, "doesn't hold"},
		"a constant boolean":                 {`{"type":"boolean","const":true}`, optional[*bool]{}, "isn't supported"},
		"an array in a string":               {`{"type":"array","items":{"type":"string"}}`, text{}, "doesn't hold"},
		"an array of other elements":         {`{"type":"array","items":{"type":"string"}}`, optional[[]int64]{}, "p: int64 doesn't hold a lexicon.SchemaString"},
		"an array of a maximum length":       {`{"type":"array","items":{"type":"string"},"maxLength":1}`, optional[[]string]{}, "isn't supported"},
		"anything in a string":               {`{"type":"unknown"}`, text{}, "doesn't hold"},
		"anything in an interface":           {`{"type":"unknown"}`, optional[any]{}, ""},
		"anything in a map":                  {`{"type":"unknown"}`, optional[map[string]any]{}, ""},
		"anything in raw JSON":               {`{"type":"unknown"}`, optional[json.RawMessage]{}, ""},
		"bytes":                              {`{"type":"bytes"}`, optional[[]byte]{}, "lexicon.SchemaBytes isn't supported"},
		"a reference to nothing":             {`{"type":"ref","ref":"com.example.other"}`, text{}, "schema not found"},
		"an object in a string":              {`{"type":"ref","ref":"com.atproto.admin.defs#statusAttr"}`, text{}, "string doesn't hold an object"},
		"an object in a union":               {`{"type":"ref","ref":"com.atproto.admin.defs#statusAttr"}`, union{}, "has a decoder of its own"},
		"a closed union":                     {`{"type":"union","closed":true,"refs":["com.atproto.admin.defs#repoRef"]}`, union{}, "isn't supported"},
		"a union in a string":                {`{"type":"union","refs":["com.atproto.admin.defs#repoRef"]}`, text{}, "string doesn't hold a union"},
		"a union of fewer members":           {`{"type":"union","refs":["com.atproto.admin.defs#repoRef"]}`, union{}, "3 members for 1 references"},
		"a union of other members":           {`{"type":"union","refs":["com.atproto.admin.defs#statusAttr"]}`, union{}, "has no member for com.atproto.admin.defs#statusAttr"},
		"a default":                          {`{"type":"string","default":"a"}`, present[string]{}, ""},
		"an optional property as present":    {`{"type":"string"}`, present[*string]{}, "p is optional, but its Go field isn't omitempty"},
		"an optional property without a nil": {`{"type":"string"}`, optional[string]{}, "p is optional, but its Go field can't be nil"},
		"a default as optional":              {`{"type":"string","default":"a"}`, text{}, "p is always present, but its Go field is omitempty"},
		"a required property as optional":    {`{"type":"object","required":["p"],"properties":{"p":{"type":"string"}}}`, text{}, "p is always present"},
		"a property that may be null":        {`{"type":"object","nullable":["p"],"properties":{"p":{"type":"string"}}}`, text{}, "isn't supported"},
		"a property without a field":         {`{"type":"object","properties":{"p":{"type":"string"},"q":{"type":"string"}}}`, text{}, "has no field for q"},
		"a field without a property":         {`{"type":"object","properties":{}}`, text{}, "P is not in the lexicon"},
		"a field without a name":             {`{"type":"string"}`, untagged{}, "P is not in the lexicon"},
	} {
		schema := c.def
		if !strings.Contains(schema, `"object"`) {
			schema = fmt.Sprintf(`{"type":"object","properties":{"p":%s}}`, c.def)
		}
		file := fmt.Sprintf(`[{"lexicon":1,"id":"com.example.row","defs":{"main":{"type":"procedure","input":{"encoding":"application/json","schema":%s}}}}]`, schema)
		catalog, err := parseLexicons(lexiconsJSON, []byte(file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = compiler{catalog}.input(&method{nsid: "com.example.row", goType: reflect.TypeOf(c.in)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestInputsThatAreNotServed are such as no method has so far.
func TestInputsThatAreNotServed(t *testing.T) {
	for name, main := range map[string]string{
		"parameters of a procedure": `{"type":"procedure","parameters":{"type":"params","properties":{}}}`,
		"an input that isn't JSON":  `{"type":"procedure","input":{"encoding":"*/*"}}`,
		"a record":                  `{"type":"record","key":"any","record":{"type":"object","properties":{}}}`,
	} {
		catalog, err := parseLexicons([]byte(`[{"lexicon":1,"id":"com.example.row","defs":{"main":` + main + `}}]`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (compiler{catalog}).input(&method{nsid: "com.example.row"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, file := range []string{`{}`, `[{"lexicon":2,"id":"com.example.row"}]`, `[{"lexicon":1,"id":"com.example.row","defs":{"main":{"type":"strange"}}}]`} {
		if _, err := parseLexicons([]byte(file)); err == nil {
			t.Errorf("%s: no error", file)
		}
	}
}
