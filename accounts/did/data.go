package did

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The names that atproto uses in DID documents (source: the atproto DID specification).
const (
	AtprotoKey     = "atproto"
	AtprotoPDS     = "atproto_pds"
	AtprotoPDSType = "AtprotoPersonalDataServer"
)

// Service is a service of a DID.
type Service struct {
	Type     string `json:"type"`
	Endpoint string `json:"endpoint"`
}

// Data is the state of a DID: what its document and its rotation keys are made from.
type Data struct {
	DID                 syntax.DID         `json:"did"`
	VerificationMethods map[string]string  `json:"verificationMethods"`
	RotationKeys        []string           `json:"rotationKeys"`
	AlsoKnownAs         []string           `json:"alsoKnownAs"`
	Services            map[string]Service `json:"services"`
}

// AtprotoData returns the state of an account's DID with a handle, a signing key (a did:key) and
// the endpoint of a PDS. It has no rotation keys.
func AtprotoData(id syntax.DID, handle, signingKey, endpoint string) *Data {
	return &Data{
		DID:                 id,
		VerificationMethods: map[string]string{AtprotoKey: signingKey},
		AlsoKnownAs:         []string{"at://" + handle},
		Services:            map[string]Service{AtprotoPDS: {Type: AtprotoPDSType, Endpoint: endpoint}},
	}
}

// Handle returns the first handle in AlsoKnownAs, or an empty string.
func (d *Data) Handle() string {
	for _, aka := range d.AlsoKnownAs {
		if h, ok := strings.CutPrefix(aka, "at://"); ok {
			return h
		}
	}
	return ""
}

// document is a DID document with all properties that the public PLC directory gives it.
type document struct {
	Context            []string                         `json:"@context"`
	ID                 syntax.DID                       `json:"id"`
	AlsoKnownAs        []string                         `json:"alsoKnownAs"`
	VerificationMethod []identity.DocVerificationMethod `json:"verificationMethod"`
	Service            []identity.DocService            `json:"service"`
}

// keyContexts are the JSON-LD contexts of key types, by how keys of the type begin in multibase.
var keyContexts = []struct{ prefix, context string }{
	{"zQ3s", "https://w3id.org/security/suites/secp256k1-2019/v1"},
	{"zDn", "https://w3id.org/security/suites/ecdsa-2019/v1"},
}

// Document returns the DID document as JSON, in the form that the public PLC directory gives it
// (source: W3C Decentralized Identifiers 1.0).
func (d *Data) Document() json.RawMessage {
	doc := &document{
		Context:            []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		ID:                 d.DID,
		AlsoKnownAs:        append([]string{}, d.AlsoKnownAs...),
		VerificationMethod: []identity.DocVerificationMethod{},
		Service:            []identity.DocService{},
	}
	for _, name := range slices.Sorted(maps.Keys(d.VerificationMethods)) {
		key := strings.TrimPrefix(d.VerificationMethods[name], "did:key:")
		doc.VerificationMethod = append(doc.VerificationMethod, identity.DocVerificationMethod{
			ID: d.DID.String() + "#" + name, Type: "Multikey", Controller: d.DID.String(), PublicKeyMultibase: key,
		})
		for _, k := range keyContexts {
			if strings.HasPrefix(key, k.prefix) && !slices.Contains(doc.Context, k.context) {
				doc.Context = append(doc.Context, k.context)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Services)) {
		s := d.Services[name]
		doc.Service = append(doc.Service, identity.DocService{ID: "#" + name, Type: s.Type, ServiceEndpoint: s.Endpoint})
	}
	b, _ := json.Marshal(doc) // a value that consists of strings can always be encoded
	return b
}
