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

// ErrBusy is returned when a message was not accepted since too many are waiting already. Clients
// are answered 503 ServiceUnavailable.
var ErrBusy = errors.New("mail: too many e-mails are waiting")

var errClosed = fmt.Errorf("%w: the queue is closed", ErrDelivery)

// QueueConfig configures a [Queue].
type QueueConfig struct {
	// Mailer delivers the messages. Default: [Unconfigured].
	Mailer Mailer
	// Timeout bounds each delivery. Default 15 seconds.
	Timeout time.Duration
	// Senders is the most deliveries and jobs that are under way at the same time. Default 8.
	Senders int
	// Size is the most messages and jobs that wait for a sender in each of three lines: messages
	// given to [Queue.Send], jobs for e-mails without a code, and jobs for e-mails with a code. The
	// lines take turns, so that a flood in one line, such as strangers' requests for password
	// resets, neither holds up nor fills the others. Default 256.
	Size int
	// Logger receives what operators should know, but never addresses, codes or texts. Default
	// [slog.Default].
	Logger *slog.Logger
}

// Queue sends all e-mails of a server, outside of storage transactions. It is a [Mailer] that
// bounds how many deliveries are under way and how many messages wait, and it also does jobs for
// callers that can't wait. It has no goroutines while there is nothing to send. Its methods are
// safe for concurrent use.
type Queue struct {
	cfg  QueueConfig
	ctx  context.Context // ends when deliveries under way are to be aborted
	stop context.CancelFunc

	mu      sync.Mutex
	lines   [3][]*task
	turn    int // the line from which the next task is taken, if it has one
	senders int // at most cfg.Senders; if fewer, nothing waits
	refused int // how many tasks were refused since the queue was last idle
	closed  bool
	idle    chan struct{} // closed when the queue is closed and the last sender has ended
}

// The lines of a queue.
const (
	lineSend        = iota // messages that a caller waits for
	lineWithoutCode        // jobs for e-mails without a code
	lineWithCode           // jobs for e-mails with a code
)

// task is something that a sender does.
type task struct {
	kind   Kind
	do     func()
	giveUp func() // called instead of do if the task is given up; may be nil
}

// NewQueue returns a Queue. Numbers in the configuration that aren't positive are replaced with the
// defaults.
func NewQueue(cfg QueueConfig) *Queue {
	if cfg.Mailer == nil {
		cfg.Mailer = Unconfigured{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), 15*time.Second)
	cfg.Senders = cmp.Or(max(cfg.Senders, 0), 8)
	cfg.Size = cmp.Or(max(cfg.Size, 0), 256)
	q := &Queue{cfg: cfg, idle: make(chan struct{})}
	q.ctx, q.stop = context.WithCancel(context.Background())
	return q
}

// Send implements [Mailer], for callers that have to know whether the message was delivered: it
// waits for a free sender and for the delivery. Its error is an [ErrDelivery], which wraps
// [ErrBusy] if too many messages are waiting already, and the error of ctx if that ended first. The
// text of the error contains neither the address nor the code. In a job (see [Queue.Do]) Send uses
// the sender that does the job.
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
	if err := q.add(lineSend, t); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	q.remove(lineSend, t)
	select {
	case err := <-done: // at the same time
		return err
	default:
		return fmt.Errorf("%w: %w", ErrDelivery, ctx.Err())
	}
}

// Do accepts a job to be done in the background, and reports whether it did: not if too many are
// waiting already, or the queue is closed. It never blocks. The job finds out whether there is a
// message to send, makes it and passes it to [Queue.Send], so that the time that the caller takes
// doesn't depend on it. The kind selects the line and is logged. The context of the job ends after
// twice the timeout of a delivery, and when the queue gives up. If the message can't be delivered,
// the job has to log that.
func (q *Queue) Do(kind Kind, job func(ctx context.Context)) bool {
	line := lineWithoutCode
	if kind.HasCode() { // a flood of password resets must not keep notices from being sent
		line = lineWithCode
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

// jobOf is the key of a value in the contexts of a queue's jobs, each of which occupies a sender.
type jobOf struct{ *Queue }

// Close stops accepting messages and jobs, and waits until those that were accepted are done. If
// ctx ends first, it gives up those that still wait, ends the contexts of those under way, and
// returns the error of ctx when these have ended too, but at most a second later.
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

// giveUp drops the tasks that wait, and ends the contexts of those under way.
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

// add gives a task to a new sender if there are fewer than allowed, and otherwise puts it into a
// line. Errors: errClosed, [ErrBusy].
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
	// The first, tenth, hundredth and so on is logged, so that the log isn't flooded too.
	if powerOfTen(refused) {
		q.cfg.Logger.WarnContext(q.ctx, "e-mail dropped, since too many are waiting", "kind", t.kind, "dropped", refused)
	}
	return fmt.Errorf("%w: %w", ErrDelivery, ErrBusy)
}

// remove removes a task from a line if it is still there.
func (q *Queue) remove(line int, t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.lines[line], t); i >= 0 {
		q.lines[line] = slices.Delete(q.lines[line], i, i+1)
	}
}

// work is the goroutine of a sender: it does a task, and then others until there are none.
func (q *Queue) work(t *task) {
	for t != nil {
		t.do()
		t = q.next()
	}
}

// next returns the next task for a sender, or nil if the sender has to end.
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

// deliver passes a message to the mailer.
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

// failure is an error of a mailer with a redacted text.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.cause }

// redacted removes the address and the code of a message from a text. Mail servers often repeat
// them, and they don't belong in logs.
func redacted(text string, m Message) string {
	for _, secret := range []string{m.To, m.Code} {
		if secret != "" {
			text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(secret)).ReplaceAllLiteralString(text, "…")
		}
	}
	return text
}

// logPanic logs a panic of a mailer or a job, which must not crash the server. Of the value only
// the type is logged, since it may contain the message, unless it is a runtime error.
func (q *Queue) logPanic(kind Kind, v any) {
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	q.cfg.Logger.ErrorContext(q.ctx, "panic while sending an e-mail", "kind", kind, "panic", what, "stack", string(debug.Stack()))
}

// powerOfTen reports whether a positive number is a power of ten.
func powerOfTen(n int) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
