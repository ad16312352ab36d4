package client_test

import (
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// A developer can check a document before it is published.
func ExampleParseMetadata() {
	document := []byte(`{
		"client_id": "https://app.example.com/oauth-client-metadata.json",
		"client_name": "Example App",
		"redirect_uris": ["http://app.example.com/callback"],
		"grant_types": ["authorization_code", "refresh_token"],
		"response_types": ["code"],
		"scope": "atproto",
		"dpop_bound_access_tokens": true
	}`)
	_, err := client.ParseMetadata("https://app.example.com/oauth-client-metadata.json", document)
	fmt.Println(err)
	fmt.Println(errors.Is(err, client.ErrInvalidRedirect))
	// Output:
	// redirect URI "http://app.example.com/callback": only loopback redirects of native applications, to 127.0.0.1 or [::1], may be http URLs
	// true
}
