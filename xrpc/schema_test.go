package xrpc

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// refused makes a request, and checks that it is answered InvalidRequest with a message.
func refused(t *testing.T, s *Server, verb, path, body, message string) {
	t.Helper()
	w := ask(s, verb, path, body)
	var e struct{ Error, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusBadRequest || e.Error != "InvalidRequest" || e.Message != message {
		t.Errorf("%s %s: %d %s, want 400 InvalidRequest %q", path, body, w.Code, w.Body, message)
	}
}

// answered makes a request, and checks the JSON of the response.
func answered(t *testing.T, s *Server, verb, path, body, want string) {
	t.Helper()
	w := ask(s, verb, path, body)
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%s %s: %d %s, want %s", path, body, w.Code, w.Body, want)
	}
}

func TestInputs(t *testing.T) {
	s := sampleServer(t, nil)
	for body, want := range map[string]string{
		`{}`:                                        `{"text":"","count":1}`,
		`{"count":7,"text":"t"}`:                    `{"text":"t","count":7}`,
		`{"count":7.0}`:                             `{"text":"","count":7}`,
		`{"count":7e2}`:                             `{"text":"","count":700}`,
		`{"text":"a","text":"b"}`:                   `{"text":"b","count":1}`,
		`{"extra":null,"Text":"other"}`:             `{"text":"","count":1}`,
		`{"number":2}`:                              `{"text":"","count":1,"number":2}`,
		`{"number":5}`:                              `{"text":"","count":1,"number":5}`,
		`{"actor":"Alice.Test"}`:                    `{"text":"","count":1,"actor":"Alice.Test"}`,
		`{"actor":"did:web:a.test"}`:                `{"text":"","count":1,"actor":"did:web:a.test"}`,
		`{"who":" @Alice.Test."}`:                   `{"text":"","count":1,"who":"alice.test"}`,
		`{"whose":["DID:PLC:x","\u200edid:web:A"]}`: `{"text":"","count":1,"whose":["did:plc:x","did:web:A"]}`,
		`{"flag":false,"dids":[]}`:                  `{"text":"","count":1,"flag":false}`,
		`{"unknown":{"a":[1,2,null]}}`:              `{"text":"","count":1,"unknown":{"a":[1,2,null]}}`,
		`{"unknown":[1.5]}`:                         `{"text":"","count":1,"unknown":[1.5]}`,
		`{"when":"2026-01-02T03:04:05Z"}`:           `{"text":"","count":1,"when":"2026-01-02T03:04:05Z"}`,
		` {"text":"\u00e9 \ud83d\ude00"} `:          `{"text":"é 😀","count":1}`,
		`{"status":{"applied":true,"x":1}}`:         `{"text":"","count":1,"status":{"applied":true}}`,
		`{"subject":{"$type":"com.atproto.admin.defs#repoRef","did":"did:web:a.test","x":1}}`: `{"text":"","count":1,"subject":{"$type":"com.atproto.admin.defs#repoRef","did":"did:web:a.test"}}`,
	} {
		answered(t, s, "POST", "/xrpc/com.example.echo", body, want)
	}
	for body, message := range map[string]string{
		`{"text":1}`:                      "Input/text must be a string",
		`{"text":null}`:                   "Input/text must be a string",
		`{"who":7}`:                       "Input/who must be a string",
		`{"who":"al ice.test"}`:           "Input/who must be a valid handle",
		`{"who":"did:web:a.test"}`:        "Input/who must be a valid handle",
		`{"whose":["did:web:a","@"]}`:     "Input/whose/1 must be a valid did",
		`{"actor":"@alice.test"}`:         "Input/actor must be a valid did or a handle",
		`{"count":"1"}`:                   "Input/count must be an integer",
		`{"count":1.5}`:                   "Input/count must be an integer",
		`{"count":1e400}`:                 "Input/count must be an integer",
		`{"count":9223372036854775808}`:   "Input/count must be an integer",
		`{"count":null}`:                  "Input/count must be an integer",
		`{"number":1}`:                    "Input/number can not be less than 2",
		`{"number":6}`:                    "Input/number can not be greater than 5",
		`{"flag":"true"}`:                 "Input/flag must be a boolean",
		`{"flag":null}`:                   "Input/flag must be a boolean",
		`{"dids":"did:web:a.test"}`:       "Input/dids must be an array",
		`{"dids":["did:web:a.test","a"]}`: "Input/dids/1 must be a valid did",
		`{"dids":[1]}`:                    "Input/dids/0 must be a string",
		`{"actor":"a b"}`:                 "Input/actor must be a valid did or a handle",
		`{"when":"yesterday"}`:            "Input/when must be an valid atproto datetime (both RFC-3339 and ISO-8601)",
		`{"unknown":1}`:                   "Input/unknown must be an object",
		`{"unknown":null}`:                "Input/unknown must be an object",
		`{"status":[]}`:                   "Input/status must be an object",
		`{"status":{}}`:                   `Input/status must have the property "applied"`,
		`{"subject":{"did":"x"}}`:         `Input/subject must be an object which includes the "$type" property`,
		`{"subject":7}`:                   `Input/subject must be an object which includes the "$type" property`,
		`{"subject":{"$type":"com.atproto.admin.defs#repoRef"}}`:                                                                           `Input/subject must have the property "did"`,
		`{"subject":{"$type":"com.atproto.admin.defs#repoRef","did":"x"}}`:                                                                 "Input/subject/did must be a valid did",
		`{"subject":{"$type":"com.atproto.repo.strongRef","uri":"x","cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}}`: "Input/subject/uri must be a valid at-uri",
		`{"subject":{"$type":"com.atproto.repo.strongRef","uri":"at://a.test","cid":"y"}}`:                                                 "Input/subject/cid must be a cid string",
		`[]`:                   "Input must be an object",
		`"x"`:                  "Input must be an object",
		`{"text":"a"`:          "Malformed JSON",
		`{"text":"a"}x`:        "Malformed JSON",
		`{"text":"a"}{}`:       "Malformed JSON",
		`{"text":"a"} null`:    "Malformed JSON",
		`{'text':'a'}`:         "Malformed JSON",
		`{"count":01}`:         "Malformed JSON",
		"{\"text\":\"a\xff\"}": "Malformed JSON",
		" ":                    "Malformed JSON",
		strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000): "Malformed JSON",
	} {
		refused(t, s, "POST", "/xrpc/com.example.echo", body, message)
	}
	refused(t, s, "POST", "/xrpc/com.example.strict", `{"token":"t"}`, `Input must have the property "password"`)
}

func TestParams(t *testing.T) {
	s := sampleServer(t, nil)
	const path = "/xrpc/com.example.search"
	for query, want := range map[string]string{
		"?q=a":                        `{"q":"a","limit":50,"all":true}`,
		"?q=a&limit=100&all=false":    `{"q":"a","limit":100,"all":false}`,
		"?q=a&limit=&all=&cursor=":    `{"q":"a","limit":50,"all":true}`,
		"?q=a%20b+c&cursor=d&other=e": `{"q":"a b c","limit":50,"all":true,"cursor":"d"}`,
		"?q=a&q=b":                    `{"q":"a","limit":50,"all":true}`,
		"?q=a&who=at://Alice.test%20": `{"q":"a","limit":50,"all":true,"who":"alice.test"}`,
		"?q=a&dids=did:web:a.test&sizes=1&dids=did:web:b.test&sizes=-2": `{"q":"a","limit":50,"all":true,"dids":["did:web:a.test","did:web:b.test"],"sizes":[1,-2]}`,
	} {
		answered(t, s, "GET", path+query, "", want)
	}
	for query, message := range map[string]string{
		"":                                `Error: Params must have the property "q"`,
		"?q=":                             `Error: Params must have the property "q"`,
		"?q=a&limit=0":                    "Error: limit can not be less than 1",
		"?q=a&limit=101":                  "Error: limit can not be greater than 100",
		"?q=a&limit=x":                    "Error: limit must be an integer",
		"?q=a&limit=1.5":                  "Error: limit must be an integer",
		"?q=a&limit=99999999999999999999": "Error: limit must be an integer",
		"?q=a&all=1":                      "Error: all must be a boolean",
		"?q=a&all=True":                   "Error: all must be a boolean",
		"?q=a&dids=x":                     "Error: dids/0 must be a valid did",
		"?q=a&who=al%20ice.test":          "Error: who must be a valid handle",
		"?q=a&sizes=1&sizes=many":         "Error: sizes/1 must be an integer",
	} {
		refused(t, s, "GET", path+query, "", message)
	}
}

func TestFormats(t *testing.T) {
	for format, texts := range map[string][2]string{ // a good and a bad one
		"at-identifier": {"alice.test", "-"},
		"at-uri":        {"at://alice.test/com.example.thing/1", "https://alice.test"},
		"cid":           {"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", "x"},
		"datetime":      {"2026-01-02T03:04:05.678+01:00", "2026-01-02"},
		"did":           {"did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:"},
		"handle":        {"alice.test", "alice"},
		"language":      {"pt-BR", "!"},
		"nsid":          {"com.example.thing", "com"},
		"record-key":    {"self", "a/b"},
		"tid":           {"3jzfcijpj2z2a", "3"},
		"uri":           {"https://a.test/b", "a b"},
	} {
		f := formats[format]
		if !f.valid(texts[0]) || f.valid(texts[1]) || f.valid("") {
			t.Errorf("%s: %v, %v", format, f.valid(texts[0]), f.valid(texts[1]))
		}
	}
	if len(formats) != 11 {
		t.Errorf("%d formats, and 11 are tested", len(formats))
	}
}
