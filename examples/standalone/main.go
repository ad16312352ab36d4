// Standalone is a complete account server in one program: Gatehouse on a database, with e-mail and
// did:plc.
//
//	go run ./examples/standalone
//
// It serves on http://127.0.0.1:2583, and keeps its data in ./gatehouse-data. Every flag can also
// be set by an environment variable: -handle-domains by GATEHOUSE_HANDLE_DOMAINS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-at/gatehouse"
)

// cli has the flags and the commands. Flags may come before or after the name of the command.
type cli struct {
	Settings

	Serve    serveCmd         `cmd:"" default:"1" help:"Run the server (the default)."`
	MailTest mailTestCmd      `cmd:"" name:"mail-test" help:"Send a test e-mail, and say what is wrong if that fails."`
	Check    checkCmd         `cmd:"" help:"Check that the database is consistent. If it is bbolt, the server must not be running."`
	Copy     copyCmd          `cmd:"" help:"Copy everything from one store to another, and verify the copy. Stop the servers first."`
	Import   importCmd        `cmd:"" help:"Import the accounts of another server, with the hashes of their passwords. On bbolt the server must not be running."`
	Compact  compactCmd       `cmd:"" help:"Give the space of deleted documents in a bbolt file back to the disk. The server must not be running."`
	Version  kong.VersionFlag `env:"-" help:"Show the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "standalone:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c cli
	k, err := readFlags(ctx, &c, args)
	if err != nil {
		return err
	}
	return k.Run(&c.Settings)
}

// readFlags reads flags and environment variables.
func readFlags(ctx context.Context, c *cli, args []string) (*kong.Context, error) {
	if os.Getenv("GATEHOUSE_INVITES") != "" { // ignoring it would open the server to everybody
		return nil, errors.New("GATEHOUSE_INVITES no longer exists: set GATEHOUSE_SIGN_UP=invites instead")
	}
	parser, err := kong.New(c,
		kong.Name("standalone"),
		kong.Description("An AT Protocol account server."),
		kong.DefaultEnvars("GATEHOUSE"),
		kong.Vars{"version": gatehouse.Version},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return nil, err
	}
	return parser.Parse(longFlags(args))
}

// longFlags allows flags to begin with one dash or two, as those of Go's flag package do. The only
// flag of one letter is -h.
func longFlags(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && strings.Trim(a[1:2], "0123456789.") != "" {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}
