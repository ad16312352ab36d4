package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
)

const (
	describeServer = "/xrpc/com.atproto.server.describeServer"
	getSession     = "/xrpc/com.atproto.server.getSession"
	createSession  = "/xrpc/com.atproto.server.createSession"
	refreshSession = "/xrpc/com.atproto.server.refreshSession"
	createAccount  = "/xrpc/com.atproto.server.createAccount"
	tokenEndpoint  = "/oauth/token"
)

// target is a server that workloads are for.
type target struct {
	*process
	store   string         // memory, bolt, postgres or reference
	key     *oauthtest.Key // of the OAuth client
	created *atomic.Int64  // how many accounts createAccount has created
	run     string         // tells the accounts of this run from those of others
}

func newTarget(p *process, store string, key *oauthtest.Key) *target {
	return &target{p, store, key, new(atomic.Int64), strings.ToLower(rand.Text()[:3])}
}

// workload is one kind of work that clients give to a server.
type workload struct {
	name string
	// script returns what client i of n sends. What it learns, such as new tokens, stays in the
	// target.
	script func(t *target, i, n int) *script
	// everywhere says that the reference server has it too.
	everywhere bool
}

// workloads are all of them, in the order of the report.
var workloads = []workload{
	{name: "describeServer", script: func(t *target, _, _ int) *script {
		r := request("GET", t.Host, describeServer, nil)
		return &script{next: func() []byte { return r }}
	}, everywhere: true},
	{name: "getSession", script: getSessions, everywhere: true},
	{name: "getSession DPoP", script: getSessionsWithProofs},
	{name: "createSession", script: func(t *target, i, n int) *script {
		return logIns(t, share(t.PasswordAccounts, i, n), func(a *account) string { return a.Password })
	}, everywhere: true},
	{name: "createSession app password", script: func(t *target, i, n int) *script {
		return logIns(t, share(t.Accounts, i, n), func(a *account) string { return a.AppPassword })
	}},
	{name: "refreshSession", script: refreshes, everywhere: true},
	{name: "OAuth refresh", script: oauthRefreshes},
	{name: "createAccount", script: signUps, everywhere: true},
	{name: "mix", script: mix},
}

// share returns the part of client i of n.
func share[T any](all []T, i, n int) []T {
	var part []T
	for ; i < len(all); i += n {
		part = append(part, all[i])
	}
	return part
}

// around returns the next of some things each time, beginning with any of them.
func around[T any](all []T) func() T {
	i := mrand.IntN(len(all))
	return func() T {
		i = (i + 1) % len(all)
		return all[i]
	}
}

func getSessions(t *target, i, n int) *script {
	var requests [][]byte
	for _, a := range share(t.Accounts, i, n) {
		requests = append(requests, request("GET", t.Host, getSession, nil, "Authorization: Bearer "+a.Access))
	}
	return &script{next: around(requests)}
}

// getSessionsWithProofs makes the proofs before the time is measured, as long as it can say how many
// are needed.
func getSessionsWithProofs(t *target, i, n int) *script {
	next := around(share(t.Accounts, i, n))
	p := &prover{target: t, make: func(nonce string) []byte {
		a := next()
		proof := t.key.Sign(oauthtest.Proof{
			Method: "GET", URL: "http://" + t.Host + getSession, Nonce: nonce, AccessToken: a.OAuthAccess, Now: time.Now(),
		})
		return request("GET", t.Host, getSession, nil, "Authorization: DPoP "+a.OAuthAccess, "DPoP: "+proof)
	}}
	return &script{prepare: p.prepare, next: p.next}
}

// logIns logs accounts in.
func logIns(t *target, all []*account, password func(*account) string) *script {
	var requests [][]byte
	for _, a := range all {
		requests = append(requests, post(t.Host, createSession, map[string]string{"identifier": a.Handle, "password": password(a)}))
	}
	return &script{next: around(requests)}
}

// refreshes refreshes the sessions of a client's accounts in turn, each with the token that the
// refresh before has given.
func refreshes(t *target, i, n int) *script {
	var tokens []*string
	for _, a := range share(t.Accounts, i, n) {
		for j := range a.Refresh {
			tokens = append(tokens, &a.Refresh[j])
		}
	}
	turn := around(tokens)
	var current *string
	return &script{
		next: func() []byte {
			current = turn()
			return request("POST", t.Host, refreshSession, nil, "Authorization: Bearer "+*current)
		},
		took: func(a *answer) error {
			body, err := a.body()
			if err == nil {
				*current, err = text(body, "refreshJwt")
			}
			return err
		},
	}
}

func oauthRefreshes(t *target, i, n int) *script {
	p := &prover{target: t, make: func(nonce string) []byte {
		return []byte(t.key.Sign(oauthtest.Proof{Method: "POST", URL: "http://" + t.Host + tokenEndpoint, Nonce: nonce, Now: time.Now()}))
	}}
	turn := around(share(t.Accounts, i, n))
	var current *account
	return &script{
		prepare: p.prepare,
		next: func() []byte {
			current = turn()
			form := url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {current.OAuthRefresh}}.Encode()
			return request("POST", t.Host, tokenEndpoint, []byte(form), "Content-Type: application/x-www-form-urlencoded", "DPoP: "+string(p.next()))
		},
		took: func(a *answer) error {
			body, err := a.body()
			if err != nil {
				return err
			}
			access, err := text(body, "access_token")
			if err != nil {
				return err
			}
			refresh, err := text(body, "refresh_token")
			if err == nil {
				current.OAuthAccess, current.OAuthRefresh = access, refresh
			}
			return err
		},
	}
}

func signUps(t *target, _, _ int) *script {
	return &script{next: func() []byte {
		name := fmt.Sprintf("%s-%d", t.run, t.created.Add(1))
		return post(t.Host, createAccount, map[string]string{"handle": "n" + name + ".test", "email": name + "@example.com", "password": knownPassword})
	}}
}

// mix is what a server is asked on a usual day: 90% reads, 5% refreshes, 4% log-ins, 1% sign-ups.
func mix(t *target, i, n int) *script {
	read, refresh, signUp := getSessions(t, i, n), refreshes(t, i, n), signUps(t, i, n)
	logIn := logIns(t, share(t.PasswordAccounts, i, n), func(a *account) string { return a.Password })
	current := read
	return &script{
		next: func() []byte {
			switch dice := mrand.IntN(100); {
			case dice < 90:
				current = read
			case dice < 95:
				current = refresh
			case dice < 99:
				current = logIn
			default:
				current = signUp
			}
			return current.next()
		},
		took: func(a *answer) error {
			if current.took == nil {
				return nil
			}
			return current.took(a)
		},
	}
}

// post returns a request with a JSON body.
func post(host, path string, body map[string]string) []byte {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings always encode
	}
	return request("POST", host, path, b, "Content-Type: application/json")
}

// prover makes things with DPoP proofs, each of which works once.
type prover struct {
	target *target
	make   func(nonce string) []byte
	nonce  string
	made   [][]byte
}

// prepare makes n, with the nonce that the server wants now.
func (p *prover) prepare(n int) error {
	c, err := dial(p.target.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	a, err := c.ask(request("POST", p.target.Host, tokenEndpoint, []byte{}, "Content-Type: application/x-www-form-urlencoded"))
	if err != nil {
		return err
	}
	if p.nonce = a.nonce; p.nonce == "" {
		return fmt.Errorf("the server gives no nonce (status %d: %s)", a.status, a.content)
	}
	for range n {
		p.made = append(p.made, p.make(p.nonce))
	}
	return nil
}

// next returns one that was prepared, or makes one.
func (p *prover) next() []byte {
	if len(p.made) == 0 {
		return p.make(p.nonce)
	}
	one := p.made[len(p.made)-1]
	p.made = p.made[:len(p.made)-1]
	return one
}
