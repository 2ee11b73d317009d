// Package control drives a router that runs in another process, over a unix socket that only its owner may use: JSON over
// HTTP, one endpoint a verb. Client implements deploy.Splitter, so that a deployment does not know where its router is.
//
// The paths begin with the protocol's version. A request's body is one JSON value without unknown keys, of at most 1 MiB;
// where it says nothing, none is needed. Limits are whole milliseconds.
//
//	PUT    /v1/slots/{slot}    register an instance at weight 0   {"release": "v2", "backends": [{"component", "url", "routes"}]}
//	DELETE /v1/slots/{slot}    forget it
//	PUT    /v1/weights         {"blue": 90, "green": 10}
//	POST   /v1/drain/{slot}    {"limit_ms": 30000} -> {"left": 0, "websockets": 3, "events": 1}
//	POST   /v1/pause           {"limit_ms": 5000}
//	POST   /v1/resume          -> {"held": true}
//	GET    /v1/rules           -> router.Routing
//	PUT    /v1/rules           router.Routing: replaces all
//	PUT    /v1/mirror          router.Mirror
//	DELETE /v1/mirror          ends it
//	GET    /v1/status          -> router.Status
//	GET    /v1/records/{slot}  -> router.Batch
//	GET    /v1/metrics         -> Prometheus text format 0.0.4
//	POST   /v1/handover        gives the listeners to the process that asks; see TakeOver
//
// Records are read with the query stream, after (of the batch before: "next"), limit (records) and wait_ms (how long to
// wait for the first one, at most 60000). Reading again from the same cursor gives the same records while they are kept.
//
// A refusal is {"reason", "error", "do"} with status 400 (invalid), 404 (unknown) or 409 (conflict). Whatever else goes
// wrong has no reason and status 500.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
)

// version is the protocol's, as a path.
const version = "/v1"

// maxMessage bounds a request: a release has few components.
const maxMessage = 1 << 20

// maxAnswer bounds an answer: a batch of records is the largest.
const maxAnswer = 16 << 20

// Limit bounds a wait. Zero, or none at all, waits as long as the client does.
type limitMessage struct {
	Milliseconds int64 `json:"limit_ms"`
}

type heldMessage struct {
	Held bool `json:"held"`
}

// maxLimit keeps a limit from overflowing a time.Duration.
const maxLimit = 24 * time.Hour

// maxPoll bounds how long a reader of records waits in one request.
const maxPoll = time.Minute

func (m limitMessage) duration() (time.Duration, error) {
	if m.Milliseconds < 0 || m.Milliseconds > int64(maxLimit/time.Millisecond) {
		return 0, &router.Error{
			Reason: router.Invalid, What: fmt.Sprintf("limit_ms is %d", m.Milliseconds),
			Do: fmt.Sprintf("give milliseconds from 0 to %d", maxLimit/time.Millisecond),
		}
	}
	return time.Duration(m.Milliseconds) * time.Millisecond, nil
}

// poll is what a reader of records asks for.
type poll struct {
	from  router.Cursor
	limit int
	wait  time.Duration
}

func (p poll) query() string {
	return url.Values{
		"stream": {p.from.Stream}, "after": {strconv.FormatUint(p.from.After, 10)},
		"limit": {strconv.Itoa(p.limit)}, "wait_ms": {strconv.FormatInt(p.wait.Milliseconds(), 10)},
	}.Encode()
}

func parsePoll(query url.Values) (p poll, err error) {
	wrong := func(name string) error {
		return &router.Error{Reason: router.Invalid, What: fmt.Sprintf("%s is %q", name, query.Get(name)), Do: "see the package documentation"}
	}
	for name := range query {
		switch name {
		case "stream", "after", "limit", "wait_ms":
		default:
			return p, wrong(name)
		}
	}
	p.from.Stream = query.Get("stream")
	if text := query.Get("after"); text != "" {
		if p.from.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return p, wrong("after")
		}
	}
	if text := query.Get("limit"); text != "" {
		if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 0 {
			return p, wrong("limit")
		}
	}
	if text := query.Get("wait_ms"); text != "" {
		wait, err := strconv.ParseInt(text, 10, 64)
		if err != nil || wait < 0 || wait > maxPoll.Milliseconds() {
			return p, wrong("wait_ms")
		}
		p.wait = time.Duration(wait) * time.Millisecond
	}
	return p, nil
}

// decode reads exactly one JSON value of a known shape. A mistyped key is an error: it would be a change that is not made.
func decode(body io.Reader, into any) error {
	data, err := io.ReadAll(io.LimitReader(body, maxMessage+1))
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return &router.Error{Reason: router.Invalid, What: "the request is over 1 MiB", Do: "send one registration at a time"}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &router.Error{Reason: router.Invalid, What: "the request is not what this endpoint reads: " + err.Error(), Do: "see the package documentation"}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &router.Error{Reason: router.Invalid, What: "the request has more than one JSON value", Do: "send one"}
	}
	return nil
}

// statusOf is a reason as an HTTP status.
func statusOf(reason router.Reason) int {
	switch reason {
	case router.Invalid:
		return http.StatusBadRequest
	case router.Unknown:
		return http.StatusNotFound
	case router.Conflict:
		return http.StatusConflict
	default:
		return http.StatusInternalServerError
	}
}
