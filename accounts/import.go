package accounts

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Import is an account of another server, for [Service.Import]. DID and Handle are required.
type Import struct {
	DID    syntax.DID
	Handle string
	// Email may be empty. An address that others could have confirmed by now must be given as the
	// other server has it: whoever reads its mail can reset the password.
	Email string
	// EmailConfirmedAt is when the address was confirmed; nil if it wasn't.
	EmailConfirmedAt *time.Time
	// PasswordHash is an encoded hash that the [PasswordHasher] can verify: argon2id as a PHC string,
	// or the scrypt form of the reference server. An account without one has no password until its
	// owner resets it.
	PasswordHash string
	// CreatedAt is when the account was created on the other server. Default: now.
	CreatedAt time.Time
	// DeactivatedAt and Takedown are the status of the account; nil if it is active. Takedown.At is now
	// if it is zero. If this server remembers a takedown of the DID, that one stays.
	DeactivatedAt *time.Time
	Takedown      *Takedown
	// SigningKey is the account's private signing key. The key store has to be a [keys.Importer].
	// Without one the account gets the key that was reserved for its DID, or a new one, and the DID
	// has to be changed to it.
	SigningKey atcrypto.PrivateKeyExportable
}

// Imported is what became of one account in [Service.Import].
type Imported struct {
	DID syntax.DID
	// Account is the account as it is stored; nil if it was refused.
	Account *Account
	// Existed is set if the account was there already, so that nothing was written.
	Existed bool
	// Refused is why the account was refused; nil if it wasn't. Errors: [ErrExists],
	// [ErrInvalidRequest], [ErrInvalidEmail], [ErrEmailTaken], [handle.ErrInvalid],
	// [handle.ErrNotAvailable], and those of the hooks and of the key store.
	Refused error
}

// ErrExists is returned when an account is imported whose DID has an account here already, with
// another handle, e-mail address, password or signing key, or a sign-up that is under way. Clients
// are answered 400 InvalidRequest.
var ErrExists = fmt.Errorf("%w: the DID has an account", ErrInvalidRequest)

// importPage is how many accounts are imported in one transaction.
const importPage = 1000

// Import creates accounts that exist on another server, with the hashes of their passwords, for an
// operator who moves that server's accounts here. It returns what became of each, in the order of
// the list. An account that is refused doesn't stop the others.
//
// The list is imported in pages of up to 1000 accounts, each of which is one transaction. If Import
// returns an error, such as [storage.ErrUnavailable], the results are those of the pages before, and
// the list can be imported again: an account that is there already with the same handle, e-mail
// address, hash, time of creation and signing key is reported as Existed. No account that exists is
// ever changed.
//
// The hooks run as for a sign-up, and may refuse an account. What decides about sign-ups otherwise
// doesn't apply: SignUp and CheckSignUp of the [Config], the [Gate], the policies, reserved handles,
// and the length of handles. A handle that is held for another account stays held.
//
// Import publishes nothing in the DIDs and e-mails nobody. For the accounts to be usable on the
// network, each DID has to name this server and the account's signing key: see [Identity.Check] and
// [Service.Activate]. Sessions and app passwords don't move: people log in again.
func (s *Service) Import(ctx context.Context, list []Import) ([]Imported, error) {
	preparing, cancel := context.WithCancel(ctx)
	ahead := make(chan preparedPage) // one page is prepared while another is stored
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(ahead)
		for page := range slices.Chunk(list, importPage) {
			p := s.preparePage(preparing, page)
			select {
			case ahead <- p:
			case <-preparing.Done():
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	results := make([]Imported, 0, len(list))
	for p := range ahead {
		if p.err != nil {
			return results, p.err
		}
		done, err := s.admitPage(ctx, p.newcomers)
		if err != nil {
			return results, err
		}
		results = append(results, done...)
	}
	return results, ctx.Err()
}

// preparedPage is a page of accounts before its transaction.
type preparedPage struct {
	newcomers []newcomer
	err       error
}

// newcomer is an account that is about to be imported.
type newcomer struct {
	*Import
	record  record // as it is to be stored
	refused error  // before the transaction
}

// preparePage does what can be done before the transaction of a page.
func (s *Service) preparePage(ctx context.Context, page []Import) preparedPage {
	old, err := s.residents(ctx, page)
	if err != nil {
		return preparedPage{err: err}
	}
	newcomers := make([]newcomer, len(page))
	parallel(len(page), func(i int) {
		n := &newcomers[i]
		n.Import = &page[i]
		n.refused = s.prepareImport(ctx, n, old)
	})
	return preparedPage{newcomers, ctx.Err()}
}

// admitPage stores a page in one transaction. If a hook refuses an account, or somebody else has just
// taken a handle or an address, it takes one transaction for each, to find out which it is.
func (s *Service) admitPage(ctx context.Context, newcomers []newcomer) ([]Imported, error) {
	results, err := s.admit(ctx, newcomers)
	if !refusedByAny(ctx, err) {
		return results, err
	}
	results = make([]Imported, 0, len(newcomers))
	for i := range newcomers {
		one, err := s.admit(ctx, newcomers[i:i+1])
		switch {
		case refusedByAny(ctx, err):
			one = []Imported{{DID: newcomers[i].DID, Refused: err}}
		case err != nil:
			return nil, err
		}
		results = append(results, one...)
	}
	return results, nil
}

// refusedByAny reports whether the error of a transaction is about one of its accounts, and not
// about the store.
func refusedByAny(ctx context.Context, err error) bool { return err != nil && !outage(ctx, err) }

// parallel calls f for each number below n, on all processors.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

// residents are what is known here of the DIDs of a page.
type residents struct {
	accounts map[syntax.DID]bool     // that exist
	reserved map[syntax.DID]keys.Key // signing keys for others
}

// residents finds out for which DIDs no signing key has to be made. Making one takes longer than
// everything else.
func (s *Service) residents(ctx context.Context, page []Import) (*residents, error) {
	var ids []syntax.DID
	var refs []storage.Ref
	for _, in := range page {
		if storage.ValidKey(in.DID.String()) == nil {
			ids = append(ids, in.DID)
			refs = append(refs, Ref(in.DID), reservedTable.RefBy("did", in.DID.String()))
		}
	}
	var known *residents
	err := s.store.View(ctx, func(tx storage.Tx) error {
		known = &residents{map[syntax.DID]bool{}, map[syntax.DID]keys.Key{}}
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		for _, id := range ids {
			switch _, err := accountsTable.Get(tx, id.String()); {
			case err == nil:
				known.accounts[id] = true
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
			switch k, err := reservedTable.GetBy(tx, "did", id.String()); {
			case err == nil:
				known.reserved[id] = keys.Key{Public: k.Public, Sealed: k.Sealed}
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		return nil
	})
	return known, err
}

// prepareImport checks an account by itself, and makes the record that is to be stored.
func (s *Service) prepareImport(ctx context.Context, n *newcomer, old *residents) error {
	if err := s.checkImportedDID(n.DID); err != nil {
		return err
	}
	h, err := s.handles.CheckImported(n.Handle)
	if err != nil {
		return err
	}
	r := record{Account: Account{DID: n.DID, Handle: h, CreatedAt: s.now()}}
	if n.Email != "" {
		if r.Email, err = NormalizeEmail(n.Email); err != nil {
			return err
		}
	}
	if s.setHash(&r, n.PasswordHash); r.PasswordHash != "" && r.HashWork == 0 {
		return refusal.New(ErrInvalidRequest, "The password hash is of an unknown form, or costs too much to verify")
	}
	if err := n.times(&r, s.now()); err != nil {
		return err
	}
	key, err := s.importedKey(ctx, n, old)
	if err != nil {
		return err
	}
	r.SigningKey, r.SealedKey = key.Public, key.Sealed
	n.record = r
	return nil
}

// checkImportedDID refuses a malformed DID, and that of the server itself.
func (s *Service) checkImportedDID(id syntax.DID) error {
	if _, err := syntax.ParseDID(id.String()); err != nil || storage.ValidKey(id.String()) != nil {
		return refusal.New(ErrInvalidRequest, "The DID is malformed or too long")
	}
	if id.Method() != "web" {
		return nil
	}
	host, _, _ := strings.Cut(strings.ToLower(id.Identifier()), "%3a") // a port may follow
	if s.handles.HostKind(host) == handle.OwnHost {
		return refusal.New(ErrInvalidRequest, "The DID is that of this server")
	}
	return nil
}

// times fills in the times of a record, and the status that consists of them.
func (in *Import) times(r *record, now time.Time) error {
	if !in.CreatedAt.IsZero() {
		r.CreatedAt = stored(in.CreatedAt)
	}
	all := []time.Time{r.CreatedAt}
	if in.EmailConfirmedAt != nil && r.Email != "" {
		r.EmailConfirmedAt = new(stored(*in.EmailConfirmedAt))
		all = append(all, *r.EmailConfirmedAt)
	}
	if in.DeactivatedAt != nil {
		r.DeactivatedAt = new(stored(*in.DeactivatedAt))
		all = append(all, *r.DeactivatedAt)
	}
	if in.Takedown != nil {
		at := in.Takedown.At
		if at.IsZero() {
			at = now
		}
		r.Takedown = &Takedown{Ref: storage.Text(in.Takedown.Ref), At: stored(at)}
		all = append(all, r.Takedown.At)
	}
	for _, t := range all {
		if y := t.Year(); y < 0 || y > 9999 { // a year has four digits in JSON and in the index
			return refusal.New(ErrInvalidRequest, "A time is outside the years 0 to 9999")
		}
	}
	return nil
}

// stored returns a time as documents contain it.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// importedKey returns the signing key of an account: the one that is given, the one that is reserved
// for its DID, or a new one. An account that exists needs none unless one is given.
func (s *Service) importedKey(ctx context.Context, n *newcomer, old *residents) (keys.Key, error) {
	if n.SigningKey == nil {
		if key, ok := old.reserved[n.DID]; ok || old.accounts[n.DID] {
			return key, nil
		}
		return s.cfg.Keys.Generate(ctx)
	}
	importer, ok := s.cfg.Keys.(keys.Importer)
	if !ok {
		return keys.Key{}, refusal.New(ErrInvalidRequest, "The key store takes no signing keys from elsewhere")
	}
	return importer.Import(ctx, n.SigningKey)
}

// admit stores newcomers in one transaction. It refuses those that are in the way of an account that
// exists, or of an earlier one of the list. An error undoes all of them.
func (s *Service) admit(ctx context.Context, newcomers []newcomer) ([]Imported, error) {
	var refs []storage.Ref
	for _, n := range newcomers {
		if n.refused == nil {
			refs = append(refs, s.importRefs(&n.record)...)
		}
	}
	var results []Imported
	err := s.update(ctx, func(tx storage.Tx) error {
		results = make([]Imported, 0, len(newcomers))
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		for i := range newcomers {
			one, err := s.admitOne(ctx, tx, &newcomers[i])
			if err != nil {
				return err
			}
			results = append(results, one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.forgetMaxWork()
	return results, nil
}

// importRefs names the documents that admitOne reads.
func (s *Service) importRefs(r *record) []storage.Ref {
	refs := append(s.handles.ImportedRefs(r.Handle), Ref(r.DID), formerTable.Ref(r.DID.String()))
	if r.Email != "" {
		refs = append(refs, accountsTable.RefBy("email", r.Email))
	}
	return refs
}

// admitOne stores a newcomer, unless that is refused.
func (s *Service) admitOne(ctx context.Context, tx storage.Tx, n *newcomer) (Imported, error) {
	result := Imported{DID: n.DID, Refused: n.refused}
	if n.refused != nil {
		return result, nil
	}
	switch present, err := accountsTable.Get(tx, n.DID.String()); {
	case err == nil && n.isThere(present):
		result.Account, result.Existed = &present.Account, true
		return result, nil
	case err == nil:
		result.Refused = refusal.Newf(ErrExists, "Account already exists: %s", n.DID)
		return result, nil
	case !errors.Is(err, storage.ErrNotFound):
		return result, err
	}
	r := n.record // a copy: the transaction may run again
	if r.SigningKey == "" {
		result.Refused = refusal.New(ErrInvalidRequest, "The account was deleted here during the import")
		return result, nil
	}
	var err error
	if result.Refused, err = s.inTheWay(tx, &r); result.Refused != nil || err != nil {
		return result, err
	}
	result.Account = &r.Account
	return result, s.settle(ctx, tx, &r)
}

// isThere reports whether the account that its DID has here is the newcomer.
func (n *newcomer) isThere(r *record) bool {
	return r.Pending == nil && r.Handle == n.record.Handle && r.Email == n.record.Email &&
		r.PasswordHash == n.PasswordHash &&
		(n.CreatedAt.IsZero() || r.CreatedAt.Equal(n.record.CreatedAt)) &&
		(n.SigningKey == nil || r.SigningKey == n.record.SigningKey)
}

// inTheWay refuses a handle or an address that another account has.
func (s *Service) inTheWay(tx storage.Tx, r *record) (refused, err error) {
	err = s.handles.CheckImportedFree(tx, r.Handle, r.DID)
	if errors.Is(err, handle.ErrNotAvailable) {
		return err, nil
	}
	if err != nil || r.Email == "" {
		return nil, err
	}
	switch _, err := accountsTable.GetBy(tx, "email", r.Email); {
	case err == nil:
		return refusal.Newf(ErrEmailTaken, "Email already taken: %s", r.Email), nil
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	return nil, nil
}

// settle stores a newcomer whom nothing is in the way of, and runs the hooks.
func (s *Service) settle(ctx context.Context, tx storage.Tx, r *record) error {
	given := r.Takedown
	if err := s.comeBack(tx, r); err != nil {
		return err
	}
	if r.Takedown == nil {
		r.Takedown = given
	}
	if err := s.handles.EndHold(tx, r.Handle); err != nil {
		return err
	}
	if err := reservedTable.Delete(tx, r.SigningKey); err != nil {
		return err
	}
	if err := put(tx, r); err != nil {
		return err
	}
	for _, kind := range []Kind{Creating, Created} {
		if err := s.runHooks(ctx, tx, Change{Kind: kind, Account: &r.Account}); err != nil {
			return err
		}
	}
	return nil
}
