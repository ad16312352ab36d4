package browsertest

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/audits"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// problem is something that must not happen on a page.
type problem struct {
	kind string // csp, console, exception, request, network
	text string
	url  string // of what was loaded, if there is one
}

func (p problem) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s", p.kind, p.text, p.url))
}

// trouble returns the problems that aren't part of the test. That a page itself is answered with an
// error isn't one: tests look at that.
func (p *page) trouble() []problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []problem
	for _, one := range p.problems {
		isPage := one.kind == "network" && p.documents[one.url] >= 400 && strings.Contains(one.text, "responded with a status of")
		if !isPage && (p.expect == nil || !p.expect(one)) {
			all = append(all, one)
		}
	}
	return all
}

// problemOf returns the problem that an event tells of, if it does.
func problemOf(event any) (p problem, is bool) {
	switch e := event.(type) {
	case *audits.EventIssueAdded:
		d := e.Issue.Details
		switch {
		case d == nil:
		case d.ContentSecurityPolicyIssueDetails != nil:
			c := d.ContentSecurityPolicyIssueDetails
			return problem{"csp", "violates " + c.ViolatedDirective, c.BlockedURL}, true
		case d.CookieIssueDetails != nil && len(d.CookieIssueDetails.CookieExclusionReasons) > 0:
			return problem{"cookie", fmt.Sprint(d.CookieIssueDetails.CookieExclusionReasons), ""}, true
		case d.MixedContentIssueDetails != nil, d.QuirksModeIssueDetails != nil:
			return problem{"page", e.Issue.Code.String(), ""}, true
		}
	case *cdplog.EventEntryAdded:
		switch {
		case e.Entry.Level != cdplog.EntryLevelError && e.Entry.Level != cdplog.EntryLevelWarning:
		case e.Entry.Source == cdplog.EntrySourceNetwork:
			return problem{"network", e.Entry.Text, e.Entry.URL}, true
		default:
			return problem{e.Entry.Source.String(), e.Entry.Text, e.Entry.URL}, true
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var parts []string
			for _, a := range e.Args {
				parts = append(parts, describeObject(a))
			}
			return problem{"console", strings.Join(parts, " "), ""}, true
		}
	case *runtime.EventExceptionThrown:
		return problem{"exception", textOf(e.ExceptionDetails), e.ExceptionDetails.URL}, true
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || !local(u) {
			return problem{"request", "to another machine", e.Request.URL}, true
		}
	}
	return problem{}, false
}

// local reports whether a URL is on this machine, or no address at all.
func local(u *url.URL) bool {
	switch u.Scheme {
	case "http", "https", "ws", "wss":
		return u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost"
	}
	return true
}

// textOf returns the text of an exception.
func textOf(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	if e.Exception != nil {
		return e.Text + " " + describeObject(e.Exception)
	}
	return e.Text
}

func describeObject(o *runtime.RemoteObject) string {
	if o.Description != "" {
		return o.Description
	}
	return string(o.Value)
}
