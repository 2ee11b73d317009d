// Package control drives a router that runs in another process, over a unix socket that only its owner may use: JSON over
// HTTP, one endpoint a verb. Client implements deploy.Splitter, so that a deployment does not know where its router is.
//
//	PUT    /slots/{slot}   register an instance at weight 0   {"release": "v2", "backends": [{"component", "url", "routes"}]}
//	DELETE /slots/{slot}   forget it
//	PUT    /weights        {"blue": 90, "green": 10}
//	POST   /drain/{slot}   {"limit_ms": 30000} -> {"left": 0}
//	POST   /pause          {"limit_ms": 5000}
//	POST   /resume         -> {"held": true}
//	GET    /status         -> router.Status
//
// A refusal is {"reason", "error", "do"} with status 400 (invalid), 404 (unknown) or 409 (conflict).
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
)

// maxMessage bounds a request: a release has few components.
const maxMessage = 1 << 20

// Limit bounds a wait. Zero, or none at all, waits as long as the client does.
type limitMessage struct {
	Milliseconds int64 `json:"limit_ms"`
}

type leftMessage struct {
	Left int `json:"left"`
}

type heldMessage struct {
	Held bool `json:"held"`
}

// maxLimit keeps a limit from overflowing a time.Duration.
const maxLimit = 24 * time.Hour

func (m limitMessage) duration() (time.Duration, error) {
	if m.Milliseconds < 0 || m.Milliseconds > int64(maxLimit/time.Millisecond) {
		return 0, &router.Error{
			Reason: router.Invalid, What: fmt.Sprintf("limit_ms is %d", m.Milliseconds),
			Do: fmt.Sprintf("give milliseconds from 0 to %d", maxLimit/time.Millisecond),
		}
	}
	return time.Duration(m.Milliseconds) * time.Millisecond, nil
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
