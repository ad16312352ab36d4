package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The steps of a use case that can fail: its transactions, its calls of the directory, and its
// e-mails.
const (
	view   = "View"
	update = "Update"
	log    = "Log"
	submit = "Submit"
	send   = "Send"
)

// trouble is what can go wrong with a step.
type trouble string

const (
	dies       trouble = "the process dies before it"
	diesAfter  trouble = "the process dies after it"
	fails      trouble = "it fails once"
	loses      trouble = "its answer is lost"
	gone       trouble = "the store, directory or relay fails from then on"
	goneAfter  trouble = "it succeeds, and the store, directory or relay fails from then on"
	refuses    trouble = "the directory refuses it"
	hangsUp    trouble = "the client hangs up before it"
	isRivalled trouble = "the process is suspended before it for two minutes, and another recovers what it finds"
	isPaused   trouble = "the process is suspended before it for six minutes, and another recovers what it finds"
)

// troublesOf returns the troubles that make a difference for a step. For a step that only reads, a
// lost answer is the same as a failure, and what another process does before it could just as well
// happen before the next step.
func troublesOf(step string) []trouble {
	all := []trouble{dies, fails, hangsUp}
	switch step {
	case log:
		all = append(all, gone)
	case submit:
		all = append(all, gone, isRivalled, isPaused, diesAfter, loses, goneAfter, refuses)
	case send:
		all = append(all, diesAfter, loses)
	case update:
		all = append(all, gone, isRivalled, isPaused, diesAfter, loses, goneAfter)
	}
	return all
}

// fault is the trouble of one step.
type fault struct {
	step    int // counted from 1
	trouble trouble
}

// script says which steps go wrong and how, and records all steps. It applies to calls whose
// context carries it, but not to the background work of a server.
type script struct {
	faults []fault
	// submission says which submissions to the directory go wrong and how, counted from 1.
	submission map[int]trouble
	submitted  int
	taken      []string     // the steps; "" for one after the process died, or while what it calls fails
	undead     []syntax.DID // the DIDs whose tombstones were refused
	dead       bool
	lost       error // the error of what fails from now on
	hangUp     func()
	rival      func(time.Duration)
}

type scriptKey struct{}

func (s *script) in(ctx context.Context) context.Context {
	ctx, s.hangUp = context.WithCancel(context.WithValue(ctx, scriptKey{}, s))
	return ctx
}

// restart resets what doesn't survive a restart.
func (s *script) restart() { s.dead, s.lost = false, nil }

func (s *script) String() string {
	var b strings.Builder
	for i, step := range s.taken {
		if step == "" {
			step = "-"
		}
		fmt.Fprintf(&b, " %d %s", i+1, step)
		if f := s.fault(i + 1); f != "" {
			fmt.Fprintf(&b, " (%s)", f)
		}
		b.WriteByte(';')
	}
	return strings.TrimSpace(b.String())
}

func (s *script) fault(step int) trouble {
	if i := slices.IndexFunc(s.faults, func(f fault) bool { return f.step == step }); i >= 0 {
		return s.faults[i].trouble
	}
	return ""
}

var (
	errStore     = fmt.Errorf("%w: in this test", storage.ErrUnavailable)
	errDirectory = fmt.Errorf("%w: in this test", did.ErrUnavailable)
)

// take runs a step according to the script of the context.
func take(ctx context.Context, step string, do func() error) error {
	s, ok := ctx.Value(scriptKey{}).(*script)
	if !ok {
		return do()
	}
	unavailable := map[string]error{
		view: errStore, update: errStore, log: errDirectory, submit: errDirectory, send: mail.ErrDelivery,
	}[step]
	if s.dead || s.lost == unavailable {
		s.taken = append(s.taken, "")
		return unavailable
	}
	s.taken = append(s.taken, step)
	trouble := s.fault(len(s.taken))
	if step == submit {
		s.submitted++
		if t := s.submission[s.submitted]; t != "" {
			trouble = t
		}
	}
	switch trouble {
	case dies, diesAfter:
		s.dead = true
	case gone, goneAfter:
		s.lost = unavailable
	case hangsUp:
		s.hangUp()
	case isRivalled:
		s.rival(2 * time.Minute)
	case isPaused:
		s.rival(6 * time.Minute)
	}
	switch trouble {
	case dies, fails, gone:
		return unavailable
	case refuses:
		return fmt.Errorf("%w: in this test", did.ErrRefused)
	case diesAfter, loses, goneAfter:
		_ = do()
		return unavailable
	}
	return do()
}

// scriptedStore, scriptedDirectory and scriptedMailer follow the scripts of contexts.
type scriptedStore struct{ storage.Store }

func (s scriptedStore) View(ctx context.Context, fn func(storage.Tx) error) error {
	return take(ctx, view, func() error { return s.Store.View(ctx, fn) })
}

func (s scriptedStore) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return take(ctx, update, func() error { return s.Store.Update(ctx, fn) })
}

type scriptedDirectory struct{ did.Directory }

func (d scriptedDirectory) Submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	err := take(ctx, submit, func() error { return d.Directory.Submit(ctx, id, op) })
	if s, ok := ctx.Value(scriptKey{}).(*script); ok && op.Type == did.TypeTombstone && errors.Is(err, did.ErrRefused) {
		s.undead = append(s.undead, id)
	}
	return err
}

func (d scriptedDirectory) Log(ctx context.Context, id syntax.DID) (ops []*did.Operation, err error) {
	err = take(ctx, log, func() (err error) {
		ops, err = d.Directory.Log(ctx, id)
		return err
	})
	return ops, err
}

type scriptedMailer struct{ mail.Mailer }

func (m scriptedMailer) Send(ctx context.Context, msg mail.Message) error {
	return take(ctx, send, func() error { return m.Mailer.Send(ctx, msg) })
}
