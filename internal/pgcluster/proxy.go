package pgcluster

import (
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy in front of a server, which can break connections on request.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	conns   map[net.Conn]bool
	swallow bool
}

// NewProxy starts a proxy on loopback that forwards connections to an address for the duration of a
// test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Add(1)
	go func() {
		defer serving.Done()
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Add(1)
			go func() {
				defer serving.Done()
				p.serve(client)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		serving.Wait()
	})
	return p
}

// Addr returns the address that the proxy listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut breaks all current connections. New ones are still accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// LoseNextReply has the proxy forward the next message of a client to the server and then break the
// connection instead of forwarding the reply.
func (p *Proxy) LoseNextReply() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = true
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Add(2)
	pass := func(to, from net.Conn, replies bool) {
		defer both.Done()
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if replies && p.lose() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go pass(server, client, false)
	go pass(client, server, true)
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

func (p *Proxy) lose() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	lose := p.swallow
	p.swallow = false
	return lose
}
