package browsertest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// chromium is the browser of all tests. It is started by the first of them.
var chromium struct {
	once    sync.Once
	ctx     context.Context
	stop    context.CancelFunc
	profile string
	missing error // what isn't installed
	err     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
		if err := os.RemoveAll(chromium.profile); err != nil {
			fmt.Fprintln(os.Stderr, "browsertest:", err)
		}
	}
	os.Exit(code)
}

// browser returns the context of the running browser, for [chromedp.NewContext]. It skips the test
// in short mode, and if the browser or the npm packages aren't installed.
func browser(t testing.TB) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: no browser in short mode")
	}
	chromium.once.Do(startChromium)
	if err := chromium.missing; err != nil {
		if os.Getenv("GATEHOUSE_TEST_BROWSER") != "" {
			t.Fatal(err)
		}
		t.Skip("skipped: ", err)
	}
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	return chromium.ctx
}

func startChromium() {
	c := &chromium
	path, err := exec.LookPath("chromium")
	if err != nil {
		c.missing = err
		return
	}
	if _, err := os.Stat(modules("axe-core")); err != nil {
		c.missing = fmt.Errorf("run npm ci in internal/browsertest: %w", err)
		return
	}
	if c.profile, c.err = os.MkdirTemp("", "gatehouse-chromium-"); c.err != nil {
		return
	}
	// The last flags keep Chromium from looking for hosts of its maker's.
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(c.profile),
		chromedp.Env("XDG_CACHE_HOME="+c.profile, "XDG_CONFIG_HOME="+c.profile),
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-default-apps", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,PasswordLeakDetection"),
		chromedp.Flag("password-store", "basic"),
		chromedp.Flag("lang", "en-US"),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("force-color-profile", "srgb"),
	)
	ctx, stop := chromedp.NewContext(allocator)
	c.ctx, c.stop = ctx, func() { stop(); stopAllocator() }
	if err := chromedp.Do(ctx); err != nil {
		c.err = errors.Join(errors.New("starting Chromium"), err)
	}
}

// modules returns the path of an npm package.
func modules(name ...string) string {
	return filepath.Join(append([]string{"node_modules"}, name...)...)
}
