package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for the browser, which may be long on a busy machine.
const patience = time.Minute

// view is how somebody looks at a page.
type view struct {
	name          string
	width, height int64
	phone         bool // the page is laid out for a small screen
	dark          bool // a dark color scheme is preferred
	noScript      bool // the browser runs no JavaScript
}

var (
	desktop = view{name: "desktop", width: 1280, height: 800}
	phone   = view{name: "phone", width: 360, height: 740, phone: true}
)

// inDark returns the view of somebody who prefers dark pages.
func (v view) inDark() view {
	v.name += "-dark"
	v.dark = true
	return v
}

// withoutScript returns the view of somebody whose browser runs no JavaScript.
func (v view) withoutScript() view {
	v.name += "-noscript"
	v.noScript = true
	return v
}

// page is a tab of the browser.
type page struct {
	t      testing.TB
	ctx    context.Context
	view   view
	expect func(problem) bool // problems that are part of the test; optional

	mu        sync.Mutex
	changed   chan struct{}    // closed and replaced at each event
	loads     int              // documents that have been loaded
	status    int64            // HTTP status of the latest document
	documents map[string]int64 // the latest status by URL
	problems  []problem
}

// open opens an empty tab in a browser context of its own. When the test ends it fails if there
// was a problem with a page.
func open(t testing.TB, v view) *page {
	t.Helper()
	return attach(t, browser(t), v, chromedp.WithNewBrowserContext())
}

// beside opens another tab beside p, with the cookies of p.
func (p *page) beside(opts ...chromedp.ContextOption) *page {
	p.t.Helper()
	return attach(p.t, p.ctx, p.view, opts...)
}

func attach(t testing.TB, parent context.Context, v view, opts ...chromedp.ContextOption) *page {
	t.Helper()
	p := &page{t: t, view: v, changed: make(chan struct{}), documents: map[string]int64{}}
	ctx, cancel := chromedp.NewContext(parent, append(opts, chromedp.WithListener(p.notice))...)
	t.Cleanup(cancel)
	p.ctx = ctx
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("opening a tab: ", err)
	}
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	call(p, network.Enable, network.EnableParams{})
	call(p, cdplog.Enable, cdp.Empty{})
	call(p, audits.Enable, cdp.Empty{})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: v.width, Height: v.height, DeviceScaleFactor: 1, Mobile: v.phone,
	})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.noScript})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s, at the end: %s", v.name, p.describe())
		}
		for _, problem := range p.trouble() {
			t.Errorf("%s: %s", v.name, problem)
		}
	})
	return p
}

// notice is called with each event of the tab.
func (p *page) notice(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *cdppage.EventLoadEventFired:
		p.loads++
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			p.status = e.Response.Status
			p.documents[e.Response.URL] = p.status
		}
	}
	if problem, is := problemOf(event); is {
		p.problems = append(p.problems, problem)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// call calls a command of the DevTools protocol.
func call[P, R any](p *page, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	r, err := try(p, cmd, params)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.view.name, cmd.Method, err)
	}
	return r
}

func try[P, R any](p *page, cmd cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Call(ctx, cmd, params)
}

// await waits until a condition holds, which it asks at each event of the tab.
func (p *page) await(what string, holds func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.t.Fatalf("%s: no %s", p.view.name, what)
		}
	}
}

// loading does something that makes the tab load a document, and waits for it.
func (p *page) loading(action func()) {
	p.t.Helper()
	before := p.loaded()
	action()
	p.await("next page", func() bool { return p.loaded() > before })
}

func (p *page) loaded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loads
}

// visit loads a URL, as if it were typed.
func (p *page) visit(url string) {
	p.t.Helper()
	p.loading(func() {
		p.t.Helper()
		if r := call(p, cdppage.Navigate, cdppage.NavigateParams{URL: url, TransitionType: cdppage.TransitionTypeTyped}); r.ErrorText != "" {
			p.t.Fatalf("%s: %s: %s", p.view.name, url, r.ErrorText)
		}
	})
}

// answered returns the HTTP status of the document.
func (p *page) answered() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// evaluate evaluates an expression in the page, and waits for it if it is a promise. It works
// without JavaScript in the page, too. The expression counts as something that the person at the
// browser has done.
func evaluate[T any](p *page, expression string) T {
	p.t.Helper()
	v, err := tryEvaluate[T](p, expression)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.view.name, expression, err)
	}
	return v
}

func tryEvaluate[T any](p *page, expression string) (v T, err error) {
	yes := true
	r, err := try(p, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ReturnByValue: &yes, AwaitPromise: &yes, UserGesture: &yes,
	})
	if err != nil {
		return v, err
	}
	return valueOf[T](r)
}

func valueOf[T any](r runtime.EvaluateResult) (v T, err error) {
	if e := r.ExceptionDetails; e != nil {
		return v, errors.New(textOf(e))
	}
	if r.Result == nil || len(r.Result.Value) == 0 {
		return v, nil // undefined
	}
	return v, json.Unmarshal(r.Result.Value, &v)
}

// text returns what can be read on the page.
func (p *page) text() string { p.t.Helper(); return evaluate[string](p, `document.body.innerText`) }

// url returns the address of the page.
func (p *page) url() string { p.t.Helper(); return evaluate[string](p, `location.href`) }

// isAt reports whether a page is shown and loaded whole.
func (p *page) isAt(url string) bool {
	at, err := tryEvaluate[string](p, `document.readyState === 'complete' ? location.href : ''`)
	return err == nil && at == url // there is an error while the tab goes from one page to the next
}

// has reports whether something on the page matches a CSS selector.
func (p *page) has(selector string) bool {
	p.t.Helper()
	return evaluate[bool](p, fmt.Sprintf(`document.querySelector(%q) !== null`, selector))
}

// must fails the test if nothing on the page matches a CSS selector.
func (p *page) must(selectors ...string) {
	p.t.Helper()
	for _, selector := range selectors {
		if !p.has(selector) {
			p.t.Fatalf("%s: there is no %s; %s", p.view.name, selector, p.describe())
		}
	}
}

// reads fails the test if one of the texts can't be read on the page.
func (p *page) reads(texts ...string) {
	p.t.Helper()
	all := p.text()
	for _, text := range texts {
		if !strings.Contains(strings.ToLower(all), strings.ToLower(text)) {
			p.t.Errorf("%s: %q is not to be read; %s", p.view.name, text, p.describe())
		}
	}
}

// describe says what the tab shows, for messages.
func (p *page) describe() string {
	got, err := tryEvaluate[[]string](p, `[location.href, document.title, document.body ? document.body.innerText : '']`)
	if err != nil || len(got) != 3 {
		return fmt.Sprint("the page can't be read: ", err)
	}
	lines := slices.DeleteFunc(strings.Split(got[2], "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	return fmt.Sprintf("%s %q:\n\t%s", got[0], got[1], strings.Join(lines, "\n\t"))
}

// cookie returns the only cookie of a server.
func (p *page) cookie(server string) *network.Cookie {
	p.t.Helper()
	all := call(p, network.GetCookies, network.GetCookiesParams{URLs: []string{server}}).Cookies
	if len(all) != 1 {
		p.t.Fatalf("%d cookies: %+v", len(all), all)
	}
	return all[0]
}
