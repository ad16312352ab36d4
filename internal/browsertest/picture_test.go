package browsertest

import (
	"os"
	"path/filepath"
	"slices"

	cdppage "github.com/chromedp/cdproto/page"
)

// pictured are the pages of which there are pictures.
var pictured = []string{"sign-in", "second-step", "consent", "account-chooser", "applications", "error"}

// picture writes a picture of the page to the directory that GATEHOUSE_SCREENSHOTS names, as
// NAME-VIEW.png, if it is one of those that are pictured. The page is shown whole, but not less
// than a screen of it. Views without JavaScript are left out, since they look the same.
func (p *page) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("GATEHOUSE_SCREENSHOTS")
	if dir == "" || p.view.noScript || !slices.Contains(pictured, name) {
		return
	}
	yes := true
	shot := call(p, cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{
		CaptureBeyondViewport: &yes,
		Clip: &cdppage.Viewport{
			Width:  float64(p.view.width),
			Height: evaluate[float64](p, `Math.max(innerHeight, document.documentElement.scrollHeight)`),
			Scale:  1,
		},
	})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+"-"+p.view.name+".png"), shot.Data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
