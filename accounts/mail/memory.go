package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Memory is a mailer for tests that keeps messages in memory.
type Memory struct {
	mu       sync.Mutex
	messages []Message
	arrived  chan struct{} // closed and replaced with each message
	fail     error
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{arrived: make(chan struct{})} }

// Send implements [Mailer].
func (m *Memory) Send(ctx context.Context, msg Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, m.fail)
	}
	m.messages = append(m.messages, msg)
	close(m.arrived)
	m.arrived = make(chan struct{})
	return nil
}

// Fail makes each Send return an [ErrDelivery] that wraps err, until Fail(nil) is called.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Messages returns all messages, oldest first.
func (m *Memory) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// Last returns the latest message to an address.
func (m *Memory) Last(to string) (Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range slices.Backward(m.messages) {
		if strings.EqualFold(msg.To, to) {
			return msg, true
		}
	}
	return Message{}, false
}

// Of returns the messages of a kind to an address, oldest first.
func (m *Memory) Of(kind Kind, to string) []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := of(kind, to)
	return slices.DeleteFunc(slices.Clone(m.messages), func(msg Message) bool { return !wanted(msg) })
}

// TakeCode returns the latest message with a code to an address, and removes all messages with a
// code to that address. If there is none it waits for one until ctx ends.
func (m *Memory) TakeCode(ctx context.Context, to string) (Message, error) {
	return m.wait(ctx, func() (msg Message, ok bool) {
		m.messages = slices.DeleteFunc(m.messages, func(other Message) bool {
			if other.Code == "" || !strings.EqualFold(other.To, to) {
				return false
			}
			msg, ok = other, true
			return true
		})
		return msg, ok
	})
}

// TakeOf returns the oldest message of a kind to an address, and removes it. If there is none it
// waits for one until ctx ends.
func (m *Memory) TakeOf(ctx context.Context, kind Kind, to string) (Message, error) {
	return m.wait(ctx, func() (Message, bool) {
		i := slices.IndexFunc(m.messages, of(kind, to))
		if i < 0 {
			return Message{}, false
		}
		msg := m.messages[i]
		m.messages = slices.Delete(m.messages, i, i+1)
		return msg, true
	})
}

// of returns a function that reports whether a message is of a kind and to an address.
func of(kind Kind, to string) func(Message) bool {
	return func(msg Message) bool { return msg.Kind == kind && strings.EqualFold(msg.To, to) }
}

// wait calls take with m locked, now and after each arrival, until it returns a message or ctx
// ends.
func (m *Memory) wait(ctx context.Context, take func() (Message, bool)) (Message, error) {
	for {
		m.mu.Lock()
		msg, ok := take()
		arrived := m.arrived
		m.mu.Unlock()
		if ok {
			return msg, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}
