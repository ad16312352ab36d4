package pages

import (
	"html/template"
	"strings"
	"time"
)

// Content is what is particular to a page: a [SignIn], [Code], [Choose], [Consent], [Reactivate],
// [Answer], [Applications] or [Failure].
type Content interface{ page() kind }

// kind says how a Content is rendered.
type kind struct {
	template string // the name of its template, without .html
	title    string // the key of its title
	wide     bool
	script   string // the name of the asset that runs as a script, if any
}

// once is the script of pages with a form that changes something.
const once = "once.js"

// Form is where a form is sent, and what it sends beside its fields.
type Form struct {
	Action string
	Hidden []Hidden
}

// Hidden is a hidden field.
type Hidden struct{ Name, Value string }

// Client is an application that asks for access.
type Client struct {
	// ID is its client_id.
	ID string
	// Host is the verified host name of the client. Local clients have none.
	Host string
	// Name is what the client calls itself, which anybody can claim. It may be empty.
	Name string
	// Local is set for a program on the computer of whoever is in front of it, which nobody has
	// verified.
	Local bool
	// Trusted is set for clients that the operator of the server trusts.
	Trusted bool
	// PolicyURI and TermsURI are links to documents of the client. Empty: it has none.
	PolicyURI, TermsURI string
}

// Label returns how a client is named where it is named once: by its host or, if it is local, by
// its name or ID.
func (c *Client) Label() string {
	switch {
	case !c.Local:
		return c.Host
	case c.Name != "":
		return c.Name
	}
	return "localhost"
}

// Sign returns what stands for the picture of the client.
func (c *Client) Sign() string {
	if c.Name != "" {
		return Sign(c.Name)
	}
	return Sign(c.Label())
}

// NameHTML returns the name, set apart from the text around it.
func (c *Client) NameHTML() template.HTML {
	return template.HTML("<q><bdi>" + template.HTMLEscapeString(c.Name) + "</bdi></q>") //nolint:gosec // escaped
}

// TitleHTML returns the label of the client for a title.
func (c *Client) TitleHTML() template.HTML {
	return template.HTML("<bdi>" + template.HTMLEscapeString(c.Label()) + "</bdi>") //nolint:gosec // escaped
}

// HostHTML returns the host of the client. If it is too long for a line, it is broken after a dot
// rather than inside of a label, where it would be hard to read.
func (c *Client) HostHTML() template.HTML {
	escaped := strings.ReplaceAll(template.HTMLEscapeString(c.Host), ".", ".<wbr>")
	return template.HTML("<bdi>" + escaped + "</bdi>") //nolint:gosec // escaped
}

// Account is an account that is signed in.
type Account struct {
	// DID identifies the account.
	DID string
	// Label is what its owner knows it by: @ and the handle.
	Label string
	// Deactivated is set while the account is deactivated.
	Deactivated bool
}

// Sign returns what stands for the picture of the account.
func (a Account) Sign() string { return Sign(a.Label) }

// SignIn asks for an identifier and a password. It sends identifier, password, remember, and
// action=sign-in.
type SignIn struct {
	Form Form
	// Client is who asks. Nil: the server itself.
	Client *Client
	// Deny is the form that goes back to the client. Nil: there is none.
	Deny *Form
	// Identifier is filled in.
	Identifier string
	// Again is set if the account is signed in already, and its owner has to prove it once more.
	Again bool
	// Remember is set if the box is ticked.
	Remember bool
	// OtherAccounts is a link to the accounts that are signed in. Empty: there are none.
	OtherAccounts string
	// Problem is what was wrong with the last attempt, in the language of the page. Empty: nothing.
	Problem string
}

func (*SignIn) page() kind { return kind{template: "sign-in", title: "sign-in.title", script: once} }

func (c *SignIn) problem() string { return c.Problem }

// Code asks for a code of a second factor. It sends code, pending, and action=code or
// action=resend.
type Code struct {
	Form Form
	// Client is who asks. Nil: the server itself.
	Client *Client
	// Deny is the form that goes back to the client. Nil: there is none.
	Deny *Form
	// Sent says where the code is found, in the language of the page.
	Sent string
	// Identifier is who signs in.
	Identifier string
	// Pending is the attempt so far, sealed.
	Pending string
	// Resend is set if the code was mailed, and can be once more.
	Resend bool
	// Restart is a link to the sign-in page.
	Restart string
	// Problem is what was wrong with the last code, in the language of the page. Empty: nothing.
	Problem string
}

func (*Code) page() kind { return kind{template: "code", title: "code.title", script: once} }

func (c *Code) problem() string { return c.Problem }

// Choose asks which account to use. Its form is sent by GET, with account or another=1.
type Choose struct {
	Form Form
	// Client is who asks.
	Client *Client
	// Deny is the form that goes back to the client.
	Deny *Form
	// Accounts are those that are signed in.
	Accounts []Account
	// Problem is what was wrong, in the language of the page. Empty: nothing.
	Problem string
}

func (*Choose) page() kind { return kind{template: "choose", title: "choose.title", script: once} }

func (c *Choose) problem() string { return c.Problem }

// Consent asks whether a client gets access. It sends scope for each optional permission that stays
// ticked, and action=accept or action=deny.
type Consent struct {
	Form Form
	// Client is who asks.
	Client *Client
	// Account is the account to which it gets access.
	Account Account
	// OtherAccounts is a link to choose another account. Empty: it can't be changed.
	OtherAccounts string
	// Applications is a link to the applications with access. Empty: there is no such page.
	Applications string
	// Ordinary, Sensitive and Dangerous are the permissions, by how much harm they can do.
	Ordinary, Sensitive, Dangerous []Permission
	// Problem is what was wrong, in the language of the page. Empty: nothing.
	Problem string
}

func (*Consent) page() kind { return kind{template: "consent", wide: true, script: once} }

func (c *Consent) problem() string { return c.Problem }

func (c *Consent) title(l Language) string { return l.Text("consent.title", c.Client.Label()) }

// AnyOptional reports whether one of the permissions can be unticked.
func (c *Consent) AnyOptional() bool {
	for _, list := range [][]Permission{c.Ordinary, c.Sensitive, c.Dangerous} {
		for _, p := range list {
			if p.Optional {
				return true
			}
		}
	}
	return false
}

// Permission is something that a client wants to be allowed, in words of the page's language.
type Permission struct {
	// ID is the id of the element on the page.
	ID string
	// Scope is the scope token.
	Scope string
	// Icon is the name of an icon in parts.html: person, mail, write, file, service, chat, identity
	// or set.
	Icon string
	// Title says what it allows, and Detail says more. Detail may be empty.
	Title, Detail string
	// Parts are the technical names of what it covers.
	Parts []string
	// Optional is set if it can be unticked, and Ticked if it is ticked.
	Optional, Ticked bool
}

// Reactivate asks the owner of a deactivated account whether to reactivate it. It sends
// action=reactivate or action=deny.
type Reactivate struct {
	Form Form
	// Client is who asks.
	Client *Client
	// Account is the account that is deactivated.
	Account Account
	// Deletion is set if the account is due to be deleted.
	Deletion bool
	// OtherAccounts is a link to choose another account. Empty: it can't be changed.
	OtherAccounts string
	// Problem is what was wrong, in the language of the page. Empty: nothing.
	Problem string
}

func (*Reactivate) page() kind {
	return kind{template: "reactivate", title: "reactivate.title", script: once}
}

func (c *Reactivate) problem() string { return c.Problem }

// Answer is a form that goes to the client. A script sends it; without one there is a button.
type Answer struct {
	Form Form
	// Target is who gets it, for people.
	Target string
}

func (*Answer) page() kind {
	return kind{template: "answer", title: "answer.title", script: "submit.js"}
}

// Applications lists the applications with access to an account. Its forms send client_id with
// action=end, or action=sign-out.
type Applications struct {
	Form Form
	// Account is whose applications are listed.
	Account Account
	// Others are other accounts that are signed in, with links to their applications.
	Others []AccountLink
	// SignInURL is where to sign in to one more account.
	SignInURL string
	// Applications have access.
	Applications []Application
	// Done says what has just been done, in the language of the page. Empty: nothing.
	Done string
	// Problem is what was wrong, in the language of the page. Empty: nothing.
	Problem string
}

func (*Applications) page() kind {
	return kind{template: "applications", title: "applications.title", wide: true, script: once}
}

func (c *Applications) problem() string { return c.Problem }

// AccountLink is a link to a page about an account.
type AccountLink struct{ Label, URL string }

// Application is an application with access to an account.
type Application struct {
	Client *Client
	// Permissions say what it may do, in the language of the page.
	Permissions []string
	// Sessions is how many sessions it has.
	Sessions int
	// Since is when it got access, and Used when it last used it.
	Since, Used Moment
}

// Moment is a time on a page.
type Moment struct{ Machine, Text string }

// Moment returns a time in the language, in UTC.
func (l Language) Moment(t time.Time) Moment {
	t = t.UTC()
	return Moment{
		Machine: t.Format(time.RFC3339),
		Text:    l.Text("page.time", t.Format("2006"), l.Text(months[t.Month()-1]), t.Format("2"), t.Format("15:04")),
	}
}

var months = [...]string{
	"month.1", "month.2", "month.3", "month.4", "month.5", "month.6",
	"month.7", "month.8", "month.9", "month.10", "month.11", "month.12",
}

// Failure says that something didn't work.
type Failure struct {
	// Title is the title of the page, Happened what happened and Help what to do now, in the language
	// of the page. Help may be empty.
	Title, Happened, Help string
	// Code is the name of the error for developers, such as invalid_request. Description says more
	// about it, ClientID is the client that is at fault, and Reference the number under which the
	// error is in the log. All but Code may be empty.
	Code, Description, ClientID, Reference string
	// Back is a link out of here. Nil: there is none.
	Back *AccountLink
}

func (*Failure) page() kind { return kind{template: "failure"} }

func (f *Failure) title(Language) string { return f.Title }
