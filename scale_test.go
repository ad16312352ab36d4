package gatehouse_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// populated is a server whose reads are counted, with a clock that is moved by hand.
type populated struct {
	*gatehouse.Server
	t       *testing.T
	counted *domaintest.Counted
	days    atomic.Int64
}

func newPopulated(t *testing.T) *populated {
	t.Helper()
	p := &populated{t: t, counted: domaintest.Count(memory.New())}
	t.Cleanup(func() { p.counted.Close() })
	start := time.Now()
	var err error
	p.Server, err = gatehouse.New(t.Context(), p.counted, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, NoMaintenance: true, Logger: slog.New(slog.DiscardHandler),
		Passwords: gatehouse.Passwords{Memory: 8, Time: 1, Threads: 1}, Mail: gatehouse.Mail{Mailer: mail.NewMemory()},
		Now: func() time.Time { return start.AddDate(0, 0, int(p.days.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *populated) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// settle makes accounts with numbers, and something of each kind that is kept for them.
func (p *populated) settle(from, to int) {
	p.t.Helper()
	ctx := context.Background()
	for i := from; i < to; i++ {
		name := fmt.Sprint("user", i)
		tokens, err := p.SignIn.SignUp(ctx, accounts.CreateParams{Handle: name + ".test", Email: name + "@example.com", Password: "password"})
		p.must(err)
		id := tokens.Account.DID
		_, _, err = p.AppPasswords.Create(ctx, id, "phone", false)
		p.must(err)
		_, err = p.Invites.Create(ctx, 2, 1, id.String())
		p.must(err)
		_, err = p.Accounts.Identity().ReserveSigningKey(ctx, id)
		p.must(err)
		_, err = p.Accounts.Identity().ReserveSigningKey(ctx, syntax.DID("did:web:"+name+".example.org"))
		p.must(err)
		p.must(p.Accounts.Emails().RequestConfirmation(ctx, id))
		p.must(p.Accounts.RequestDelete(ctx, id))
		p.must(p.Accounts.Identity().UpdateHandle(ctx, id, "x"+name+".test", false))
		later := time.Now().AddDate(1, 0, 0)
		switch i % 4 {
		case 0:
			p.must(p.Accounts.Deactivate(ctx, id, &later))
		case 1:
			p.must(p.Accounts.TakeDown(ctx, id, "spam"))
			p.must(p.Accounts.DeleteNow(ctx, id))
		}
	}
}

// round does a round of background work, and returns what it has read.
func (p *populated) round() map[string]int {
	p.t.Helper()
	p.counted.Reset()
	p.must(p.Maintain(context.Background()))
	return p.counted.AllReads()
}

// TestARoundReadsNothingThatStays: background work costs the same however many accounts there are,
// and once what has expired is gone.
func TestARoundReadsNothingThatStays(t *testing.T) {
	p := newPopulated(t)
	p.settle(0, 12)
	p.round()
	few := p.round()
	p.settle(12, 60)
	p.round()
	if many := p.round(); !maps.Equal(few, many) {
		t.Errorf("a round reads %v with 12 accounts, and %v with 60", few, many)
	}
	p.days.Store(200)
	p.round()
	if later := p.round(); !maps.Equal(few, later) {
		t.Errorf("a round reads %v with 12 accounts, and %v once what those of 60 had has expired", few, later)
	}
}

// TestARoundReadsPageByPage: what has expired in large numbers isn't read in one transaction.
func TestARoundReadsPageByPage(t *testing.T) {
	p := newPopulated(t)
	ctx := context.Background()
	for i := range 8 {
		name := fmt.Sprint("user", i)
		a, err := p.Accounts.Create(ctx, accounts.CreateParams{Handle: name + ".test", Email: name + "@example.com", Password: "password"})
		p.must(err)
		for range 200 {
			_, err := p.Sessions.Start(ctx, a.DID, sessions.Grant{Method: "password"})
			p.must(err)
		}
	}
	p.days.Store(100)
	if n := p.round()["sessions"]; n < 1600 || n > 2000 || p.counted.Most() > 500 {
		t.Errorf("%d sessions were read, %d in one transaction; want 1600, and 500 at most", n, p.counted.Most())
	}
	if n := p.round()["sessions"]; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
