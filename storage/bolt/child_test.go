package bolt_test

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
)

// A test that needs a process that it can kill or limit runs this test binary again, as the child
// that this variable names.
const childVariable = "GATEHOUSE_BOLT_TEST_CHILD"

var children = map[string]func(path string){}

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childVariable)]; ok {
		child(os.Args[1])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startChild starts a child with a file, and returns a scanner of the lines that it prints.
func startChild(t *testing.T, name, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}
