package browsertest

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// axe is the source of axe-core.
var axe = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile(modules("axe-core", "axe.min.js"))
	return string(b), err
})

// violation is a rule of axe-core that a page breaks.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

func (v violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", v.ID, v.Help)
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "\n\t%s\n\t\t%s", n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n\t\t"))
	}
	return b.String()
}

// violations has axe-core look at the page. axe-core runs in a world of its own, where neither
// the scripts of the page nor its Content-Security-Policy reach it. It needs JavaScript, which is
// therefore on while it runs; that changes nothing on a page that has been loaded without.
func (p *page) violations() []violation {
	p.t.Helper()
	source, err := axe()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.view.noScript {
		call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false})
		defer call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	frame := call(p, cdppage.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	world := call(p, cdppage.CreateIsolatedWorld, cdppage.CreateIsolatedWorldParams{FrameID: frame, WorldName: "axe"}).ExecutionContextID
	yes := true
	run := func(expression string) runtime.EvaluateResult {
		r := call(p, runtime.Evaluate, runtime.EvaluateParams{
			Expression: expression, ContextID: world, ReturnByValue: &yes, AwaitPromise: &yes,
		})
		if r.ExceptionDetails != nil {
			p.t.Fatal("axe-core: ", textOf(r.ExceptionDetails))
		}
		return r
	}
	run(source + "\n;0")
	// The rule target-size is off by default: what people touch is large enough, or far enough from
	// the next.
	r := run(`axe.run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } }).then((r) => {
		if (r.passes.length < 10) throw new Error('axe-core has looked at next to nothing')
		return r.violations.map((v) => ({ ID: v.id, Help: v.help, Nodes: v.nodes.map((n) => ({ HTML: n.html, FailureSummary: n.failureSummary })) }))
	})`)
	found, err := valueOf[[]violation](r)
	if err != nil {
		p.t.Fatal("axe-core: ", err)
	}
	return found
}

// check fails the test if the page keeps people out: with violations of what axe-core checks, or
// text that is only to be read by scrolling sideways. It takes a picture of the page, if pictures
// are asked for.
func (p *page) check(name string) {
	p.t.Helper()
	for _, v := range p.violations() {
		p.t.Errorf("%s, %s: %s", name, p.view.name, v)
	}
	if over := evaluate[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		p.t.Errorf("%s, %s: the page is %d pixels too wide", name, p.view.name, over)
	}
	if evaluate[string](p, `document.documentElement.lang`) == "" {
		p.t.Errorf("%s, %s: the page doesn't say its language", name, p.view.name)
	}
	p.picture(name)
}
