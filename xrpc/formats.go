package xrpc

import "github.com/bluesky-social/indigo/atproto/syntax"

// formats are the string formats of the lexicon language, with what a string must be according to
// the error message if it doesn't have the format (source: the reference server, for the messages).
var formats = map[string]struct {
	valid func(string) bool
	text  string
}{
	"at-identifier": {parses(syntax.ParseAtIdentifier), "a valid did or a handle"},
	"at-uri":        {parses(syntax.ParseATURI), "a valid at-uri"},
	"cid":           {parses(syntax.ParseCID), "a cid string"},
	"datetime":      {parses(syntax.ParseDatetimeLenient), "an valid atproto datetime (both RFC-3339 and ISO-8601)"},
	"did":           {parses(syntax.ParseDID), "a valid did"},
	"handle":        {parses(syntax.ParseHandle), "a valid handle"},
	"language":      {parses(syntax.ParseLanguage), "a well-formed BCP 47 language tag"},
	"nsid":          {parses(syntax.ParseNSID), "a valid nsid"},
	"record-key":    {parses(syntax.ParseRecordKey), "a valid Record Key"},
	"tid":           {parses(syntax.ParseTID), "a valid TID"},
	"uri":           {parses(syntax.ParseURI), "a uri"},
}

// parses returns a function that reports whether a parser accepts a string.
func parses[T any](parse func(string) (T, error)) func(string) bool {
	return func(text string) bool {
		_, err := parse(text)
		return err == nil
	}
}
