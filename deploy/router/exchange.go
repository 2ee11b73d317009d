package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// exchange is one request on its way to a slot and back.
type exchange struct {
	router  *Router
	slot    *slot
	choice  choice
	w       http.ResponseWriter
	request *http.Request
	started time.Time

	upstream *upstream
	wire     *wire
	fresh    bool        // the connection is for this request alone
	upload   *upload     // nil where the body, if any, has been sent already
	stop     func() bool // nil until the client is watched
	extended time.Time   // when the client's write deadline was set last; net/http does when the request comes

	status  int
	outcome outcome
	sent    int64
	first   time.Duration // to the answer's header
	kind    streamKind
	cut     atomic.Bool
	capture *capture // nil unless the request is mirrored
}

// run takes the request to its component and the answer back. It panics with http.ErrAbortHandler when an answer breaks
// off half way, so that net/http cuts the client's connection: the client must not take half an answer for a whole one.
func (x *exchange) run() {
	if limit := x.router.limits.Body; limit > 0 && x.request.ContentLength > limit {
		x.fail(errBodyTooLarge)
		return
	}
	response, err := x.ask()
	switch {
	case err != nil:
		x.fail(err)
	case response.StatusCode == http.StatusSwitchingProtocols:
		x.tunnel(response)
	default:
		x.deliver(response)
	}
}

// ask sends the request and reads the header of the answer.
func (x *exchange) ask() (*http.Response, error) {
	x.fresh = !repeatable(x.request)
	if !x.fresh {
		if w := x.upstream.take(x.started); w != nil {
			response, err := x.askOver(w)
			if err == nil || w.answered || isTimeout(err) || x.request.Context().Err() != nil {
				return response, err
			}
			// The application closed the connection while it was idle.
		}
	}
	w, err := x.upstream.dial(x.request.Context(), x.fresh)
	if err != nil {
		return nil, err
	}
	return x.askOver(w)
}

func (x *exchange) askOver(w *wire) (*http.Response, error) {
	x.wire = w
	x.writeHead(w.out, x.fresh)
	var unsent error
	switch {
	case !hasBody(x.request):
		unsent = w.out.Flush()
	case x.sendsAtOnce():
		unsent = x.sendBody(nil)
	default:
		if unsent = w.out.Flush(); unsent == nil {
			x.upload = x.start()
		}
	}
	var client *clientError
	if errors.As(unsent, &client) {
		x.drop()
		return nil, unsent
	}
	response, err := x.read()
	if err != nil {
		x.drop()
		if broken := x.endUpload(); errors.As(broken, &client) || errors.Is(broken, errBodyTooLarge) {
			err = broken
		}
		return nil, err
	}
	return response, nil
}

// glance is how long an answer may take before the router begins to watch whether its client goes away. Nearly every
// answer is there before: the watch costs more than a deadline.
const glance = 20 * time.Millisecond

// read reads the header of the answer. Informational answers before it are passed on.
func (x *exchange) read() (*http.Response, error) {
	w, limit := x.wire, x.router.options.ResponseTimeout
	if x.upload == nil {
		_ = w.conn.SetReadDeadline(time.Now().Add(min(glance, limit)))
		_, _ = w.in.Peek(1) // an error comes again below
	} else {
		x.watch() // the upload sets the deadline when it is through
	}
	for range maxInformational {
		if x.upload == nil && !w.holdsHead() {
			x.watch()
			_ = w.conn.SetReadDeadline(time.Now().Add(limit))
		}
		response, err := http.ReadResponse(w.in, x.request)
		if err != nil {
			return nil, err
		}
		switch {
		case response.StatusCode < http.StatusContinue: // net/http panics where it is passed on
			return nil, fmt.Errorf("the application answered with the status %03d", response.StatusCode)
		case response.StatusCode >= http.StatusOK, response.StatusCode == http.StatusSwitchingProtocols:
			w.budget = -1
			x.upload.isAnswered()
			x.first = time.Since(x.started)
			return response, nil
		case response.StatusCode == http.StatusContinue:
			x.upload.goAhead() // net/http tells the client when its body is read
		default:
			header := x.w.Header()
			copyHeader(header, response.Header)
			x.w.WriteHeader(response.StatusCode)
			clear(header)
		}
	}
	return nil, fmt.Errorf("the application sent %d informational answers and no other", maxInformational)
}

// watch ends the exchange with the application when the client goes away.
func (x *exchange) watch() {
	if x.stop == nil {
		w := x.wire
		x.stop = context.AfterFunc(x.request.Context(), w.abort)
	}
}

// drop closes the connection to the application.
func (x *exchange) drop() {
	if x.stop != nil {
		x.stop()
		x.stop = nil
	}
	x.wire.abort()
}

// release ends the exchange with the application: its connection is kept where it can be used again.
func (x *exchange) release(reusable bool) {
	watched := true
	if x.stop != nil {
		watched = x.stop()
		x.stop = nil
	}
	if reusable && watched && !x.fresh && x.upload == nil && x.wire.in.Buffered() == 0 {
		x.upstream.keep(x.wire, time.Now())
		return
	}
	x.wire.abort()
	if x.upload == nil && x.kind == brief {
		x.wire.recycle()
	}
}

// deliver passes the answer on.
func (x *exchange) deliver(response *http.Response) {
	x.status = response.StatusCode
	header := x.w.Header()
	copyHeader(header, response.Header)
	x.sign(header)
	x.settleUpload(header)
	announced := len(response.Trailer)
	for name := range response.Trailer {
		header.Add("Trailer", name)
	}
	if x.capture != nil {
		x.capture.head(response)
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		x.kind = events
		x.fresh = true // a cut may come at any moment, also when another request would use the connection already
		defer x.slot.streams.open(events, func() { x.cut.Store(true); x.wire.abort() })()
	}
	x.extend()
	x.w.WriteHeader(response.StatusCode)
	if err := x.copyBody(response); err != nil {
		x.drop()
		x.endUpload() //nolint:errcheck // the answer is what broke
		if x.cut.Load() {
			return // the end of a stream of events is an end like any other: the client connects again
		}
		x.outcome = x.blame(err)
		panic(http.ErrAbortHandler)
	}
	x.trailers(response, announced)
	x.endUpload() //nolint:errcheck // the application has answered without the rest
	x.release(!response.Close)
}

func (x *exchange) trailers(response *http.Response, announced int) {
	if len(response.Trailer) == 0 {
		return
	}
	x.flush() // an answer that net/http gives a length has no trailer
	header := x.w.Header()
	for name, values := range response.Trailer {
		if len(response.Trailer) != announced {
			name = http.TrailerPrefix + name
		}
		header[name] = values
	}
}

// writeError is that the client did not take what it was sent.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write to the client: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// copyBody copies what is there at once without a buffer, and everything else as it comes.
func (x *exchange) copyBody(response *http.Response) error {
	length, in := response.ContentLength, x.wire.in
	if response.Body == http.NoBody {
		return nil
	}
	if length >= 0 && length <= int64(in.Buffered()) {
		data, err := in.Peek(int(length))
		if err == nil {
			err = x.pass(data)
			_, _ = in.Discard(len(data))
		}
		return err
	}
	x.watch()
	live := length < 0 || x.kind == events
	buffer := buffers.Get()
	defer buffers.Put(buffer)
	silence := x.router.limits.Silence
	var armed time.Time
	for {
		if now := time.Now(); now.Sub(armed) > min(time.Second, silence/4) {
			armed = now
			_ = x.wire.conn.SetReadDeadline(now.Add(silence))
		}
		if in.Buffered() == 0 {
			if live && x.sent > 0 {
				x.flush()
			}
			if x.request.ProtoMajor > 1 {
				x.extended = time.Time{}
				x.writeBy(time.Now().Add(silence)) // an HTTP/2 stream ends at its deadline, written to or not
			}
		}
		n, err := response.Body.Read(*buffer)
		if n > 0 {
			if failed := x.pass((*buffer)[:n]); failed != nil {
				return failed
			}
			if live && x.kind == events {
				x.flush()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pass writes to the client. A client that takes nothing for Limits.Write is gone.
func (x *exchange) pass(data []byte) error {
	if x.capture != nil {
		x.capture.body(data)
	}
	x.extend()
	n, err := x.w.Write(data)
	x.sent += int64(n)
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// extend moves the client's write deadline, which net/http sets once a request, along with the answer. A server that sets
// none does not take one back either.
func (x *exchange) extend() {
	if now := time.Now(); now.Sub(x.extended) >= time.Second {
		x.extended = now
		x.writeBy(now)
	}
}

// writeBy sets the client's write deadline for what is written from now on.
func (x *exchange) writeBy(from time.Time) {
	if server, ok := x.request.Context().Value(http.ServerContextKey).(*http.Server); ok && server.WriteTimeout > 0 {
		_ = http.NewResponseController(x.w).SetWriteDeadline(from.Add(x.router.limits.Write))
	}
}

func (x *exchange) flush() {
	if flusher, ok := x.w.(http.Flusher); ok {
		x.extend()
		flusher.Flush()
	}
}

// sign says who answers, and gives the client its cohort.
func (x *exchange) sign(header http.Header) {
	header[SlotHeader] = x.slot.signature
	header[ReleaseHeader] = x.slot.release
	if x.choice.variant != nil {
		header[VariantHeader] = x.choice.variant.signature
	}
	if x.choice.newCohort != "" {
		header.Add("Set-Cookie", cohortCookie(x.request, x.choice.newCohort))
	}
	if x.router.retiring.Load() {
		header.Set("Connection", "close") // the client's next request goes to the router that took over
	}
}

// fail answers for a component that did not. The client gets no details; the log does.
func (x *exchange) fail(err error) {
	outcome, status, text := x.judge(err)
	x.outcome, x.status = outcome, status
	if outcome == badGateway || outcome == gatewayTimeout {
		x.router.logger.Warn("proxy failed", "slot", x.slot.name, "release", x.slot.instance.Release, "endpoint", x.upstream.address,
			"method", x.request.Method, "path", x.request.URL.Path, "status", status, "error", err)
	}
	header := x.w.Header()
	x.sign(header)
	if hasBody(x.request) && x.request.ProtoMajor == 1 {
		header.Set("Connection", "close") // the rest of the body is still on it
	}
	x.extend()
	http.Error(x.w, text, status)
}

func (x *exchange) judge(err error) (outcome outcome, status int, text string) {
	var client *clientError
	switch {
	case errors.Is(err, errBodyTooLarge):
		return refused, http.StatusRequestEntityTooLarge, "the body of the request is too large"
	case errors.As(err, &client) && isTimeout(client.err):
		return refused, http.StatusRequestTimeout, "the body of the request came too slowly"
	case client != nil, errors.Is(x.request.Context().Err(), context.Canceled):
		return clientAborted, statusClientClosed, "client closed request"
	case isTimeout(err):
		return gatewayTimeout, http.StatusGatewayTimeout, "the application did not answer in time"
	default:
		return badGateway, http.StatusBadGateway, "the application did not answer"
	}
}

// blame says who broke an answer off.
func (x *exchange) blame(err error) outcome {
	var client *writeError
	if errors.As(err, &client) || x.request.Context().Err() != nil {
		return clientAborted
	}
	return truncated
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
