package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// document is a page without faults, into which tests put some.
const document = `<!DOCTYPE html>
<html lang="en"><head><meta name="viewport" content="width=device-width"><title>A test</title><link rel="icon" href="data:,">%s</head>
<body><main><h1>A test</h1>%s</main></body></html>`

// static serves pages of the harness's own tests.
func static(t *testing.T, policy, head, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		fmt.Fprintf(w, document, head, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestTheHarnessNotices shows that each kind of fault is noticed, since a harness that notices
// nothing finds all pages good.
func TestTheHarnessNotices(t *testing.T) {
	const open_, strict = "default-src *; script-src 'unsafe-inline'; img-src * data:", "default-src 'none'; img-src data:; form-action 'self'"
	for _, tt := range []struct {
		name, policy, head, body, want string
		noScript                       bool
	}{
		{name: "an inline script that the policy forbids", policy: strict, head: `<script>1</script>`, want: "csp"},
		{name: "an inline style that the policy forbids", policy: strict, body: `<p style="color: red">red</p>`, want: "csp", noScript: true},
		{name: "an error in the console", policy: open_, head: `<script>console.error("oh")</script>`, want: "console: \"oh\""},
		{name: "an exception", policy: open_, head: `<script>throw new Error("oh")</script>`, want: "exception: Error: oh"},
		{name: "a request to another machine", policy: open_, body: `<img alt="" src="http://192.0.2.1/pixel.png">`, want: "request: to another machine"},
		{name: "an image that isn't there", policy: open_, body: `<img alt="" src="http://127.0.0.1:1/none.png">`, want: "network: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := desktop
			if tt.noScript {
				v = v.withoutScript()
			}
			p := open(t, v)
			p.expect = func(problem) bool { return true }
			p.visit(static(t, tt.policy, tt.head, tt.body))
			p.await("report of the fault", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return slices.ContainsFunc(p.problems, func(one problem) bool { return strings.HasPrefix(one.String(), tt.want) })
			})
		})
	}
}

// TestAxeFindsViolations shows that axe-core looks at the page as it is shown.
func TestAxeFindsViolations(t *testing.T) {
	const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
	const style = `<style>
		html { color: #000; background: #fff; color-scheme: light dark }
		@media (prefers-color-scheme: dark) { html { color: #333; background: #222 } }
	</style>`
	for _, tt := range []struct {
		name, body, want string
		view             view
	}{
		{"nothing wrong", `<p>A text.</p>`, "", desktop},
		{"nothing wrong, without JavaScript", `<p>A text.</p>`, "", phone.withoutScript()},
		{"gray on black, when dark", `<p>A text.</p>`, "color-contrast", desktop.inDark()},
		{"a field without a label", `<input name="x">`, "label", desktop},
		{"a field without a label, without JavaScript", `<input name="x">`, "label", desktop.withoutScript()},
		{"small buttons side by side", `<button style="width:12px;height:12px;padding:0" aria-label="a"></button><button style="width:12px;height:12px;padding:0" aria-label="b"></button>`, "target-size", phone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := open(t, tt.view)
			p.visit(static(t, policy, style, tt.body))
			var found []string
			for _, v := range p.violations() {
				found = append(found, v.ID)
			}
			if got := strings.Join(found, " "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// TestTheHarnessActs shows that fields are filled in and buttons are pressed, by mouse and by
// keyboard, with and without JavaScript.
func TestTheHarnessActs(t *testing.T) {
	for _, v := range []view{desktop, phone, desktop.withoutScript(), phone.withoutScript().inDark()} {
		t.Run(v.name, func(t *testing.T) {
			asked := make(chan string, 1)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					asked <- r.PostFormValue("word") + r.PostFormValue("scope") + r.PostFormValue("action")
					http.Redirect(w, r, "/after?scheme=dark", http.StatusSeeOther)
					return
				}
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				fmt.Fprintf(w, document, "", `<form method="post"><label for="word">Word</label><input id="word" name="word" value="old">
					<input type="checkbox" id="scope" name="scope" value="+" checked><label for="scope">More</label>
					<div style="height: 3000px"></div><button name="action" value="no">No</button><button name="action" value="go">Go</button></form>`)
			}))
			t.Cleanup(s.Close)
			p := open(t, v)
			for _, by := range []string{"mouse", "keyboard"} {
				p.visit(s.URL)
				if by == "mouse" {
					p.fill("#word", "new")
					p.click("#scope")
					p.submit("button[value=go]")
				} else {
					p.tabTo("#word")
					p.press("new")
					p.tabTo("#scope")
					p.press(" ")
					p.tabTo("button[value=go]")
					p.loading(func() { p.press("\r") })
				}
				if got := receive(t, "form", asked); got != "newgo" {
					t.Errorf("by %s: %q", by, got)
				}
				if !strings.HasSuffix(p.url(), "/after?scheme=dark") || p.answered() != 200 {
					t.Errorf("by %s: at %s, %d", by, p.url(), p.answered())
				}
			}
		})
	}
}
