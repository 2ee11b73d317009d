package router

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"syscall"
	"time"
)

// trusted is for how long an idle connection is used again without a look at it. No server gives up a connection as early.
const trusted = 100 * time.Millisecond

// wire is one connection to a component. One request uses it at a time.
type wire struct {
	conn net.Conn // TLS, or raw
	raw  net.Conn
	in   *bufio.Reader // reads through Read below
	out  *bufio.Writer

	reused    bool
	answered  bool // a byte of the answer has come
	budget    int  // bytes of the header that may still come; negative: any number
	idleSince time.Time
}

func newWire(conn, raw net.Conn) *wire {
	w := &wire{conn: conn, raw: raw}
	if in, ok := readers.Get().(*bufio.Reader); ok {
		in.Reset(w)
		w.in = in
	} else {
		w.in = bufio.NewReaderSize(w, wireBuffer)
	}
	if out, ok := writers.Get().(*bufio.Writer); ok {
		out.Reset(conn)
		w.out = out
	} else {
		w.out = bufio.NewWriterSize(conn, wireBuffer)
	}
	w.budget = maxAnswerHeader
	return w
}

// readers and writers lend buffers to connections: every request that cannot be repeated has one of its own.
var readers, writers sync.Pool

// recycle gives the buffers of a connection back whose only user is done with it.
func (w *wire) recycle() {
	w.in.Reset(nil)
	w.out.Reset(nil)
	readers.Put(w.in)
	writers.Put(w.out)
	w.in, w.out = nil, nil
}

// reset makes a used connection ready for another request.
func (w *wire) reset() {
	w.reused, w.answered, w.budget = true, false, maxAnswerHeader
}

// Read implements io.Reader for the buffer in front of it and bounds the header.
func (w *wire) Read(p []byte) (int, error) {
	if w.budget == 0 {
		return 0, errHeadTooLarge
	}
	if w.budget > 0 && len(p) > w.budget {
		p = p[:w.budget]
	}
	n, err := w.conn.Read(p)
	if n > 0 {
		w.answered = true
		if w.budget > 0 {
			w.budget -= n
		}
	}
	return n, err
}

// quiet says whether an idle connection is open and nothing came on it. What a server says into an idle connection is that
// it gives it up (408), and would be taken for the answer to the next request.
func (w *wire) quiet() bool {
	plain, ok := w.raw.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, problem := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = problem == syscall.EAGAIN || problem == syscall.EWOULDBLOCK
		return true
	})
	return err == nil && quiet
}

// holdsHead says whether the header of an answer has come as a whole.
func (w *wire) holdsHead() bool {
	data, _ := w.in.Peek(w.in.Buffered())
	return bytes.Contains(data, []byte("\r\n\r\n"))
}

// abort makes whoever reads or writes the connection fail at once.
func (w *wire) abort() { _ = w.conn.Close() }
