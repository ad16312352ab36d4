package did

import (
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Document is a DID document (source: W3C Decentralized Identifiers 1.0), in the
// form that the public PLC directory gives it.
type Document struct {
	Context            []string             `json:"@context"`
	ID                 syntax.DID           `json:"id"`
	AlsoKnownAs        []string             `json:"alsoKnownAs"`
	VerificationMethod []VerificationMethod `json:"verificationMethod"`
	Service            []DocumentService    `json:"service"`
}

// VerificationMethod is a key in a [Document].
type VerificationMethod struct {
	ID                 string     `json:"id"`
	Type               string     `json:"type"`
	Controller         syntax.DID `json:"controller"`
	PublicKeyMultibase string     `json:"publicKeyMultibase"`
}

// DocumentService is a service in a [Document].
type DocumentService struct {
	ID              string `json:"id"`
	Type            string `json:"type"`
	ServiceEndpoint string `json:"serviceEndpoint"`
}

// The contexts of key types, by what their multibase form begins with.
var keyContexts = []struct{ prefix, context string }{
	{"zQ3s", "https://w3id.org/security/suites/secp256k1-2019/v1"},
	{"zDn", "https://w3id.org/security/suites/ecdsa-2019/v1"},
}

// Document returns the DID document.
func (d *Data) Document() *Document {
	doc := &Document{
		Context:            []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		ID:                 d.DID,
		AlsoKnownAs:        append([]string{}, d.AlsoKnownAs...),
		VerificationMethod: []VerificationMethod{},
		Service:            []DocumentService{},
	}
	for _, name := range slices.Sorted(maps.Keys(d.VerificationMethods)) {
		key := strings.TrimPrefix(d.VerificationMethods[name], "did:key:")
		doc.VerificationMethod = append(doc.VerificationMethod, VerificationMethod{
			ID: d.DID.String() + "#" + name, Type: "Multikey", Controller: d.DID, PublicKeyMultibase: key,
		})
		for _, k := range keyContexts {
			if strings.HasPrefix(key, k.prefix) && !slices.Contains(doc.Context, k.context) {
				doc.Context = append(doc.Context, k.context)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Services)) {
		s := d.Services[name]
		doc.Service = append(doc.Service, DocumentService{ID: "#" + name, Type: s.Type, ServiceEndpoint: s.Endpoint})
	}
	return doc
}
