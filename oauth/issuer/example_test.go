package issuer_test

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/oauth/issuer"
)

func ExampleKeys_Key() {
	s := &server{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), docs: map[string]string{
		metadata: `{"issuer":"https://entryway.example.com","jwks_uri":"https://entryway.example.com/oauth/jwks"}`,
		keySet: `{"keys":[{"kty":"EC","crv":"P-256","kid":"2026","alg":"ES256","use":"sig",
			"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`,
	}}
	// In a server, the Fetcher makes requests.
	keys, err := issuer.New(issuer.Config{Issuer: "https://entryway.example.com", Fetcher: s})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keys.Key(context.Background(), "2026", "ES256")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.(*ecdsa.PublicKey).Curve.Params().Name)
	// Output: P-256
}
