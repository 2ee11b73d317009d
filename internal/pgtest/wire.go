package pgtest

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// Wire is a Proxy that knows nothing of messages: it keeps what goes over its first connection, or cuts it after so many
// bytes. Connections after the first are passed on.
type Wire struct {
	*Proxy

	way   Way
	after int

	lock  sync.Mutex
	went  int // bytes, the way that is cut
	sent  map[Way]*bytes.Buffer
	turns []Turn
	cut   bool
}

// Turn is where a client began to speak: how many bytes had gone each way by then. PostgreSQL's clients wait for the answer
// before they speak again, so the answer to what they say is what comes to the client until the next turn.
type Turn struct{ ToServer, ToClient int }

// NewWire listens on a port of 127.0.0.1 for connections to the server of a database's URL. The first connection ends when
// that many bytes have gone one way; with a negative number it is left alone, and kept.
func NewWire(t testing.TB, address string, way Way, after int) *Wire {
	t.Helper()
	w := &Wire{Proxy: newProxy(t, address), way: way, after: after, sent: map[Way]*bytes.Buffer{ToServer: {}, ToClient: {}}}
	w.relay = w.copy
	w.group.Go(w.accept)
	return w
}

// Sent is what went one way over the first connection.
func (w *Wire) Sent(way Way) []byte {
	w.lock.Lock()
	defer w.lock.Unlock()
	return bytes.Clone(w.sent[way].Bytes())
}

// Turns are where the client began to speak, in order.
func (w *Wire) Turns() []Turn {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.turns
}

// WasCut says whether the first connection was long enough to be cut.
func (w *Wire) WasCut() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.cut
}

func (w *Wire) copy(from, to net.Conn, way Way, conn int) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		part, last := w.keep(buffer[:n], way, conn)
		if _, failed := to.Write(part); failed != nil || err != nil || last {
			return
		}
	}
}

// keep notes what goes by, and returns the part of it that may.
func (w *Wire) keep(data []byte, way Way, conn int) (part []byte, last bool) {
	if conn != 1 {
		return data, false
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	switch {
	case w.after >= 0 && way != w.way:
		return data, false
	case w.after >= 0:
		if left := w.after - w.went; len(data) > left {
			data, w.cut, last = data[:left], true, true
		}
		w.went += len(data)
		return data, last
	}
	turn := Turn{w.sent[ToServer].Len(), w.sent[ToClient].Len()}
	if k := len(w.turns); way == ToServer && len(data) > 0 && (k == 0 || w.turns[k-1].ToClient != turn.ToClient) {
		w.turns = append(w.turns, turn)
	}
	w.sent[way].Write(data)
	return data, false
}
