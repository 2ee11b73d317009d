package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// Ready waits until every unit answers 200 on its health and ready paths, within the unit's Start, and contains the
// release's version on its version path. A unit without any of the paths must answer anything below 500 on its first
// route; one without routes is ready when it is alive. The first unit that fails ends the wait for all.
func (v *Verifier) Ready(ctx context.Context, instance deploy.Instance, alive func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var one sync.Mutex // alive is called by one unit at a time
	check := func() error {
		one.Lock()
		defer one.Unlock()
		if alive == nil {
			return nil
		}
		return alive()
	}
	var units sync.WaitGroup
	for _, unit := range instance.Release.Units {
		units.Go(func() {
			err := v.unitReady(ctx, instance, unit, check)
			var ended *endedError
			if errors.As(err, &ended) {
				cancel(ended.error) // alive says which unit it was: it need not be the one that is asked
			} else if err != nil {
				cancel(fmt.Errorf("%s: %w", unit.Component, err))
			}
		})
	}
	units.Wait()
	return context.Cause(ctx)
}

func (v *Verifier) unitReady(ctx context.Context, instance deploy.Instance, unit deploy.Unit, alive func() error) error {
	endpoint := instance.Endpoints[unit.Component]
	probes := probesOf(unit)
	if endpoint == nil {
		if len(probes) > 0 {
			return errors.New("it has no endpoint; the target did not say where it listens")
		}
		return alive()
	}
	bound := unit.Start
	if bound == 0 {
		bound = DefaultStart
	}
	started := time.Now()
	waiting, stop := context.WithTimeout(ctx, bound)
	defer stop()
	for _, probe := range probes {
		if err := v.poll(ctx, waiting, endpoint, probe, alive, started); err != nil {
			return err
		}
	}
	return v.serves(ctx, endpoint, unit.Version, instance.Release.Version)
}

// endedError says that a unit of the instance has ended.
type endedError struct{ error }

func (e *endedError) Unwrap() error { return e.error }

// probe is a path that must answer.
type probe struct {
	path string
	any  bool // any status below 500 will do
}

func probesOf(unit deploy.Unit) []probe {
	var probes []probe
	for _, path := range []string{unit.Health, unit.Ready} {
		if path != "" && (len(probes) == 0 || probes[0].path != path) {
			probes = append(probes, probe{path: path})
		}
	}
	if len(probes) == 0 && len(unit.Routes) > 0 {
		probes = append(probes, probe{path: unit.Routes[0], any: true})
	}
	return probes
}

// poll asks until the probe passes. waiting ends at the unit's deadline, ctx when nobody waits any more.
func (v *Verifier) poll(ctx, waiting context.Context, endpoint *url.URL, probe probe, alive func() error, started time.Time) error {
	pause, last := firstPoll, ""
	for {
		if err := alive(); err != nil {
			return &endedError{err}
		}
		asking, cancel := context.WithTimeout(waiting, probeTimeout)
		ok, answer := v.ask(asking, endpoint, probe)
		cancel()
		if ok {
			return nil
		}
		if waiting.Err() == nil || last == "" {
			last = answer // one that the deadline cut off says less than the one before
		}
		if !sleep(waiting, pause) {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("not ready after %s: %s; read its log, correct the path or give it longer with serve.start",
				time.Since(started).Round(100*time.Millisecond), last)
		}
		pause = min(2*pause, lastPoll)
	}
}

// ask sends one probe. answer says what came back: "GET /readyz answered 503: database unreachable".
func (v *Verifier) ask(ctx context.Context, endpoint *url.URL, probe probe) (ok bool, answer string) {
	status, body, err := v.get(ctx, endpoint, probe.path)
	if err != nil {
		return false, fmt.Sprintf("GET %s: %s", probe.path, plain(err))
	}
	answer = fmt.Sprintf("GET %s answered %d", probe.path, status)
	if excerpt := traffic.Excerpt(body); excerpt != "" {
		answer += ": " + excerpt
	}
	return status == http.StatusOK || probe.any && status < http.StatusInternalServerError, answer
}

// serves checks that the instance is the release, not an older process that kept the port.
func (v *Verifier) serves(ctx context.Context, endpoint *url.URL, path, version string) error {
	if path == "" || version == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, body, err := v.get(ctx, endpoint, path)
	if err != nil {
		return fmt.Errorf("GET %s: %s", path, plain(err))
	}
	if status != http.StatusOK || !strings.Contains(string(body), version) {
		return fmt.Errorf("GET %s answered %d %q, which does not contain the release %s; build the version into the application or correct serve.version",
			path, status, traffic.Excerpt(body), version)
	}
	return nil
}

func (v *Verifier) get(ctx context.Context, endpoint *url.URL, path string) (status int, body []byte, err error) {
	request, err := traffic.Request{Method: http.MethodGet, Path: path}.To(ctx, endpoint.String())
	if err != nil {
		return 0, nil, err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, body, err
}

// plain says a connection error in words.
func plain(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	default:
		return err.Error()
	}
}
