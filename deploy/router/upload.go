package router

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// atOnce is up to which length a body is sent before the router listens for the answer. A larger one is sent beside it, as
// an application may refuse it before it is through.
const atOnce = 16 << 10

// expectTimeout is how long a client that asked whether its body is wanted waits for an application that does not say.
// net/http's Transport has the same by default.
const expectTimeout = time.Second

// settle is how long the router waits for the end of a body when the answer is there already: applications answer at the
// moment they have the last byte, and the client's connection can be used again only if all of it was read.
const settle = 50 * time.Millisecond

var errBodyTooLarge = errors.New("the body of the request is over the limit")

// clientError is that the body could not be read from the client.
type clientError struct{ err error }

func (e *clientError) Error() string { return "read the request: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// upload is a request's body on its way.
type upload struct {
	ahead chan struct{} // closed when the application wants the body; nil where nobody asked
	asked bool
	quit  chan struct{}
	// answered is that the header of the answer has come: from then on other deadlines hold.
	answered atomic.Bool
	done     chan struct{}
	err      error // valid once done is closed
}

func (x *exchange) sendsAtOnce() bool {
	return x.request.ContentLength > 0 && x.request.ContentLength <= atOnce && !expects(x.request)
}

func expects(request *http.Request) bool { return tokens(request.Header["Expect"], "100-continue") }

// start sends the body in a goroutine of its own.
func (x *exchange) start() *upload {
	u := &upload{quit: make(chan struct{}), done: make(chan struct{})}
	if expects(x.request) {
		u.ahead = make(chan struct{})
	}
	w := x.wire
	go func() {
		defer close(u.done)
		if u.ahead != nil {
			patience := time.NewTimer(expectTimeout)
			defer patience.Stop()
			select {
			case <-u.ahead:
			case <-patience.C:
			case <-u.quit:
				u.err = errUnsent
				return
			}
		}
		u.err = x.sendBody(w)
		select {
		case <-u.quit: // then it is not the client that broke off
			u.err = errUnsent
			return
		default:
		}
		var client *clientError
		if errors.As(u.err, &client) || errors.Is(u.err, errBodyTooLarge) {
			w.abort() // the application must not wait for the rest, nor the router for its answer
			return
		}
		if u.answered.Load() {
			return
		}
		// What the application did not take may still be answered.
		_ = w.conn.SetReadDeadline(time.Now().Add(x.router.options.ResponseTimeout))
	}()
	return u
}

var errUnsent = errors.New("the application answered without the body")

// goAhead is that the application wants the body.
func (u *upload) goAhead() {
	if u != nil && u.ahead != nil && !u.asked {
		u.asked = true
		close(u.ahead)
	}
}

func (u *upload) isAnswered() {
	if u != nil {
		u.answered.Store(true)
	}
}

// settleUpload is called before the header of the answer goes out. Where the body is still coming, net/http must not wait
// for its end, and the client's connection cannot be used again.
func (x *exchange) settleUpload(header http.Header) {
	if x.upload == nil {
		return
	}
	if x.upload.ahead == nil || x.upload.asked {
		patience := time.NewTimer(settle)
		defer patience.Stop()
		select {
		case <-x.upload.done:
			if x.upload.err == nil {
				x.upload = nil
				return
			}
		case <-patience.C:
		}
	}
	if x.request.ProtoMajor == 1 {
		_ = http.NewResponseController(x.w).EnableFullDuplex()
		header.Set("Connection", "close")
	}
}

// endUpload stops a body that is still coming and returns why it did not arrive. The handler must not return before: the
// body may not be read after that.
func (x *exchange) endUpload() error {
	if x.upload == nil {
		return nil
	}
	u := x.upload
	if x.request.Context().Err() != nil {
		// net/http ends the context when it cannot read on, just before it says so to whoever reads the body.
		patience := time.NewTimer(settle)
		defer patience.Stop()
		select {
		case <-u.done:
		case <-patience.C:
		}
	}
	select {
	case <-u.done:
	default:
		close(u.quit)
		x.wire.abort()
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
		<-u.done
	}
	return u.err
}

// sendBody copies the body to the application and flushes it. over is nil where the exchange's own goroutine does so.
func (x *exchange) sendBody(over *wire) error {
	if over == nil {
		over = x.wire
	}
	out := over.out
	var to io.Writer = out
	var chunks io.WriteCloser
	if x.request.ContentLength < 0 {
		chunks = httputil.NewChunkedWriter(out)
		to = chunks
	}
	buffer := buffers.Get()
	defer buffers.Put(buffer)
	limits, control := &x.router.limits, http.NewResponseController(x.w)
	var total int64
	for began, moved := time.Now(), time.Now(); ; {
		if now := time.Now(); now.Sub(moved) > time.Second {
			moved = now
			x.writeBy(now)
		}
		_ = control.SetReadDeadline(began.Add(limits.BodyGrace + time.Duration(total/limits.BodyRate)*time.Second))
		n, err := x.request.Body.Read(*buffer)
		if n > 0 {
			total += int64(n)
			if limits.Body > 0 && total > limits.Body {
				return errBodyTooLarge
			}
			if x.capture != nil {
				x.capture.upload((*buffer)[:n])
			}
			_ = over.conn.SetWriteDeadline(time.Now().Add(x.router.options.ResponseTimeout))
			_, failed := to.Write((*buffer)[:n])
			if failed == nil {
				failed = out.Flush()
			}
			if failed != nil {
				return failed
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &clientError{err}
		}
	}
	_ = control.SetReadDeadline(time.Time{}) // net/http reads on, to see the client go away
	if chunks == nil {
		return out.Flush()
	}
	if err := chunks.Close(); err != nil {
		return err
	}
	for name, values := range x.request.Trailer {
		for _, value := range values {
			field(out, name, value)
		}
	}
	out.WriteString("\r\n")
	return out.Flush()
}
