package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Memory is a mailer for tests that keeps messages.
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

// Fail makes each Send return an [ErrDelivery] that wraps err from now on; nil ends that.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Messages returns all messages so far.
func (m *Memory) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// Last returns the last message to an address.
func (m *Memory) Last(to string) (Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last(to)
}

func (m *Memory) last(to string) (Message, bool) {
	for i := len(m.messages) - 1; i >= 0; i-- {
		if strings.EqualFold(m.messages[i].To, to) {
			return m.messages[i], true
		}
	}
	return Message{}, false
}

// Take returns the last message to an address and forgets all that were sent to it. If
// there is none it waits for one, until ctx ends.
func (m *Memory) Take(ctx context.Context, to string) (Message, error) {
	for {
		m.mu.Lock()
		msg, ok := m.last(to)
		arrived := m.arrived
		if ok {
			m.messages = slices.DeleteFunc(m.messages, func(other Message) bool { return strings.EqualFold(other.To, to) })
		}
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
