package browsertest

import (
	"context"
	"fmt"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// element returns what a CSS selector matches first.
func (p *page) element(selector string) runtime.RemoteObjectID {
	p.t.Helper()
	r := call(p, runtime.Evaluate, runtime.EvaluateParams{Expression: fmt.Sprintf(`document.querySelector(%q)`, selector)})
	if r.Result == nil || r.Result.ObjectID == "" {
		p.t.Fatalf("%s: there is no %s; %s", p.view.name, selector, p.describe())
	}
	return r.Result.ObjectID
}

// click clicks what a CSS selector matches first, in its middle, where it must not be covered.
func (p *page) click(selector string) {
	p.t.Helper()
	id := p.element(selector)
	call(p, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{ObjectID: id})
	quads := call(p, dom.GetContentQuads, dom.GetContentQuadsParams{ObjectID: id}).Quads
	if len(quads) == 0 {
		p.t.Fatalf("%s: %s is not visible", p.view.name, selector)
	}
	q := quads[0]
	x, y := (q[0]+q[2]+q[4]+q[6])/4, (q[1]+q[3]+q[5]+q[7])/4
	if !evaluate[bool](p, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q), hit = document.elementFromPoint(%f, %f)
		return e.contains(hit) || hit?.closest('label')?.control === e
	})()`, selector, x, y)) {
		p.t.Fatalf("%s: %s is covered by something", p.view.name, selector)
	}
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		call(p, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: 1,
		})
	}
}

// submit clicks a button, and waits for the page that follows.
func (p *page) submit(selector string) {
	p.t.Helper()
	p.loading(func() { p.t.Helper(); p.click(selector) })
}

// fill types a text into a field, in place of what is in it.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	id := p.element(selector)
	call(p, dom.Focus, dom.FocusParams{ObjectID: id})
	call(p, runtime.CallFunctionOn, runtime.CallFunctionOnParams{ObjectID: id, FunctionDeclaration: `function () { this.select() }`})
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// press presses keys, one after the other.
func (p *page) press(keys string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.KeyEvent(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// maxTabs is how many steps with the tabulator key it may take to get anywhere on a page.
const maxTabs = 60

// tabTo goes with the tabulator key to what a CSS selector matches first. Each step on the way has
// to be visible: the element with the focus looks different from when it hasn't.
func (p *page) tabTo(selector string) {
	p.t.Helper()
	p.must(selector)
	there := fmt.Sprintf(`document.activeElement === document.querySelector(%q)`, selector)
	if evaluate[bool](p, there) {
		return // such as a field in which people type first
	}
	for range maxTabs {
		p.press(kb.Tab)
		if what := evaluate[string](p, focusShown); what != "" {
			p.t.Errorf("%s: nothing shows that %s has the focus", p.view.name, what)
		}
		if evaluate[bool](p, there) {
			return
		}
	}
	p.t.Fatalf("%s: the tabulator key doesn't lead to %s", p.view.name, selector)
}

// focusShown is an expression that compares how the focused element looks with and without the
// focus. It yields the element if there is no difference, and otherwise an empty string.
const focusShown = `(() => {
	const e = document.activeElement
	if (!e || e === document.body) return ''
	const look = () => {
		const s = getComputedStyle(e)
		return [s.outlineStyle === 'none' ? '' : s.outlineStyle + s.outlineWidth + s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine].join()
	}
	const focused = look()
	e.blur()
	const blurred = look()
	e.focus({ focusVisible: true, preventScroll: true })
	return focused === blurred ? e.outerHTML.slice(0, 200) : ''
})()`
