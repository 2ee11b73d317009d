package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/metaextract/pipeline/deploy/router"
)

// keepAlive is how long a client keeps an idle connection: below what common servers do (Node and uvicorn close after
// 5 s), as a well-behaved client does, so that a connection closed under a request is the deployment's doing.
const keepAlive = 4 * time.Second

// maxExcerpt bounds what is kept of the answer to a failed request.
const maxExcerpt = 300

// client sends one request at a time over one kept connection.
type client struct {
	generator *Generator
	requests  []Request
	turn      int
	transport *http.Transport
}

func newClient(g *Generator, requests []Request, turn int) *client {
	return &client{generator: g, requests: requests, turn: turn, transport: &http.Transport{
		Proxy:               nil,
		DialContext:         (&net.Dialer{}).DialContext,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     keepAlive,
		DisableCompression:  true,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // one request a connection at a time
	}}
}

func (c *client) run(ctx context.Context) {
	defer c.transport.CloseIdleConnections()
	for {
		due, ok := c.generator.next()
		if !ok {
			return
		}
		request := c.requests[c.turn%len(c.requests)]
		c.turn++
		sample := c.send(ctx, request)
		if ctx.Err() != nil {
			return
		}
		sample.request, sample.due, sample.ended = request.Name, due, c.generator.options.Now()
		c.generator.ledger.add(sample)
	}
}

// sample is the account of one request.
type sample struct {
	request    string
	due, ended time.Time
	slot       string // "" when nobody answered
	status     int    // 0 when nobody answered
	failure    string // class of error, "" for none
	detail     string
}

// send sends a request and reads its whole answer. It follows no redirect and keeps no cookie: each request is a new visitor.
func (c *client) send(ctx context.Context, request Request) sample {
	ctx, cancel := context.WithTimeout(ctx, c.generator.options.Timeout)
	defer cancel()
	// net/http sends a request again by itself when a kept connection turns out to be closed. That would hide the very
	// thing a deployment must not do, so an attempt after the first is a failure.
	attempts := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { attempts++ }})
	outgoing, err := request.To(ctx, c.generator.options.Target)
	if err != nil {
		return sample{failure: "invalid request", detail: err.Error()}
	}
	response, err := c.transport.RoundTrip(outgoing)
	if err != nil {
		return sample{failure: classify(err), detail: err.Error()}
	}
	defer response.Body.Close()
	s := sample{status: response.StatusCode, slot: response.Header.Get(router.SlotHeader)}
	excerpt, err := read(response.Body)
	switch {
	case err != nil:
		s.failure, s.detail = "answer cut short: "+classify(err), err.Error()
	case attempts > 1:
		s.failure, s.detail = connectionClosed, "the kept connection was closed under the request; net/http sent it again, a browser may not"
	case !request.Accepts(response.StatusCode):
		s.failure, s.detail = fmt.Sprintf("status %d", response.StatusCode), excerpt
	}
	return s
}

// read reads an answer to its end and keeps its beginning.
func read(body io.Reader) (excerpt string, err error) {
	head, err := io.ReadAll(io.LimitReader(body, maxExcerpt))
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	return Excerpt(head), err
}

const connectionClosed = "connection closed"

// classify names what went wrong in a few fixed words: they are counted.
func classify(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		strings.Contains(err.Error(), "server closed idle connection"): // net/http does not export it
		return connectionClosed
	default:
		return "other"
	}
}

// Excerpt makes bytes of an answer fit to be shown: printable, one line, at most 300 bytes.
func Excerpt(body []byte) string {
	if len(body) > maxExcerpt {
		body = body[:maxExcerpt]
	}
	text := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, string(body))
	return strings.Join(strings.Fields(text), " ")
}
