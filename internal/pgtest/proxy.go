package pgtest

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Way is the direction of a message.
type Way string

// The ways.
const (
	ToServer Way = "to the server"
	ToClient Way = "to the client"
)

// Message is one of PostgreSQL's protocol, on its way.
type Message struct {
	Way    Way
	Number int  // of the connection's messages in both directions that are points, from 1
	Type   byte // 'Q', 'C', 'Z' …; 0 for a connection's first
	Conn   int  // of the connection, from 1
}

// Verdict is what becomes of a message.
type Verdict int

// The verdicts.
const (
	Pass Verdict = iota
	Cut          // it does not arrive, and both ends see the connection end
)

// Proxy stands between clients and a server and sees every message, so that a test can do something at exactly one of them:
// every point at which a client or a connection can die lies between two messages.
type Proxy struct {
	listener net.Listener
	server   string
	decide   func(Message) Verdict
	relay    func(from, to net.Conn, way Way, conn int)

	mu     sync.Mutex
	number map[int]int // by connection
	conns  int
	open   map[net.Conn]bool
	closed bool
	group  sync.WaitGroup
}

// NewProxy listens on a port of 127.0.0.1 for connections to the server of a database's URL. decide is asked before a
// message is passed on, one at a time.
func NewProxy(t testing.TB, address string, decide func(Message) Verdict) *Proxy {
	t.Helper()
	p := newProxy(t, address)
	p.decide, p.relay = decide, p.forward
	p.group.Go(p.accept)
	return p
}

func newProxy(t testing.TB, address string) *Proxy {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{listener: listener, server: u.Host, open: map[net.Conn]bool{}, number: map[int]int{}}
	t.Cleanup(p.Close)
	return p
}

// URL is that of a database by way of the proxy.
func (p *Proxy) URL(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Close ends all connections.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.group.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns++
		conn := p.conns
		p.open[client], p.open[server] = true, true
		if p.closed {
			client.Close()
			server.Close()
		}
		p.mu.Unlock()
		end := func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			client.Close()
			server.Close()
			delete(p.open, client)
			delete(p.open, server)
		}
		p.group.Go(func() { defer end(); p.relay(client, server, ToServer, conn) })
		p.group.Go(func() { defer end(); p.relay(server, client, ToClient, conn) })
	}
}

// forward passes messages on: a type, a length that counts itself, a body. The first to the server has no type.
func (p *Proxy) forward(from, to net.Conn, way Way, conn int) {
	first := way == ToServer
	for {
		head := make([]byte, 5)
		if first {
			head = head[:4]
		}
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		length := binary.BigEndian.Uint32(head[len(head)-4:])
		body := make([]byte, int(length)-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		m := Message{Way: way, Conn: conn}
		if !first {
			m.Type = head[0]
		}
		first = false
		if p.ask(m) == Cut {
			return
		}
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}

// counted says whether a message is a point of its own: one before which the server, or what the client knows of it, is
// another than before the last one. A simple query ('Q') is done when it arrives; what the extended protocol has sent is done
// when it is executed, and committed at Sync ('S'): before that is one point, and the messages that lead to it are none. Of
// an answer only its end is one ('Z'): all that was asked is done then, whatever part of the answer arrives.
func counted(m Message) bool {
	if m.Way == ToClient {
		return m.Type == 'Z'
	}
	return m.Type == 0 || m.Type == 'Q' || m.Type == 'S' || m.Type == 'X'
}

func (p *Proxy) ask(m Message) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !counted(m) {
		return Pass
	}
	p.number[m.Conn]++
	m.Number = p.number[m.Conn]
	return p.decide(m)
}
