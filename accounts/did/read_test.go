package did_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// reasonOf returns the reason of an InvalidError.
func reasonOf(t *testing.T, err error) string {
	t.Helper()
	var wrong *did.InvalidError
	if !errors.As(err, &wrong) {
		t.Errorf("%v has no reason", err)
		return ""
	}
	return wrong.Reason
}

// TestReasonsOfMalformedOperations checks that the error for malformed JSON names the property.
func TestReasonsOfMalformedOperations(t *testing.T) {
	for name, c := range map[string]struct {
		change func(o map[string]any)
		want   string
	}{
		"no type":                 {func(o map[string]any) { delete(o, "type") }, `it must have the property "type"`},
		"another type":            {func(o map[string]any) { o["type"] = "x" }, "type must be plc_operation or plc_tombstone"},
		"a type that is a number": {func(o map[string]any) { o["type"] = 1 }, "type must be plc_operation or plc_tombstone"},
		"one letter less":         {func(o map[string]any) { o["verificationMethod"] = map[string]string{} }, `unknown property "verificationMethod"`},
		"another case":            {func(o map[string]any) { o["Services"] = map[string]string{} }, `unknown property "Services"`},
		"a long name":             {func(o map[string]any) { o[strings.Repeat("é", 9999)] = 1 }, `unknown property "????????????????..."`},
		"no rotation keys":        {func(o map[string]any) { delete(o, "rotationKeys") }, `it must have the property "rotationKeys"`},
		"null":                    {func(o map[string]any) { o["rotationKeys"] = nil }, "rotationKeys must be an array"},
		"a number for a key":      {func(o map[string]any) { o["rotationKeys"] = []any{"x", 1} }, "rotationKeys/1 must be a string"},
		"a list of names":         {func(o map[string]any) { o["alsoKnownAs"] = map[string]any{} }, "alsoKnownAs must be an array"},
		"a list of methods":       {func(o map[string]any) { o["verificationMethods"] = []any{} }, "verificationMethods must be an object"},
		"a method of two keys":    {func(o map[string]any) { o["verificationMethods"] = map[string]any{"atproto": []any{}} }, "verificationMethods/atproto must be a string"},
		"a service that is a URL": {func(o map[string]any) { o["services"] = map[string]any{"atproto_pds": "https://x"} }, "services/atproto_pds must be an object"},
		"a service without a URL": {func(o map[string]any) { o["services"] = map[string]any{"atproto_pds": map[string]any{"type": "x"}} },
			`services/atproto_pds must have the property "endpoint"`},
		"the endpoint of a document": {func(o map[string]any) {
			o["services"] = map[string]any{"atproto_pds": map[string]any{"type": "x", "serviceEndpoint": "https://x"}}
		}, `unknown property "services/atproto_pds/serviceEndpoint"`},
		"a URL of another kind": {func(o map[string]any) {
			o["services"] = map[string]any{"atproto_pds": map[string]any{"type": "x", "endpoint": 1}}
		}, "services/atproto_pds/endpoint must be a string"},
		"an empty prev":      {func(o map[string]any) { o["prev"] = "" }, "prev must be null or the CID of an operation"},
		"a prev of a number": {func(o map[string]any) { o["prev"] = 1 }, "prev must be null or the CID of an operation"},
		"no prev":            {func(o map[string]any) { delete(o, "prev") }, `it must have the property "prev"`},
		"no signature":       {func(o map[string]any) { o["sig"] = nil }, "sig must be a signature in base64url"},
		"too many levels": {func(o map[string]any) {
			for v, i := any("x"), 0; i < 20; i++ {
				v = []any{v}
				o["services"] = v
			}
		}, "services must not be nested so deeply"},
	} {
		var o map[string]any
		if err := json.Unmarshal(loadVectors(t).Operations[0].Op, &o); err != nil {
			t.Fatal(err)
		}
		c.change(o)
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var op did.Operation
		err = json.Unmarshal(raw, &op)
		if got := reasonOf(t, err); got != c.want || errors.Is(err, did.ErrRefused) {
			t.Errorf("%s: %q (%v); want %q", name, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		`null`: "it must be an object", `[]`: "it must be an object", `"x"`: "it must be an object",
		`{"type":"plc_tombstone","prev":"x","prev":"y"}`: "prev must not appear twice",
	} {
		var op did.Operation
		if got := reasonOf(t, json.Unmarshal([]byte(text), &op)); got != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}

// TestReasonsOfRefusals checks that Validate and directories say which field they refuse, and why.
func TestReasonsOfRefusals(t *testing.T) {
	l, _ := newLocal(t)
	ids := newIdentities(t, l)
	stranger, _ := newKey(t)
	m := ids.mint()
	ids.submit(m)
	const keys = "a K-256 or P-256 did:key"
	for name, c := range map[string]struct {
		change func(o *did.Operation)
		want   string
	}{
		"no rotation key":     {func(o *did.Operation) { o.RotationKeys = nil }, "rotationKeys must have 1 to 5 keys, and has 0"},
		"another kind":        {func(o *did.Operation) { o.RotationKeys[1] = ed25519Key }, "rotationKeys/1 must be " + keys},
		"a key twice":         {func(o *did.Operation) { o.RotationKeys[1] = o.RotationKeys[0] }, "rotationKeys/1 must not repeat a key"},
		"not a did:key":       {func(o *did.Operation) { o.VerificationMethods["atproto"] = "x" }, "verificationMethods/atproto must be a did:key of 256 bytes at most"},
		"a long key's name":   {func(o *did.Operation) { o.VerificationMethods[strings.Repeat("x", 33)] = ids.ownerID }, "verificationMethods/" + strings.Repeat("x", 32) + "... must have a name of 32 bytes at most"},
		"a long handle":       {func(o *did.Operation) { o.AlsoKnownAs = []string{strings.Repeat("x", 300)} }, "alsoKnownAs/0 must have 258 bytes at most"},
		"a handle twice":      {func(o *did.Operation) { o.AlsoKnownAs = []string{"at://a.test", "at://a.test"} }, "alsoKnownAs/1 must not repeat a name"},
		"many handles":        {func(o *did.Operation) { o.AlsoKnownAs = make([]string, 11) }, "alsoKnownAs must have 10 entries at most, and has 11"},
		"a long type":         {func(o *did.Operation) { o.Services["x"] = did.Service{Type: strings.Repeat("x", 257)} }, "services/x/type must have 256 bytes at most"},
		"a long endpoint":     {func(o *did.Operation) { o.Services["x"] = did.Service{Endpoint: strings.Repeat("x", 513)} }, "services/x/endpoint must have 512 bytes at most"},
		"the first form":      {func(o *did.Operation) { o.Type = "create" }, "type must be plc_operation or plc_tombstone"},
		"another predecessor": {func(o *did.Operation) { o.Prev = "bafy" }, "prev must be the CID of the last operation of " + m.DID.String()},
		"a stranger's key":    {func(o *did.Operation) { o.SetHandle("stranger.test") }, "sig must be a signature by one of the rotation keys"},
		"no predecessor":      {func(o *did.Operation) { o.Prev = "" }, "prev must be the CID of the last operation of " + m.DID.String()},
	} {
		key := ids.Signer
		if name == "a stranger's key" {
			key = stranger
		}
		op := next(t, m.Operation, key, c.change)
		if got := reasonOf(t, l.Submit(ctx, m.DID, op)); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
		// A directory over HTTP may give its reasons in other words.
		elsewhere := newClient(t, serve(t, l, nil).URL)
		err := elsewhere.Submit(ctx, m.DID, op)
		if got := reasonOf(t, err); got != c.want || !errors.Is(err, did.ErrRefused) {
			t.Errorf("%s, elsewhere: %q; want %q", name, got, c.want)
		}
	}
}

func TestEdit(t *testing.T) {
	service := map[string]did.Service{"atproto_pds": {Type: "x", Endpoint: "https://x"}}
	op := &did.Operation{RotationKeys: []string{"a"}, AlsoKnownAs: []string{"b"}, VerificationMethods: map[string]string{"c": "d"}, Services: service}
	var e did.Edit
	if err := json.Unmarshal([]byte(`{"alsoKnownAs":[],"verificationMethods":{"c":"e"}}`), &e); err != nil {
		t.Fatal(err)
	}
	e.Apply(op)
	want := &did.Operation{RotationKeys: []string{"a"}, AlsoKnownAs: []string{}, VerificationMethods: map[string]string{"c": "e"}, Services: service}
	if !reflect.DeepEqual(op, want) {
		t.Errorf("%+v, want %+v", op, want)
	}
	for text, want := range map[string]string{
		`{"verificationMethod":{}}`:             `unknown property "verificationMethod"`,
		`{"sig":"x"}`:                           `unknown property "sig"`,
		`{"services":{"a":{"type":"x"}}}`:       `services/a must have the property "endpoint"`,
		`{"services":[]}`:                       "services must be an object",
		`{"verificationMethods":{"atproto":1}}`: "verificationMethods/atproto must be a string",
		`[]`:                                    "it must be an object",
	} {
		if got := reasonOf(t, json.Unmarshal([]byte(text), new(did.Edit))); got != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}
