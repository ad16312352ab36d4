package e2e

import (
	"flag"
	"sync"

	"github.com/gatehouse-at/gatehouse/internal/lexicons"
)

// provoked has the errors that the tests have met so far. After a run of all tests, TestMain fails
// if an error that a lexicon declares is missing.
var provoked errorsMet

// errorsMet is a set of errors by method. Tests that run in parallel may add to it.
type errorsMet struct {
	mu  sync.Mutex
	met map[string]bool
}

func (e *errorsMet) add(nsid, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.met == nil {
		e.met = map[string]bool{}
	}
	e.met[nsid+" "+name] = true
}

// never lists the declared errors that this server never returns, and why.
var never = map[string]string{
	"com.atproto.server.createAccount IncompatibleDidDoc": "activateAccount checks the document",
	"com.atproto.server.deleteSession ExpiredToken":       "an expired token may still end its session",
	"com.atproto.server.createAccount UnresolvableDid":    "the DID has to be proven by service auth, which resolves it first",
}

// missing lists the declared errors that no test has met.
func (e *errorsMet) missing() []string {
	catalog, err := lexicons.Load()
	if err != nil {
		return []string{err.Error()}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, nsid := range catalog.Methods("com.atproto.server.", "com.atproto.admin.", "com.atproto.identity.", "com.atproto.temp.checkHandle", "com.atproto.sync.getRepoStatus") {
		m, _ := catalog.Method(nsid)
		for _, name := range m.Errors {
			if key := nsid + " " + name; !e.met[key] && never[key] == "" {
				out = append(out, key)
			}
		}
	}
	return out
}

// whole reports whether all tests are run, and not a selection of them.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}
