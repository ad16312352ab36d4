package oauth_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth"
)

func TestCheckIssuer(t *testing.T) {
	for issuer, good := range map[string]bool{
		"https://pds.example.com": true, "https://pds.example.com:8443": true, "http://127.0.0.1:2583": true, "http://localhost": true, "http://[::1]:8080": true,
		"": false, "pds.example.com": false, "https:pds.example.com": false, "https://": false, "ftp://pds.example.com": false,
		"http://pds.example.com": false, "https://pds.example.com/": false, "https://pds.example.com/a": false, "https://pds.example.com?": false,
		"https://pds.example.com#": false, "https://a@pds.example.com": false,
		"https://PDS.example.com": false, "HTTPS://pds.example.com": false, "https://pds.example.com:443": false, "https://pds.example.com:": false, "http://localhost:80": false,
	} {
		if err := oauth.CheckIssuer(issuer); (err == nil) != good {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

// TestMetadata checks what clients rely on, and what the specifications have a default for that
// isn't ours.
func TestMetadata(t *testing.T) {
	w := newWorld(t)
	m := w.OAuth.Metadata("en", "de")
	if m.Issuer != issuer || m.TokenEndpoint != issuer+"/oauth/token" || !m.RequirePushedAuthorizationRequests || !slices.Equal(m.UILocalesSupported, []string{"en", "de"}) {
		t.Errorf("%+v", m)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"revocation_endpoint_auth_methods_supported":["none","private_key_jwt"]`, `"introspection_endpoint_auth_methods_supported":["client_secret_basic"]`,
		`"token_endpoint_auth_methods_supported":["none","private_key_jwt"]`, `"client_id_metadata_document_supported":true`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is missing in %s", want, raw)
		}
	}
	for _, algorithms := range [][]string{m.DPoPSigningAlgValuesSupported, m.RequestObjectSigningAlgValuesSupported, m.TokenEndpointAuthSigningAlgValuesSupported, m.RevocationAuthSigningAlgValuesSupported} {
		if algorithms[0] != "ES256" || slices.ContainsFunc(algorithms, func(a string) bool { return a == "none" || strings.HasPrefix(a, "HS") }) {
			t.Errorf("algorithms: %v", algorithms)
		}
	}
	if r := w.OAuth.ResourceMetadata(); r.Resource != issuer || !slices.Equal(r.AuthorizationServers, []string{issuer}) {
		t.Errorf("%+v", r)
	}
}

func TestKeysArePublishedWithoutTheirSecrets(t *testing.T) {
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(newWorld(t).OAuth.JWKS(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v, %v", set, err)
	}
	k := set.Keys[0]
	if k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["kid"] == "" || k["x"] == nil || k["y"] == nil || k["d"] != nil {
		t.Errorf("the key is %v", k)
	}
}
