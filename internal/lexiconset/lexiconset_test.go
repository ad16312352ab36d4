package lexiconset_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/lexiconset"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

const (
	nsid      = syntax.NSID("com.posts.feed.authFull")
	publisher = syntax.DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
	record    = `{"uri":"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.atproto.lexicon.schema/com.posts.feed.authFull","cid":"x","value":` + document + `}`
	document  = `{"$type":"com.atproto.lexicon.schema","lexicon":1,"id":"com.posts.feed.authFull",` +
		`"defs":{"main":{"type":"permission-set","permissions":[{"type":"permission","resource":"repo","collection":["com.posts.feed.post"]}]}}}`
)

// world is the network of a test: one publisher, as it should be, until a test changes it.
type world struct {
	txt     map[string][]string // by domain
	broken  bool                // whether the name server fails
	server  string
	didErr  error
	didDoc  syntax.DID
	answer  string
	getErr  error
	gets    []string
	lookups int
}

func newWorld() *world {
	return &world{
		txt:    map[string][]string{"_lexicon.feed.posts.com": {"v=spf1 -all", "did=" + publisher.String()}},
		server: "https://pds.posts.com", didDoc: publisher, answer: record,
	}
}

func (w *world) identity(_ context.Context, id syntax.DID) (*identity.Identity, error) {
	w.lookups++
	if w.didErr != nil {
		return nil, w.didErr
	}
	return &identity.Identity{DID: w.didDoc, Services: map[string]identity.ServiceEndpoint{
		"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: w.server},
	}}, nil
}

func (w *world) get(_ context.Context, url string, max int64) ([]byte, error) {
	w.gets = append(w.gets, url)
	if w.getErr != nil {
		return nil, w.getErr
	}
	if int64(len(w.answer)) > max {
		return nil, errors.New("too large")
	}
	return []byte(w.answer), nil
}

func (w *world) resolver(t *testing.T) *lexiconset.Resolver {
	t.Helper()
	r, err := lexiconset.New(lexiconset.Config{Identity: w.identity, Get: w.get, DialDNS: func(context.Context, string, string) (net.Conn, error) {
		if w.broken {
			return nil, errors.New("no route to host 10.0.0.53")
		}
		return answerDNS(t, w.txt), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResolve(t *testing.T) {
	w := newWorld()
	doc, err := w.resolver(t).Resolve(context.Background(), nsid)
	if err != nil || !bytes.Equal(doc, []byte(document)) {
		t.Fatalf("Resolve = %s, %v", doc, err)
	}
	if _, err := scope.ParsePermissionSet(nsid, doc); err != nil {
		t.Error(err)
	}
	if len(w.gets) != 1 {
		t.Fatalf("requests: %q", w.gets)
	}
	got, err := url.Parse(w.gets[0])
	if err != nil {
		t.Fatal(err)
	}
	q := got.Query()
	if got.Scheme != "https" || got.Host != "pds.posts.com" || got.Path != "/xrpc/com.atproto.repo.getRecord" ||
		len(q) != 3 || q.Get("repo") != publisher.String() || q.Get("collection") != "com.atproto.lexicon.schema" || q.Get("rkey") != nsid.String() {
		t.Errorf("the request is %s", got)
	}
}

func TestResolveRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*world)
		message string // public; "" if the network is at fault
	}{
		"no record in the DNS":  {func(w *world) { clear(w.txt) }, "_lexicon.feed.posts.com has no TXT record that names a DID"},
		"another record":        {func(w *world) { w.txt["_lexicon.feed.posts.com"] = []string{"hello"} }, "_lexicon.feed.posts.com has no TXT record that names a DID"},
		"one of the parent":     {func(w *world) { w.txt = map[string][]string{"_lexicon.posts.com": {"did=" + publisher.String()}} }, "_lexicon.feed.posts.com has no TXT record that names a DID"},
		"no DID":                {func(w *world) { w.txt["_lexicon.feed.posts.com"] = []string{"did=https://evil.example"} }, "the TXT record of _lexicon.feed.posts.com names no valid DID"},
		"no name server":        {func(w *world) { w.broken = true }, ""},
		"an unknown DID":        {func(w *world) { w.didErr = fmt.Errorf("%w: there", did.ErrNotFound) }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz has no document"},
		"a deleted DID":         {func(w *world) { w.didErr = did.ErrTombstoned }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz has no document"},
		"no directory":          {func(w *world) { w.didErr = did.ErrUnavailable }, ""},
		"the document of other": {func(w *world) { w.didDoc = "did:web:evil.example" }, ""},
		"no server":             {func(w *world) { w.server = "" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"a server without TLS":  {func(w *world) { w.server = "http://pds.posts.com" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"a file":                {func(w *world) { w.server = "file:///etc/passwd" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"a path":                {func(w *world) { w.server = "https://pds.posts.com/admin/delete?x=" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"a query":               {func(w *world) { w.server = "https://pds.posts.com?a=b" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"a password":            {func(w *world) { w.server = "https://user:pw@pds.posts.com" }, "the DID did:plc:ewvi7nxzyoun6zhxrhs64oiz names no server with an https URL"},
		"no answer":             {func(w *world) { w.getErr = errors.New("connection refused") }, ""},
		"a wrong answer":        {func(w *world) { w.getErr = refusal.New(scope.ErrScope, "it answered 404") }, "it answered 404"},
		"no JSON":               {func(w *world) { w.answer = "<html>" }, "the answer of pds.posts.com isn't a record"},
		"no value":              {func(w *world) { w.answer = `{"uri":"x"}` }, "the answer of pds.posts.com isn't a record"},
		"the record of another": {func(w *world) { w.answer = strings.Replace(record, "authFull", "authOther", 1) }, "the answer of pds.posts.com isn't the record at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.atproto.lexicon.schema/com.posts.feed.authFull"},
		"one without an address": {func(w *world) { w.answer = strings.Replace(record, `"uri"`, `"url"`, 1) },
			"the answer of pds.posts.com isn't the record at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.atproto.lexicon.schema/com.posts.feed.authFull"},
		"too much": {func(w *world) { w.answer += strings.Repeat(" ", scope.MaxDocument+4096) }, ""},
	} {
		w := newWorld()
		test.change(w)
		doc, err := w.resolver(t).Resolve(context.Background(), nsid)
		if doc != nil || err == nil {
			t.Errorf("%s: Resolve = %s, %v", name, doc, err)
			continue
		}
		var public interface{ PublicMessage() string }
		message := ""
		if errors.As(err, &public) {
			message = public.PublicMessage()
		}
		if message != test.message || (message != "") != errors.Is(err, scope.ErrScope) {
			t.Errorf("%s: %v, public %q, want %q", name, err, message, test.message)
		}
	}
}

// A client may ask for a set of any name. Names that only the server's own network knows aren't
// looked up.
func TestPrivateNamesAreNotLookedUp(t *testing.T) {
	for _, name := range []syntax.NSID{"local.printer.auth", "internal.vault.auth", "localhost.service.auth", "arpa.in-addr.auth", "onion.abc.auth"} {
		w := newWorld()
		w.txt["_lexicon."+name.Authority()] = []string{"did=" + publisher.String()}
		_, err := w.resolver(t).Resolve(context.Background(), name)
		if !errors.Is(err, scope.ErrScope) || w.lookups != 0 || len(w.gets) != 0 {
			t.Errorf("%s: %v, %d lookups, requests %q", name, err, w.lookups, w.gets)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld()
	for name, cfg := range map[string]lexiconset.Config{"nothing": {}, "no Get": {Identity: w.identity}, "no Identity": {Get: w.get}} {
		if _, err := lexiconset.New(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
