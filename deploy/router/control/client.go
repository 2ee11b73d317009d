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
	drained, err := c.DrainSlot(ctx, slot)
	return drained.Left, err
}

// DrainSlot is Router.DrainSlot, in the way of Drain.
func (c *Client) DrainSlot(ctx context.Context, slot deploy.Slot) (drained router.Drained, err error) {
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
	if err := c.call(calling, http.MethodPost, "drain", slot, limit, &drained); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("drain slot %s: %w", slot, context.Cause(ctx))
		}
		return drained, err
	}
	if drained.Left > 0 {
		return drained, fmt.Errorf("drain slot %s: %d requests in flight: %w", slot, drained.Left, context.DeadlineExceeded)
	}
	return drained, nil
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

// SetRules is Router.SetRules.
func (c *Client) SetRules(ctx context.Context, routing router.Routing) error {
	if routing.Rules == nil {
		routing.Rules = []router.Rule{}
	}
	return c.call(ctx, http.MethodPut, "rules", "", routing, nil)
}

// Rules is Router.Rules.
func (c *Client) Rules(ctx context.Context) (routing router.Routing, err error) {
	err = c.call(ctx, http.MethodGet, "rules", "", nil, &routing)
	return routing, err
}

// SetMirror is Router.SetMirror.
func (c *Client) SetMirror(ctx context.Context, mirror *router.Mirror) error {
	if mirror == nil {
		return c.call(ctx, http.MethodDelete, "mirror", "", nil, nil)
	}
	return c.call(ctx, http.MethodPut, "mirror", "", mirror, nil)
}

// pollWait is how long Records waits in one request. The end of ctx is no error there, and a request that it cuts off would
// lose what the router has just answered.
const pollWait = 10 * time.Second

// pollSlack is what the answer to a poll may take beyond the wait: 10,000 records are some 3 MB, and the machine may be busy
// with a release that starts.
const pollSlack = 10 * time.Second

// Records is Router.Records: with a deadline that has passed it asks once, for what there is. A reader that was killed goes
// on with the last cursor it kept.
func (c *Client) Records(ctx context.Context, slot deploy.Slot, from router.Cursor, limit int) (batch router.Batch, err error) {
	p := poll{from: from, limit: limit, wait: pollWait}
	batch.Next, batch.Records = from, []router.Record{}
	for len(batch.Records) == 0 && batch.Lost == 0 && !errors.Is(ctx.Err(), context.Canceled) {
		if deadline, ok := ctx.Deadline(); ok {
			p.wait = max(0, min(pollWait, time.Until(deadline)))
		}
		p.from = batch.Next
		next, err := c.poll(ctx, slot, p)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			return batch, err
		}
		if err == nil {
			next.Restart = next.Restart || batch.Restart
			batch = next
		}
		if ctx.Err() != nil {
			break
		}
	}
	return batch, nil
}

// poll waits a little longer than the router does.
func (c *Client) poll(ctx context.Context, slot deploy.Slot, p poll) (batch router.Batch, err error) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.wait+pollSlack)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})()
	err = c.call(patient, http.MethodGet, "records", slot, p, &batch)
	return batch, err
}

// WriteMetrics is Router.WriteMetrics.
func (c *Client) WriteMetrics(ctx context.Context, to io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://router"+version+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	_, err = io.Copy(to, io.LimitReader(response.Body, maxAnswer))
	return err
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "dial" {
		return fmt.Errorf("reach the router at %s: %w; is it running?", c.socket, operation.Err)
	}
	return fmt.Errorf("ask the router at %s: %w", c.socket, err)
}

func (c *Client) call(ctx context.Context, method, noun string, slot deploy.Slot, message, into any) error {
	path := version + "/" + noun
	if slot != "" {
		path += "/" + url.PathEscape(string(slot))
	}
	if p, ok := message.(poll); ok {
		path, message = path+"?"+p.query(), nil
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
		return c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
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
