package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"
)

// observed says when a request has been sent, and which.
type observed struct {
	net.Conn
	at func(point string)
}

func (o *observed) Write(data []byte) (int, error) {
	n, err := o.Conn.Write(data)
	method, _, _ := bytes.Cut(data, []byte(" "))
	o.at("sent: " + string(method))
	return n, err
}

// awayError is that no supervisor answers: nothing has been asked.
type awayError struct {
	socket string
	err    error
}

func (e *awayError) Error() string {
	return fmt.Sprintf("reach the supervisor at %s: %v; is it running?", e.socket, e.err)
}

func (e *awayError) Unwrap() error { return e.err }

func isAway(err error) bool {
	var away *awayError
	return errors.As(err, &away)
}

// cutOff says that a supervisor was asked and gone before it answered.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Bounds of a request, beside ctx. A stop is bounded by its units, a down by downLimit.
const (
	askLimit   = 30 * time.Second // answered at once
	startLimit = 5 * time.Minute  // a start or a restore: of processes, not of their readiness
)

// call asks the supervisor. While a keeper replaces it, what has not been asked waits for the next one, and what can be
// asked twice is: all but a start.
func (c *Client) call(ctx context.Context, method, path string, message, into any) error {
	limit := downLimit
	switch message.(type) {
	case nil:
		limit = askLimit
	case startMessage, restoreMessage:
		limit = startLimit
	case stopMessage:
		limit = maxLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var body []byte
	if message != nil {
		var err error
		if body, err = json.Marshal(message); err != nil {
			return err
		}
	}
	for began := time.Now(); ; {
		err := c.ask(ctx, method, path, body, into)
		if !isAway(err) && (method == http.MethodPut || !cutOff(err)) || !c.kept() || time.Since(began) > launchLimit {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lockInterval):
		}
	}
}

// kept says whether there is a keeper that will replace the supervisor.
func (c *Client) kept() bool { return c.keeper != 0 && syscall.Kill(c.keeper, 0) == nil }

func (c *Client) ask(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+version+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	socket := filepath.Join(c.options.Dir, socketFile)
	response, err := c.http.Do(request)
	if err != nil {
		var operation *net.OpError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &operation) && operation.Op == "dial":
			return &awayError{socket, operation.Err}
		}
		return fmt.Errorf("ask the supervisor at %s: %w", socket, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
	if err != nil {
		return fmt.Errorf("read the answer of the supervisor at %s: %w", socket, err)
	}
	if response.StatusCode != http.StatusOK {
		var refused Error
		if json.Unmarshal(data, &refused) != nil || refused.What == "" {
			return fmt.Errorf("the supervisor at %s answered %s to %s %s; is it another version? `pipeline down` ends it", socket, response.Status, method, path)
		}
		return &refused
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}
