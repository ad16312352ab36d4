// Command extract writes what the lexicons in the indigo module of go.mod say of the inputs of the
// methods that are served into a file.
package main

import (
	"fmt"
	"os"

	"github.com/gatehouse-at/gatehouse/internal/lexicons"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: extract FILE")
	}
	catalog, err := lexicons.Load()
	if err != nil {
		return err
	}
	file, err := catalog.Extract(xrpc.Methods()...)
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], file, 0o644)
}
