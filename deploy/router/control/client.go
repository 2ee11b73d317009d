package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// Client drives a router over its socket. What the router refuses is a *router.Error.
type Client struct {
	socket string
	http   *http.Client
}

var _ deploy.Splitter = (*Client)(nil)

// NewClient makes a client of the router behind a socket. It connects for each call.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Register implements deploy.Splitter.
func (c *Client) Register(ctx context.Context, instance deploy.Instance) error {
	registration, err := router.NewRegistration(instance)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, "slots", instance.Slot, registration, nil)
}

// Shift implements deploy.Splitter.
func (c *Client) Shift(ctx context.Context, weights map[deploy.Slot]int) error {
	return c.call(ctx, http.MethodPut, "weights", "", weights, nil)
}

// drainSlack is what the answer to a drain may take beyond the drain itself.
const drainSlack = 2 * time.Second

// Drain implements deploy.Splitter. The router is told ctx's deadline and answers at it, so that how many are left is
// known; only a cancellation breaks the call off.
func (c *Client) Drain(ctx context.Context, slot deploy.Slot) (left int, err error) {
	var limit limitMessage
	calling := ctx
	if deadline, ok := ctx.Deadline(); ok {
		limit.Milliseconds = max(1, min(time.Until(deadline), maxLimit).Milliseconds())
		patient, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(drainSlack))
		defer cancel()
		calling = patient
		defer context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.Canceled) {
				cancel()
			}
		})()
	}
	var answer leftMessage
	if err := c.call(calling, http.MethodPost, "drain", slot, limit, &answer); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("drain slot %s: %w", slot, context.Cause(ctx))
		}
		return 0, err
	}
	if answer.Left > 0 {
		return answer.Left, fmt.Errorf("drain slot %s: %d requests in flight: %w", slot, answer.Left, context.DeadlineExceeded)
	}
	return 0, nil
}

// Remove implements deploy.Splitter.
func (c *Client) Remove(ctx context.Context, slot deploy.Slot) error {
	return c.call(ctx, http.MethodDelete, "slots", slot, nil, nil)
}

// Pause is Router.Pause.
func (c *Client) Pause(ctx context.Context, limit time.Duration) error {
	return c.call(ctx, http.MethodPost, "pause", "", limitMessage{limit.Milliseconds()}, nil)
}

// Resume is Router.Resume.
func (c *Client) Resume(ctx context.Context) (stillHeld bool, err error) {
	var answer heldMessage
	err = c.call(ctx, http.MethodPost, "resume", "", nil, &answer)
	return answer.Held, err
}

// Status is Router.Stats.
func (c *Client) Status(ctx context.Context) (router.Status, error) {
	var status router.Status
	err := c.call(ctx, http.MethodGet, "status", "", nil, &status)
	return status, err
}

func (c *Client) call(ctx context.Context, method, noun string, slot deploy.Slot, message, into any) error {
	path := "/" + noun
	if slot != "" {
		path += "/" + url.PathEscape(string(slot))
	}
	var body io.Reader
	if message != nil {
		data, err := json.Marshal(message)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://router"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var operation *net.OpError
		if errors.As(err, &operation) && operation.Op == "dial" {
			return fmt.Errorf("reach the router at %s: %w; is it running?", c.socket, operation.Err)
		}
		return fmt.Errorf("ask the router at %s: %w", c.socket, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
	if err != nil {
		return fmt.Errorf("read the answer of the router at %s: %w", c.socket, err)
	}
	if response.StatusCode != http.StatusOK {
		var refused router.Error
		if json.Unmarshal(data, &refused) != nil || refused.What == "" {
			return fmt.Errorf("the router at %s answered %s to %s %s; is it another version?", c.socket, response.Status, method, path)
		}
		return &refused
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}
