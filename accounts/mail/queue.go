package mail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that a message was turned away since too many are waiting already.
var ErrBusy = errors.New("mail: too many e-mails are waiting")

var errClosed = fmt.Errorf("%w: the queue is closed", ErrDelivery)

// QueueConfig configures a [Queue].
type QueueConfig struct {
	// Mailer delivers the messages. Default: [Unconfigured].
	Mailer Mailer
	// Timeout bounds each delivery. Default 15 seconds.
	Timeout time.Duration
	// Senders is how many deliveries and jobs are under way at the same time. Default 8.
	Senders int
	// Size is how many wait for a sender at most, in each of three lines: messages given to
	// [Queue.Send]; messages given to [Queue.Post], and jobs for those without a code; other jobs.
	// The lines take turns, so that a flood in one, such as strangers' requests for password
	// resets, neither holds up the others nor fills them. Default 256.
	Size int
	// Logger receives what operators should know, never addresses, codes or texts. Default: none.
	Logger *slog.Logger
}

// Queue is the one way by which a server's mail leaves, outside storage transactions. It is a
// [Mailer] that bounds how much is under way and how much waits, and takes messages also from
// callers that can't wait. It has no goroutines while there is nothing to send. Its methods are
// safe for concurrent use.
type Queue struct {
	cfg  QueueConfig
	ctx  context.Context // ends when what is under way is given up
	stop context.CancelFunc

	mu      sync.Mutex
	lines   [3][]*task
	turn    int // the line that is asked first for the next task
	senders int // at most cfg.Senders; if fewer, nothing waits
	refused int // since there was last nothing to do
	closed  bool
	idle    chan struct{} // closed when the queue is, and the last sender has ended
}

// The lines of a queue.
const (
	sent = iota
	posted
	jobs
)

// task is something for a sender to do.
type task struct {
	kind   Kind
	do     func()
	giveUp func() // in place of do; may be nil
}

// NewQueue returns a queue.
func NewQueue(cfg QueueConfig) *Queue {
	if cfg.Mailer == nil {
		cfg.Mailer = Unconfigured{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), 15*time.Second)
	cfg.Senders = cmp.Or(max(cfg.Senders, 0), 8)
	cfg.Size = cmp.Or(max(cfg.Size, 0), 256)
	q := &Queue{cfg: cfg, idle: make(chan struct{})}
	q.ctx, q.stop = context.WithCancel(context.Background())
	return q
}

// Send implements [Mailer], for callers that have to know whether the message left: it waits for a
// free sender, and for the delivery. Its error is an [ErrDelivery], which wraps [ErrBusy] if too
// many are waiting already, and the error of ctx if that ended first. Its text names neither the
// recipient nor the code. In a job (see [Queue.Do]) it uses the sender that runs the job.
func (q *Queue) Send(ctx context.Context, m Message) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, ctx.Err())
	}
	if ctx.Value(jobOf{q}) != nil {
		return q.deliver(ctx, m)
	}
	done := make(chan error, 1)
	t := &task{
		kind:   m.Kind,
		do:     func() { done <- q.deliver(ctx, m) },
		giveUp: func() { done <- errClosed },
	}
	if err := q.add(sent, t); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	q.remove(sent, t)
	select {
	case err := <-done: // at the same time
		return err
	default:
		return fmt.Errorf("%w: %w", ErrDelivery, ctx.Err())
	}
}

// Post takes a message to be delivered in the background, and reports whether it did: not if too
// many are waiting already, or the queue is closed. It never blocks. What can't be delivered is
// logged.
func (q *Queue) Post(m Message) bool {
	return q.add(posted, &task{kind: m.Kind, do: func() {
		if err := q.deliver(q.ctx, m); err != nil {
			q.cfg.Logger.ErrorContext(q.ctx, "e-mail not delivered", "kind", m.Kind, "error", err)
		}
	}}) == nil
}

// Do takes a job that finds out in the background whether there is a message to send, makes it and
// hands it to [Queue.Send], so that the caller takes the same time in any case. It reports whether
// it took the job: not if too many are waiting already, or the queue is closed. It never blocks.
// The kind is for the log. The job's context ends after twice the time-out of a delivery, and when
// the queue gives up what is under way. What becomes of the message is the job's to log.
func (q *Queue) Do(kind Kind, job func(ctx context.Context)) bool {
	line := jobs
	if !kind.HasCode() { // a flood of resets must not drop notices
		line = posted
	}
	return q.add(line, &task{kind: kind, do: func() {
		ctx, cancel := context.WithTimeout(context.WithValue(q.ctx, jobOf{q}, true), 2*q.cfg.Timeout)
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				q.logPanic(kind, v)
			}
		}()
		job(ctx)
	}}) == nil
}

// jobOf is the key by which a context says that it belongs to a job of a queue, which holds one of
// its senders.
type jobOf struct{ *Queue }

// Close waits until what was taken is delivered, and takes no more. When ctx ends before, it gives
// up what still waits, ends the contexts of what is under way, and returns the error of ctx once
// that has ended too, or after a second if it doesn't heed its context.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		if q.senders == 0 {
			close(q.idle)
		}
	}
	q.mu.Unlock()
	defer q.stop()
	select {
	case <-q.idle:
		return nil
	default:
	}
	select {
	case <-q.idle:
		return nil
	case <-ctx.Done():
	}
	q.giveUp()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-q.idle:
	case <-grace.C:
	}
	return ctx.Err()
}

// giveUp drops what waits, and ends what is under way.
func (q *Queue) giveUp() {
	q.mu.Lock()
	waiting := slices.Concat(q.lines[:]...)
	clear(q.lines[:])
	q.mu.Unlock()
	q.stop()
	for _, t := range waiting {
		if t.giveUp != nil {
			t.giveUp()
		}
	}
	if len(waiting) > 0 {
		q.cfg.Logger.WarnContext(q.ctx, "e-mails given up, since the server closes", "count", len(waiting))
	}
}

// add has a task done by a free or a new sender, or puts it into a line.
func (q *Queue) add(line int, t *task) error {
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		return errClosed
	case q.senders < q.cfg.Senders:
		q.senders++
		q.mu.Unlock()
		go q.work(t)
		return nil
	case len(q.lines[line]) < q.cfg.Size:
		q.lines[line] = append(q.lines[line], t)
		q.mu.Unlock()
		return nil
	}
	q.refused++
	refused := q.refused
	q.mu.Unlock()
	// A line for the first, the tenth, the hundredth… is enough to see what is going on, and no
	// flood itself.
	if powerOfTen(refused) {
		q.cfg.Logger.WarnContext(q.ctx, "e-mail dropped, since too many are waiting", "kind", t.kind, "dropped", refused)
	}
	return fmt.Errorf("%w: %w", ErrDelivery, ErrBusy)
}

// remove takes a task out of a line, if it is still there.
func (q *Queue) remove(line int, t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.lines[line], t); i >= 0 {
		q.lines[line] = slices.Delete(q.lines[line], i, i+1)
	}
}

// work is a sender: it does a task, and then others until there are none.
func (q *Queue) work(t *task) {
	for t != nil {
		t.do()
		t = q.next()
	}
}

// next returns the next task of a sender, or nil if it has to end.
func (q *Queue) next() *task {
	q.mu.Lock()
	for range q.lines {
		line := &q.lines[q.turn]
		q.turn = (q.turn + 1) % len(q.lines)
		if len(*line) > 0 {
			t := (*line)[0]
			*line = slices.Delete(*line, 0, 1)
			q.mu.Unlock()
			return t
		}
	}
	defer q.mu.Unlock()
	if refused := q.refused; q.senders == 1 && refused > 1 {
		q.refused = 0
		return &task{do: func() {
			q.cfg.Logger.WarnContext(q.ctx, "no e-mails are waiting any more", "dropped", refused)
		}}
	}
	if q.senders--; q.senders == 0 {
		q.refused = 0
		if q.closed {
			close(q.idle)
		}
	}
	return nil
}

// deliver gives a message to the mailer.
func (q *Queue) deliver(ctx context.Context, m Message) (err error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(q.ctx, cancel)()
	defer func() {
		if v := recover(); v != nil {
			q.logPanic(m.Kind, v)
			err = fmt.Errorf("%w: the mailer panicked", ErrDelivery)
		}
	}()
	err = q.cfg.Mailer.Send(ctx, m)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrDelivery) {
		err = fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	return &failure{redacted(err.Error(), m), err}
}

// failure is an error of a mailer whose text has been redacted.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.cause }

// redacted leaves the address and the code of a message out of a text: mail servers like to repeat
// them, and logs are no place for them.
func redacted(text string, m Message) string {
	for _, secret := range []string{m.To, m.Code} {
		if secret != "" {
			text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(secret)).ReplaceAllLiteralString(text, "…")
		}
	}
	return text
}

// logPanic logs a panic of a mailer or a job, which must not take the server down. Of what it
// panicked with only the type is logged, unless it is a mistake that the runtime found: it may be
// about the message.
func (q *Queue) logPanic(kind Kind, v any) {
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	q.cfg.Logger.ErrorContext(q.ctx, "panic while sending an e-mail", "kind", kind, "panic", what, "stack", string(debug.Stack()))
}

func powerOfTen(n int) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
