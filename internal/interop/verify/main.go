// Command verify checks a service token as another service would, with indigo: it reads the token
// from standard input, looks its issuer up in a PLC directory, and prints the DID that it proves.
//
//	verify PLC-URL AUDIENCE METHOD <TOKEN
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments; want the URL of the directory, the audience and the method", len(args))
	}
	method, err := syntax.ParseNSID(args[2])
	if err != nil {
		return err
	}
	token, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	v := auth.ServiceAuthValidator{
		Audience: args[1],
		Dir:      &identity.BaseDirectory{PLCURL: args[0], SkipHandleVerification: true},
	}
	id, err := v.Validate(context.Background(), strings.TrimSpace(string(token)), &method)
	if err != nil {
		return err
	}
	fmt.Println(id)
	return nil
}
