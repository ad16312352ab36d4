package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// useCase is something that a client asks the server to do.
type useCase struct {
	name string
	// prepare sets up what the use case needs, on a server that works.
	prepare func(w *world)
	act     func(ctx context.Context, w *world) error
	// done returns an error if anything is missing of what the client asked for, and undone if
	// anything isn't as before.
	done, undone func(w *world) error
	// spent are errors that a client may get if it asks again for what has been done.
	spent []error
	// voids is set if another attempt voids the result of the first, even if it fails.
	voids bool
	// veto is a kind of change that a hook refuses until everything else works again.
	veto accounts.Kind
	// background is set if no client asks for it.
	background bool
	// configure changes the server's configuration; nil for no change.
	configure func(*gatehouse.Config)
}

var pairs = flag.Bool("pairs", false, "let TestEveryStepMayFail try every pair of troubles, which takes minutes")

// TestEveryStepMayFail runs each use case once for each of its steps and each trouble of that step:
// the steps of the use case itself, those of a client that tries again at once, and those of the
// recovery. If the process died after a submission, a step of the recovery fails too. Then a server
// is started on the same store. In the end, either all of what was asked for has been done, or
// nothing of it.
func TestEveryStepMayFail(t *testing.T) {
	for _, u := range append(slices.Clip(useCases), recoveries()...) {
		t.Run(u.name, func(t *testing.T) {
			runs := 0
			u.explore(t, false, nil, &runs)
			if u.veto == "" && !u.background { // otherwise no client tries again at once
				u.explore(t, true, nil, &runs)
			}
			t.Logf("%d runs", runs)
		})
	}
}

// explore runs a use case with some faults, and then with each further fault after them.
func (u *useCase) explore(t *testing.T, impatient bool, faults []fault, runs *int) {
	if t.Failed() {
		return // the first failure is enough
	}
	*runs++
	taken := u.run(t, impatient, faults)
	next, troubles := 0, troublesOf
	switch {
	case len(faults) == 2:
		return
	case len(faults) == 1 && faults[0].trouble == isPaused:
		// If the process resumes, publishes what has been undone meanwhile, and then dies, nothing
		// is left that a recovery could find.
		return
	case len(faults) == 1:
		if next = faults[0].step; *pairs {
			break
		}
		if faults[0].trouble != diesAfter || impatient || !slices.Contains(taken, submit) {
			return
		}
		troubles = func(step string) []trouble {
			return slices.DeleteFunc(troublesOf(step), func(t trouble) bool { return t != dies && t != fails && t != loses })
		}
	}
	for i := next; i < len(taken); i++ {
		if taken[i] == "" {
			continue
		}
		for _, trouble := range troubles(taken[i]) {
			u.explore(t, impatient, append(slices.Clip(faults), fault{i + 1, trouble}), runs)
		}
	}
}

// run runs a use case once, and returns the steps that it and the recovery took.
func (u *useCase) run(t *testing.T, impatient bool, faults []fault) []string {
	w := newWorld(t, u, faults)
	defer w.srv.Close()
	problem := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s\n\timpatient: %t; %v", fmt.Sprintf(format, args...), impatient, w.script)
	}
	u.prepare(w)
	w.vetoing = u.veto
	answers := []error{u.act(w.script.in(ctx), w)}
	if impatient && !w.script.dead {
		if u.voids {
			answers = nil
		}
		answers = append(answers, u.act(w.script.in(ctx), w))
	}
	w.restart(6 * time.Minute) // longer than an operation may be on its way
	_ = w.srv.Accounts.RecoverChanges(w.script.in(ctx))
	if w.script.dead {
		w.restart(time.Minute)
	}
	w.clock.Advance(2 * time.Minute)
	err := w.srv.Maintain(ctx)
	if err != nil && u.veto == "" {
		problem("maintenance: %v", err)
	}

	for _, p := range w.problems() {
		problem("after recovery: %s", p)
	}
	missing, changed := u.done(w), u.undone(w)
	for _, answer := range answers {
		switch {
		case answer == nil && missing != nil:
			problem("it was acknowledged, and %v", missing)
		case definite(answer) && changed != nil && !impatient:
			problem("it was refused (%v), and %v", answer, changed)
		}
	}
	if (missing == nil) == (changed == nil) {
		problem("it is half done: to be done, %v; to be undone, %v", missing, changed)
	}

	w.vetoing = ""
	err = u.act(ctx, w)
	if err != nil && (missing != nil || !slices.ContainsFunc(u.spent, func(s error) bool { return errors.Is(err, s) })) {
		problem("once more: %v; before, of what is done, %v, and of what is undone, %v", err, missing, changed)
	}
	if missing := u.done(w); missing != nil {
		problem("once more, and %v", missing)
	}
	for _, p := range w.problems() {
		problem("once more: %s", p)
	}
	return w.script.taken
}

// definite reports whether an answer is a refusal, rather than one that leaves open what has
// happened.
func definite(err error) bool {
	return err != nil && !slices.ContainsFunc([]error{storage.ErrUnavailable, did.ErrUnavailable, mail.ErrDelivery, context.Canceled},
		func(open error) bool { return errors.Is(err, open) })
}

// world is a server with its store, its directory and its mailbox.
type world struct {
	t       *testing.T
	store   storage.Store // without a script
	plc     *did.Local
	plcData storage.Store
	clock   *gatehousetest.Clock
	mail    *mail.Memory
	cfg     gatehouse.Config
	srv     *gatehouse.Server
	script  *script
	vetoing accounts.Kind

	// The following are set by use cases.
	id             syntax.DID
	code, key, old string
	access         string
	refresh        string
	op             *did.Operation
	strays         []syntax.DID // DIDs without an account
}

// newWorld starts a server without background work, so that only the test runs the recovery.
func newWorld(t *testing.T, u *useCase, faults []fault) *world {
	t.Helper()
	w := &world{
		t: t, store: memory.New(), plcData: memory.New(), clock: gatehousetest.NewClock(), mail: mail.NewMemory(),
		script: &script{faults: faults},
	}
	var err error
	w.plc, err = did.NewLocal(ctx, w.plcData, w.clock.Now)
	w.ok(err)
	w.cfg = gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"}, DIDs: gatehouse.DIDs{Directory: scriptedDirectory{w.plc}},
		Passwords: gatehouse.Passwords{Memory: 8, Time: 1}, Limits: gatehouse.Limits{Limiter: ratelimit.Off{}},
		Mail: gatehouse.Mail{Mailer: scriptedMailer{w.mail}}, Logger: slog.New(slog.DiscardHandler), Now: w.clock.Now, NoMaintenance: true,
		Hooks: []accounts.Hook{func(_ context.Context, _ storage.Tx, c accounts.Change) error {
			if c.Kind == w.vetoing {
				return errVeto
			}
			return nil
		}},
	}
	if u.configure != nil {
		u.configure(&w.cfg)
	}
	w.srv = w.start()
	w.script.rival = func(later time.Duration) {
		w.clock.Advance(later)
		rival := w.start()
		defer rival.Close()
		_ = rival.Maintain(ctx)
	}
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v; %v", err, w.script)
	}
}

func (w *world) start() *gatehouse.Server {
	w.t.Helper()
	srv, err := gatehouse.New(context.Background(), scriptedStore{w.store}, w.cfg)
	w.ok(err)
	return srv
}

// restart starts the server anew some time later.
func (w *world) restart(later time.Duration) {
	w.t.Helper()
	w.ok(w.srv.Close())
	w.clock.Advance(later)
	w.script.restart()
	w.srv = w.start()
}

// rows reads a table.
func rows[T any](w *world, store storage.Store, table string) map[string]T {
	w.t.Helper()
	all := map[string]T{}
	w.ok(store.View(ctx, func(tx storage.Tx) error {
		for rec, err := range tx.Scan(table, storage.Range{}) {
			if err != nil {
				return err
			}
			var row T
			if err := json.Unmarshal(rec.Value, &row); err != nil {
				return err
			}
			all[rec.Key] = row
		}
		return nil
	}))
	return all
}

// problems returns what is inconsistent, whatever the use case.
func (w *world) problems() (all []string) {
	w.t.Helper()
	problem := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	broken, err := storage.Check(ctx, w.store, gatehouse.Collections()...)
	w.ok(err)
	for _, p := range broken {
		problem("the store: %v", p)
	}
	if leases := rows[struct{ Holder string }](w, w.store, "leases"); len(leases) != 0 {
		problem("the background work ran by itself: the leases are %v", leases)
	}

	type account struct {
		accounts.Account
		Pending any
	}
	here := rows[account](w, w.store, "accounts")
	keys := map[string]bool{}
	for id, a := range here {
		keys[a.SigningKey] = true
		if a.Pending != nil {
			problem("%s is pending", id)
			continue
		}
		signer, err := w.srv.Accounts.Identity().Signer(ctx, a.DID)
		w.ok(err)
		if public, err := signer.PublicKey(); err != nil || public.DIDKey() != a.SigningKey {
			problem("%s signs with %v, %v; its key is %s", id, public, err, a.SigningKey)
		}
		if a.DeactivatedAt != nil {
			continue // its DID doesn't name this server yet
		}
		if a.DID.Method() != "plc" {
			continue // the server itself serves its document
		}
		data := w.published(a.DID)
		if data.Handle() != a.Handle.String() || data.VerificationMethods[did.AtprotoKey] != a.SigningKey || data.Services[did.AtprotoPDS].Endpoint != w.srv.Accounts.PublicURL() {
			problem("%s has the handle %s and the key %s, and its DID is %+v", id, a.Handle, a.SigningKey, data)
		}
	}
	for id := range rows[any](w, w.plcData, "plc_directory") {
		_, known := here[id]
		known = known || slices.Contains(append(w.strays, w.script.undead...), syntax.DID(id))
		if _, err := (&did.Registrar{Directory: w.plc}).Data(ctx, syntax.DID(id)); !known && !errors.Is(err, did.ErrTombstoned) {
			problem("the DID %s has no account", id)
		}
	}

	if left := rows[any](w, w.store, "did_changes"); len(left) > 0 {
		problem("changes that are still under way: %v", left)
	}
	for key := range rows[any](w, w.store, "reserved_keys") {
		if keys[key] {
			problem("the key of an account is still reserved: %s", key)
		}
	}
	for _, table := range []string{"sessions", "email_codes", "app_passwords"} {
		for key, row := range rows[struct{ DID string }](w, w.store, table) {
			if _, ok := here[row.DID]; !ok {
				problem("left in %s of an account that doesn't exist: %s", table, key)
			}
		}
	}
	used := map[string]int{}
	for _, use := range rows[struct{ Code, UsedBy string }](w, w.store, "invite_uses") {
		used[use.Code]++
		if _, ok := here[use.UsedBy]; !ok {
			problem("the code %s was used by %s, which doesn't exist", use.Code, use.UsedBy)
		}
	}
	for code, row := range rows[struct{ Used int }](w, w.store, "invite_codes") {
		if row.Used != used[code] {
			problem("the code %s has %d uses, and %d in the list", code, row.Used, used[code])
		}
	}
	return all
}

// published returns what the directory has for a DID.
func (w *world) published(id syntax.DID) *did.Data {
	w.t.Helper()
	data, err := (&did.Registrar{Directory: w.plc}).Data(ctx, id)
	w.ok(err)
	return data
}

// account returns the account of an identifier, or nil.
func (w *world) account(identifier string) *accounts.Account {
	w.t.Helper()
	a, err := w.srv.Accounts.Find(ctx, identifier)
	if errors.Is(err, accounts.ErrNotFound) {
		return nil
	}
	w.ok(err)
	return a
}

// mailed returns the code of the last e-mail to an address.
func (w *world) mailed(to string) string {
	w.t.Helper()
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := w.mail.TakeCode(waiting, to)
	w.ok(err)
	return m.Code
}
