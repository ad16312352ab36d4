package scope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// MaxDocument is the longest document of a permission set, in bytes of JSON.
const MaxDocument = 64 << 10

// PermissionSet is a permission set as it was published, without the permissions in it that this
// server doesn't understand or that the set isn't allowed to contain. It must not be modified.
type PermissionSet struct {
	// NSID is the name of the set. Its domain is in lower case.
	NSID syntax.NSID

	title, detail texts
	permissions   []lexicon.SchemaPermission
}

// document is a lexicon whose main definition is a permission set (source:
// https://atproto.com/specs/lexicon).
type document struct {
	Type    string `json:"$type"`
	Lexicon int    `json:"lexicon"`
	ID      string `json:"id"`
	Defs    struct {
		Main struct {
			Type        string            `json:"type"`
			Title       string            `json:"title"`
			TitleLang   map[string]string `json:"title:lang"`
			Detail      string            `json:"detail"`
			DetailLang  map[string]string `json:"detail:lang"`
			Permissions []json.RawMessage `json:"permissions"`
		} `json:"main"`
	} `json:"defs"`
}

// ParsePermissionSet parses the lexicon of a permission set, which is a record of the collection
// com.atproto.lexicon.schema. It returns an error if the document isn't the permission set of that
// name, or is longer than [MaxDocument].
//
// Single permissions in it are ignored if their resource, or any of their properties or values, is
// unknown, since such a property may be one that restricts the permission; and if they are for
// anything outside of the set's own namespace: app.example.feed.authFull is about app.example.feed
// and what is below it (source: https://atproto.com/specs/permission).
func ParsePermissionSet(nsid syntax.NSID, doc []byte) (*PermissionSet, error) {
	nsid = nsid.Normalize()
	if len(doc) > MaxDocument {
		return nil, fmt.Errorf("the document is longer than %d bytes", MaxDocument)
	}
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("the document isn't a lexicon: %w", err)
	}
	main := d.Defs.Main
	switch {
	case d.Type != "" && d.Type != "com.atproto.lexicon.schema":
		return nil, fmt.Errorf("the document is a record of the type %q, not a lexicon", d.Type)
	case d.Lexicon != 1:
		return nil, fmt.Errorf("the document has version %d of the lexicon language, which isn't known", d.Lexicon)
	case d.ID != nsid.String():
		return nil, fmt.Errorf("the document has the id %q", d.ID)
	case main.Type != "permission-set":
		return nil, fmt.Errorf(`the main definition has the type %q, not "permission-set"`, main.Type)
	}
	set := &PermissionSet{
		NSID:   nsid,
		title:  newTexts(main.Title, main.TitleLang, maxTitle),
		detail: newTexts(main.Detail, main.DetailLang, maxDetail),
	}
	for _, raw := range main.Permissions {
		if p, err := parsePermission(raw); err == nil && set.mayContain(p) {
			set.permissions = append(set.permissions, *p)
		}
	}
	return set, nil
}

// properties are the properties that a permission in a set may have, by resource, besides its type,
// resource and description.
var properties = map[string][]string{
	"repo": {"collection", "action"},
	"rpc":  {"lxm", "aud", "inheritAud"},
}

// parsePermission parses one permission of a set.
func parsePermission(raw json.RawMessage) (*lexicon.SchemaPermission, error) {
	var p lexicon.SchemaPermission
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	// The name of a property is compared exactly here, but not by Unmarshal.
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	for name, value := range all {
		if bytes.Equal(value, []byte("null")) {
			return nil, fmt.Errorf("%q is null", name)
		}
		common := name == "type" || name == "resource" || name == "description"
		if !common && !slices.Contains(properties[p.Resource], name) {
			return nil, fmt.Errorf("%q is unknown", name)
		}
	}
	// Empty isn't the same as missing, which means all actions, or the inherited audience.
	if all["action"] != nil && len(p.Action) == 0 || all["aud"] != nil && p.Audience == "" {
		return nil, errors.New("a value is empty")
	}
	return &p, p.CheckSchema()
}

// mayContain reports whether everything that a permission is for is in the namespace of the set.
func (s *PermissionSet) mayContain(p *lexicon.SchemaPermission) bool {
	group := s.NSID.String()
	group = group[:strings.LastIndexByte(group, '.')+1]
	outside := func(nsid string) bool { return !strings.HasPrefix(nsid, group) }
	return group != "" && !slices.ContainsFunc(p.Collection, outside) && !slices.ContainsFunc(p.LXM, outside)
}

// elements returns the elements of a scope that the set stands for, if it is included with an
// audience. Without one, the methods that inherit it are left out.
func (s *PermissionSet) elements(audience string) Set {
	var all []string
	for _, p := range s.permissions {
		element := auth.Permission{
			Type: "permission", Resource: p.Resource, Collection: p.Collection, Action: p.Action, Endpoint: p.LXM, Audience: p.Audience,
		}
		if p.InheritAud {
			element.Audience = audience
		}
		written := element.ScopeString()
		if _, known := parse(written); known {
			all = append(all, normalize(written))
		}
	}
	return unique(all)
}
