package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !given("test.parallel") {
		// Some tests spend most of their time waiting, for example for another node to take over.
		_ = flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+2))
	}
	code := m.Run()
	if binaries.dir != "" {
		_ = os.RemoveAll(binaries.dir)
	}
	if code == 0 && whole() {
		if missing := provoked.missing(); len(missing) > 0 {
			fmt.Println("FAIL: declared errors that no test provokes:", missing)
			code = 1
		}
	}
	os.Exit(code)
}

// given reports whether a flag was set on the command line.
func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

// binaries holds the programs that the tests build. TestMain removes its directory at the end.
var binaries struct {
	once sync.Once
	dir  string
	err  error
}

// standalone builds examples/standalone once and returns the path of the binary. It skips the test
// in short mode.
func standalone(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: no processes in short mode")
	}
	b := &binaries
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "gatehouse-e2e-"); b.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(b.dir, "standalone"), "../../examples/standalone").CombinedOutput()
		if err != nil {
			b.err = fmt.Errorf("building the server: %w: %s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "standalone")
}
