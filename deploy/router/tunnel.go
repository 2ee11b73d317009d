package router

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// closeGrace bounds the end of a WebSocket: for the application to finish the frame it is sending, and for the client to
// answer the close frame.
const closeGrace = time.Second

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// tunnel is a connection that changed its protocol: bytes are passed on both ways until one side ends it, both are silent
// for Limits.Silence, or a drain cuts it.
type tunnel struct {
	client  net.Conn
	wire    *wire
	silence time.Duration
	frames  *frames // nil where the protocol is not WebSocket

	last atomic.Int64 // when a byte came, from either side

	mu      sync.Mutex
	cutting bool
}

// tunnel answers 101 and passes bytes on.
func (x *exchange) tunnel(response *http.Response) {
	protocol := upgradeOf(response.Header)
	if wanted := upgradeOf(x.request.Header); wanted == "" || !strings.EqualFold(wanted, protocol) {
		x.drop()
		x.fail(errors.New("the application changed to a protocol that the client did not ask for"))
		return
	}
	x.status, x.kind = http.StatusSwitchingProtocols, upgraded
	header := x.w.Header()
	copyHeader(header, response.Header)
	x.sign(header)
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.drop()
		x.fail(err) // HTTP/2 has no upgrades
		return
	}
	defer client.Close()
	defer x.drop()
	if x.stop != nil { // the request's context says nothing about a hijacked connection
		x.stop()
	}
	header["Connection"] = []string{"Upgrade"}
	header["Upgrade"] = []string{protocol}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = header.Write(&head)
	head.WriteString("\r\n")
	_ = client.SetWriteDeadline(time.Now().Add(x.router.limits.Write))
	if _, err := client.Write(head.Bytes()); err != nil {
		x.outcome = clientAborted
		return
	}
	t := &tunnel{client: client, wire: x.wire, silence: x.router.limits.Silence}
	if strings.EqualFold(protocol, "websocket") {
		t.frames = &frames{}
	}
	t.last.Store(time.Now().UnixNano())
	defer x.slot.streams.open(upgraded, t.cut)()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.up(buffered.Reader, x.router.limits.Write)
	}()
	t.down(x.router.limits.Write)
	_ = client.Close()
	x.wire.abort()
	<-ended
}

// arm sets a read deadline, unless a cut has set one that must stay.
func (t *tunnel) arm(connection net.Conn, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.cutting {
		_ = connection.SetReadDeadline(time.Now().Add(d))
	}
}

// cut ends the tunnel in the way its protocol has for it.
func (t *tunnel) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cutting = true
	_ = t.wire.conn.SetReadDeadline(past)
}

func (t *tunnel) isCutting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cutting
}

// silent says whether nothing came for too long; otherwise it is for how long to wait on.
func (t *tunnel) silent() (rest time.Duration, over bool) {
	rest = t.silence - time.Since(time.Unix(0, t.last.Load()))
	return rest, rest <= 0
}

// up passes on what the client sends.
func (t *tunnel) up(from io.Reader, write time.Duration) {
	buffer := buffers.Get()
	defer buffers.Put(buffer)
	wait := t.silence
	for {
		t.arm(t.client, wait)
		n, err := from.Read(*buffer)
		if n > 0 {
			t.last.Store(time.Now().UnixNano())
			_ = t.wire.conn.SetWriteDeadline(time.Now().Add(write))
			if _, failed := t.wire.conn.Write((*buffer)[:n]); failed != nil {
				return
			}
		}
		wait = t.silence
		if isTimeout(err) && !t.isCutting() {
			rest, over := t.silent()
			if over {
				t.cut()
				return
			}
			wait = rest
			continue
		}
		if err != nil {
			if half, ok := t.wire.conn.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite() // the application may have more to say
				return
			}
			t.wire.abort()
			return
		}
	}
}

// down passes on what the application sends, until it ends or the tunnel is cut.
func (t *tunnel) down(write time.Duration) {
	buffer := buffers.Get()
	defer buffers.Put(buffer)
	wait, last := t.silence, time.Time{}
	for {
		t.arm(t.wire.conn, wait)
		n, err := t.wire.in.Read(*buffer)
		data := (*buffer)[:n]
		cutting := t.isCutting()
		switch {
		case t.frames != nil && !cutting:
			t.frames.track(data)
		case t.frames != nil && !t.frames.between():
			n, _ = t.frames.next(data)
			data = data[:n]
		case cutting:
			data = nil
		}
		if len(data) > 0 {
			t.last.Store(time.Now().UnixNano())
			_ = t.client.SetWriteDeadline(time.Now().Add(write))
			if _, failed := t.client.Write(data); failed != nil {
				return
			}
		}
		if cutting {
			if t.frames == nil || t.frames.between() {
				t.goodbye()
				return
			}
			if last.IsZero() {
				last = time.Now().Add(closeGrace)
				_ = t.wire.conn.SetReadDeadline(last)
			} else if err != nil {
				return // within a frame, where no close frame can be put
			}
			continue
		}
		wait = t.silence
		if isTimeout(err) {
			if t.isCutting() {
				continue
			}
			rest, over := t.silent()
			if over {
				t.cut()
				continue
			}
			wait = rest
			continue
		}
		if err != nil {
			return
		}
	}
}

// goodbye closes a WebSocket with 1012, service restart (RFC 6455 section 7.4, IANA's registry): clients connect again.
// The client's answer goes to the application, which so learns that it is over.
func (t *tunnel) goodbye() {
	if t.frames == nil {
		return
	}
	const text = "service restart"
	frame := append([]byte{0x88, byte(2 + len(text)), 1012 >> 8, 1012 & 0xff}, text...)
	_ = t.client.SetWriteDeadline(time.Now().Add(closeGrace))
	if _, err := t.client.Write(frame); err != nil {
		return
	}
	// The application hangs up when it has the client's answer, as a server must (RFC 6455 section 7.1.1).
	_ = t.wire.conn.SetReadDeadline(time.Now().Add(closeGrace))
	_, _ = io.Copy(io.Discard, t.wire.in)
}
