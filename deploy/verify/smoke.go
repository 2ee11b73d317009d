package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// Smoke sends every request once, one after another as they are listed, to the component that serves its path. The error
// names all that failed.
func (v *Verifier) Smoke(ctx context.Context, instance deploy.Instance) error {
	routes, err := router.NewRoutes(instance.Release.Units)
	if err != nil {
		return fmt.Errorf("smoke test: %w", err)
	}
	var failures []error
	for _, request := range v.options.Requests {
		if err := v.try(ctx, instance, routes, request); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("smoke test: %w", context.Cause(ctx))
			}
			failures = append(failures, fmt.Errorf("%s: %w", request.Name, err))
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("smoke test: %d of %d requests failed\n%w", len(failures), len(v.options.Requests), errors.Join(failures...))
	}
	return nil
}

func (v *Verifier) try(ctx context.Context, instance deploy.Instance, routes router.Routes, request traffic.Request) error {
	outgoing, err := request.To(ctx, "http://instance")
	if err != nil {
		return err
	}
	component, ok := routes.Component(outgoing.URL.Path)
	endpoint := instance.Endpoints[component]
	if !ok || endpoint == nil {
		return fmt.Errorf("no component serves %s; add the prefix to serve.routes of one or correct the path", request.Path)
	}
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	if outgoing, err = request.To(ctx, endpoint.String()); err != nil {
		return err
	}
	response, err := v.client.Do(outgoing)
	if err != nil {
		return fmt.Errorf("%s %s of %s: %s", request.Method, request.Path, component, plain(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: answer cut short: %s", request.Method, request.Path, component, plain(err))
	}
	if request.Accepts(response.StatusCode) {
		return nil
	}
	want := "below 400"
	if request.Expect != 0 {
		want = fmt.Sprint(request.Expect)
	}
	return fmt.Errorf("%s %s of %s answered %d instead of %s: %s", request.Method, request.Path, component,
		response.StatusCode, want, traffic.Excerpt(body))
}
