package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// mailerFunc is a mailer made from a function.
type mailerFunc func(context.Context, Message) error

func (f mailerFunc) Send(ctx context.Context, m Message) error { return f(ctx, m) }

// stuck is a mailer that delivers nothing until letGo is closed, and honors contexts.
type stuck struct {
	Memory   *Memory
	underWay atomic.Int32
	letGo    chan struct{}
}

func newStuck() *stuck { return &stuck{Memory: NewMemory(), letGo: make(chan struct{})} }

func (s *stuck) Send(ctx context.Context, m Message) error {
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	select {
	case <-s.letGo:
		return s.Memory.Send(ctx, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// texts returns the texts of the messages that were delivered.
func (s *stuck) texts() []string {
	var texts []string
	for _, m := range s.Memory.Messages() {
		texts = append(texts, m.Text)
	}
	return texts
}

// journal is a log that can be written and read concurrently.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(strings.Split(j.buf.String(), "\n"), func(s string) bool { return s == "" })
}

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := j.lines(); !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// post gives a queue a job that sends a message, and logs a failure.
func post(q *Queue, m Message) (accepted bool) {
	return q.Do(m.Kind, func(ctx context.Context) {
		if err := q.Send(ctx, m); err != nil {
			q.cfg.Logger.ErrorContext(ctx, "e-mail not delivered", "kind", m.Kind, "error", err)
		}
	})
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestQueueDelivers(t *testing.T) {
	mails := NewMemory()
	q := NewQueue(QueueConfig{Mailer: mails})
	var _ Mailer = q
	if err := q.Send(t.Context(), Message{Kind: SignIn, To: "a@example.org", Code: "1"}); err != nil {
		t.Error(err)
	}
	if got := mails.Of(SignIn, "a@example.org"); len(got) != 1 || got[0].Code != "1" {
		t.Errorf("when Send returns: %v", got)
	}
	if !post(q, Message{Kind: KeysChanged, To: "b@example.org"}) {
		t.Error("not taken")
	}
	if !q.Do(ResetPassword, func(ctx context.Context) {
		if err := q.Send(ctx, Message{Kind: ResetPassword, To: "c@example.org", Code: "2"}); err != nil {
			t.Error(err)
		}
	}) {
		t.Error("not taken")
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(mails.Of(KeysChanged, "b@example.org")) != 1 || len(mails.Of(ResetPassword, "c@example.org")) != 1 {
		t.Errorf("after Close: %v", mails.Messages())
	}
}

// TestQueueHasNoGoroutinesWhileIdle relies on synctest, which fails the test if some are left when
// it ends.
func TestQueueHasNoGoroutinesWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mails := NewMemory()
		q := NewQueue(QueueConfig{Mailer: mails})
		for i := range 20 {
			if !post(q, Message{Text: fmt.Sprint(i)}) {
				t.Error("not taken")
			}
		}
		if err := q.Send(t.Context(), Message{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(mails.Messages()); n != 21 || q.senders != 0 {
			t.Errorf("%d messages, and %d senders", n, q.senders)
		}
	})
}

// TestQueueUnderAFlood gives the queue a thousand messages while the mail server hangs: no caller
// waits, as many messages wait as the queue may hold, the others are dropped, and the log reports
// that without being flooded itself.
func TestQueueUnderAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		mailer := newStuck()
		q := NewQueue(QueueConfig{Mailer: mailer, Logger: log.logger()})
		began := time.Now()
		for i := range 1000 {
			if taken := post(q, Message{Kind: KeysChanged, To: "alice@example.org", Text: fmt.Sprint(i)}); taken != (i < 8+256) {
				t.Errorf("message %d: taken %t", i, taken)
			}
		}
		synctest.Wait()
		if n := mailer.underWay.Load(); n != 8 {
			t.Errorf("%d deliveries at the same time", n)
		}
		if !time.Now().Equal(began) {
			t.Errorf("posting took %v", time.Since(began))
		}
		line := `level=WARN msg="e-mail dropped, since too many are waiting" kind=keys_changed dropped=`
		log.expect(t, line+"1", line+"10", line+"100")

		close(mailer.letGo)
		synctest.Wait()
		if n := len(mailer.texts()); n != 8+256 {
			t.Errorf("%d were delivered", n)
		}
		log.expect(t, line+"1", line+"10", line+"100", `level=WARN msg="no e-mails are waiting any more" dropped=736`)
		if !post(q, Message{}) {
			t.Error("the queue has not recovered")
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestQueueLinesTakeTurns floods the queue with jobs, as strangers can by requesting password
// resets. Messages that somebody waits for, and notices, are sent in between.
func TestQueueLinesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailer := newStuck()
		q := NewQueue(QueueConfig{Mailer: mailer, Senders: 1, Size: 5, Timeout: time.Hour, Logger: quiet})
		for i := range 10 {
			taken := q.Do(ResetPassword, func(ctx context.Context) {
				if err := q.Send(ctx, Message{Text: fmt.Sprint("job ", i)}); err != nil {
					t.Error(err)
				}
			})
			if taken != (i < 1+5) {
				t.Errorf("job %d: taken %t", i, taken)
			}
		}
		for i := range 2 {
			go func() {
				if err := q.Send(t.Context(), Message{Text: fmt.Sprint("code ", i)}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			if !post(q, Message{Text: fmt.Sprint("notice ", i)}) {
				t.Errorf("notice %d was dropped", i)
			}
		}
		close(mailer.letGo)
		synctest.Wait()
		want := []string{"job 0", "code 0", "notice 0", "job 1", "code 1", "notice 1", "job 2", "job 3", "job 4", "job 5"}
		if got := mailer.texts(); !slices.Equal(got, want) {
			t.Errorf("%q; want %q", got, want)
		}
	})
}

func TestSendFailsWhenTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		mailer := newStuck()
		q := NewQueue(QueueConfig{Mailer: mailer, Senders: 2, Size: 3, Timeout: time.Hour, Logger: log.logger()})
		for range 2 + 3 {
			go func() {
				if err := q.Send(t.Context(), testMessage); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		if err := q.Send(t.Context(), Message{Kind: SignIn}); !errors.Is(err, ErrBusy) || !errors.Is(err, ErrDelivery) {
			t.Errorf("beyond the bound: %v", err)
		}
		if !time.Now().Equal(began) {
			t.Errorf("it took %v", time.Since(began))
		}
		log.expect(t, `level=WARN msg="e-mail dropped, since too many are waiting" kind=sign_in dropped=1`)
		close(mailer.letGo)
		synctest.Wait()
		if n := len(mailer.texts()); n != 5 {
			t.Errorf("%d were delivered", n)
		}
		if err := q.Send(t.Context(), testMessage); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

func TestSendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailer := newStuck()
		deaf := mailerFunc(func(_ context.Context, m Message) error { return mailer.Send(context.Background(), m) })
		q := NewQueue(QueueConfig{Mailer: deaf, Senders: 1, Size: 1, Timeout: time.Hour})
		if err := q.Send(ended(t), testMessage); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrDelivery) {
			t.Errorf("before it began: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.Send(ctx, Message{Text: "under way"}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrDelivery) {
			t.Errorf("while a mailer doesn't heed it: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.Send(ctx, Message{Text: "waiting"}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrDelivery) {
			t.Errorf("while it waits: %v", err)
		}
		// Its place is free again.
		go func() {
			if err := q.Send(t.Context(), Message{Text: "next"}); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		close(mailer.letGo)
		synctest.Wait()
		if got := mailer.texts(); !slices.Equal(got, []string{"under way", "next"}) {
			t.Errorf("delivered: %q", got)
		}
	})
}

func TestQueueBoundsDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		q := NewQueue(QueueConfig{Mailer: newStuck(), Timeout: 3 * time.Second, Logger: log.logger()})
		began := time.Now()
		if err := q.Send(t.Context(), testMessage); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrDelivery) {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Send took %v", took)
		}
		log.expect(t) // the caller knows, and says it
		post(q, Message{Kind: KeysChanged})
		q.Do(ResetPassword, func(ctx context.Context) {
			began := time.Now()
			<-ctx.Done()
			if took := time.Since(began); took != 6*time.Second {
				t.Errorf("a job had %v", took)
			}
		})
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
		log.expect(t, `level=ERROR msg="e-mail not delivered" kind=keys_changed error="mail: not delivered: context deadline exceeded"`)
	})
}

// TestJobsDontWaitForSenders occupies all senders with jobs that send messages. They would wait for
// each other forever if each needed another sender.
func TestJobsDontWaitForSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mails := NewMemory()
		q := NewQueue(QueueConfig{Mailer: mails, Senders: 2})
		started := make(chan struct{})
		for range 2 {
			q.Do(ResetPassword, func(ctx context.Context) {
				<-started
				if err := q.Send(ctx, testMessage); err != nil {
					t.Error(err)
				}
			})
		}
		// Another queue has senders of its own.
		other := NewQueue(QueueConfig{Mailer: mails})
		other.Do(ResetPassword, func(ctx context.Context) {
			<-started
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := q.Send(ctx, testMessage); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(started)
		synctest.Wait()
		if n := len(mails.Messages()); n != 3 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestQueueLogsNoAddressCodeOrText(t *testing.T) {
	secret := Message{
		Kind: SignIn, To: "alice@example.org", Subject: "Your code", Text: "Type\nABCDE-FGHIJ\n", HTML: "<p>ABCDE-FGHIJ</p>", Code: "ABCDE-FGHIJ",
	}
	cause := errors.New("550 <Alice@Example.org> doesn't want abcde-fghij")
	for name, c := range map[string]struct {
		mailer mailerFunc
		want   string
	}{
		"a refusal": {
			func(context.Context, Message) error { return cause },
			`error="mail: not delivered: 550 <…> doesn't want …"`,
		},
		"a delivery error": {
			func(context.Context, Message) error { return fmt.Errorf("%w: %w", ErrDelivery, cause) },
			`error="mail: not delivered: 550 <…> doesn't want …"`,
		},
		"a panic with the message": {
			func(_ context.Context, m Message) error { panic(m) },
			"panic=mail.Message",
		},
		"a mistake": {
			func(context.Context, Message) error { var m *Memory; m.Fail(nil); return nil },
			"nil pointer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			q := NewQueue(QueueConfig{Mailer: c.mailer, Logger: log.logger()})
			err := q.Send(t.Context(), secret)
			if !errors.Is(err, ErrDelivery) || strings.Contains(strings.ToLower(err.Error()), "alice@") {
				t.Errorf("Send: %v", err)
			}
			if strings.Contains(c.want, "error=") && !errors.Is(err, cause) {
				t.Errorf("Send hides the cause: %v", err)
			}
			post(q, secret)
			q.Do(SignIn, func(ctx context.Context) { _ = c.mailer(ctx, secret) })
			if err := q.Close(t.Context()); err != nil {
				t.Error(err)
			}
			all := strings.Join(log.lines(), "\n")
			for _, part := range []string{c.want, "level=ERROR", "kind=sign_in"} {
				if !strings.Contains(all, part) {
					t.Errorf("no %q in\n%s", part, all)
				}
			}
			for _, part := range []string{"alice@", "abcde", "fghij"} {
				if strings.Contains(strings.ToLower(all), part) {
					t.Errorf("%q in\n%s", part, all)
				}
			}
		})
	}
}

func TestPanicsDontCrash(t *testing.T) {
	mails := NewMemory()
	q := NewQueue(QueueConfig{Senders: 1, Logger: quiet, Mailer: mailerFunc(func(ctx context.Context, m Message) error {
		if m.Text == "panic" {
			panic("at the mail server")
		}
		return mails.Send(ctx, m)
	})})
	q.Do(ResetPassword, func(context.Context) { panic("in a job") })
	post(q, Message{Text: "panic"})
	if err := q.Send(t.Context(), Message{Text: "panic"}); !errors.Is(err, ErrDelivery) {
		t.Error(err)
	}
	if err := q.Send(t.Context(), Message{}); err != nil {
		t.Error(err)
	}
	if err := q.Close(t.Context()); err != nil || len(mails.Messages()) != 1 {
		t.Errorf("%v, %v", err, mails.Messages())
	}
}

func TestQueueWithoutAMailer(t *testing.T) {
	q := NewQueue(QueueConfig{Timeout: -1, Senders: -1, Size: -1})
	if err := q.Send(t.Context(), testMessage); !errors.Is(err, ErrDelivery) || !strings.Contains(err.Error(), "no mailer") {
		t.Error(err)
	}
}

func TestAClosedQueueAcceptsNothing(t *testing.T) {
	q := NewQueue(QueueConfig{Mailer: NewMemory()})
	for range 2 {
		if err := q.Close(ended(t)); err != nil {
			t.Errorf("with nothing to do: %v", err)
		}
	}
	if post(q, testMessage) || q.Do(ResetPassword, func(context.Context) { t.Error("a job was done") }) {
		t.Error("taken")
	}
	if err := q.Send(t.Context(), testMessage); !errors.Is(err, ErrDelivery) || errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailer := newStuck()
		q := NewQueue(QueueConfig{Mailer: mailer, Senders: 1, Timeout: time.Hour})
		for i := range 3 {
			post(q, Message{Text: fmt.Sprint(i)})
		}
		q.Do(ResetPassword, func(ctx context.Context) {
			if err := q.Send(ctx, Message{Text: "of a job"}); err != nil {
				t.Error(err)
			}
		})
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- q.Close(t.Context()) }()
		}
		synctest.Wait()
		if len(closed) != 0 || post(q, Message{}) {
			t.Error("closed too early, or still open")
		}
		close(mailer.letGo)
		for range 2 {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		if n := len(mailer.texts()); n != 4 {
			t.Errorf("%d were delivered", n)
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		mailer := newStuck()
		q := NewQueue(QueueConfig{Mailer: mailer, Senders: 2, Timeout: time.Hour, Logger: log.logger()})
		failed := make(chan error, 1)
		post(q, Message{Kind: KeysChanged})
		q.Do(ResetPassword, func(ctx context.Context) {
			<-ctx.Done()
			if err := q.Send(ctx, testMessage); !errors.Is(err, ErrDelivery) || !errors.Is(err, context.Canceled) {
				t.Errorf("in a job: %v", err)
			}
		})
		post(q, Message{Kind: KeysChanged})
		q.Do(ResetPassword, func(context.Context) { t.Error("a job was done") })
		go func() { failed <- q.Send(t.Context(), testMessage) }()
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := <-failed; !errors.Is(err, ErrDelivery) {
			t.Errorf("a message that waited: %v", err)
		}
		lines := log.lines()
		slices.Sort(lines)
		if want := []string{
			`level=ERROR msg="e-mail not delivered" kind=keys_changed error="mail: not delivered: context canceled"`,
			`level=WARN msg="e-mails given up, since the server closes" count=3`,
		}; !slices.Equal(lines, want) {
			t.Errorf("the log says %q; want %q", lines, want)
		}
		if err := q.Close(ctx); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// TestCloseDoesntWaitForAMailerThatHangs closes a queue whose mailer ignores its context.
func TestCloseDoesntWaitForAMailerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailer := newStuck()
		hangs := mailerFunc(func(_ context.Context, m Message) error { return mailer.Send(context.Background(), m) })
		q := NewQueue(QueueConfig{Mailer: hangs, Logger: quiet})
		post(q, Message{})
		synctest.Wait()
		began := time.Now()
		if err := q.Close(ended(t)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		close(mailer.letGo)
	})
}

// TestQueueConcurrently uses a small queue from many goroutines, some of which give up, and closes
// it meanwhile. What was accepted is delivered or fails once.
func TestQueueConcurrently(t *testing.T) {
	mails := NewMemory()
	var deliveries atomic.Int64
	q := NewQueue(QueueConfig{Senders: 3, Size: 4, Logger: quiet, Mailer: mailerFunc(func(ctx context.Context, m Message) error {
		deliveries.Add(1)
		return mails.Send(ctx, m)
	})})
	var taken, sent, jobsDone atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				switch (i + n) % 4 {
				case 0:
					if post(q, Message{Kind: KeysChanged}) {
						taken.Add(1)
					}
				case 1:
					if q.Do(ResetPassword, func(ctx context.Context) { jobsDone.Add(1); _ = q.Send(ctx, Message{Kind: ResetPassword}) }) {
						taken.Add(1)
					}
				case 2:
					if q.Send(t.Context(), Message{Kind: SignIn}) == nil {
						sent.Add(1)
					}
				case 3:
					ctx, cancel := context.WithCancel(t.Context())
					go cancel()
					_ = q.Send(ctx, Message{Kind: PLCOperation})
					cancel()
				}
			}
			if i == 0 {
				if err := q.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var background, awaited int64
	for _, m := range mails.Messages() {
		switch m.Kind {
		case KeysChanged, ResetPassword:
			background++
		case SignIn:
			awaited++
		}
	}
	if background != taken.Load() || awaited != sent.Load() || q.senders != 0 {
		t.Errorf("%d of %d taken in the background, %d of %d awaited, %d senders left", background, taken.Load(), awaited, sent.Load(), q.senders)
	}
}

func TestPowersOfTen(t *testing.T) {
	var got []int
	for n := 1; n <= 12000; n++ {
		if powerOfTen(n) {
			got = append(got, n)
		}
	}
	if want := []int{1, 10, 100, 1000, 10000}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
