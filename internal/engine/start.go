package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/verify"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Build builds the components of an application that are served, or one, and returns their images by component. The report
// is of the build; without a proven one there are no images.
func Build(ctx context.Context, app *Application, options StageOptions, image ImageOptions) (map[string]*dagger.Container, *report.Report, error) {
	options.Kinds = []ci.Kind{ci.Install, ci.Build}
	r, runner, err := Stage(ctx, app, options)
	if err != nil || r.Verdict != report.Proven {
		return nil, r, err
	}
	plan, err := ci.NewPlan(app.Config, app.Files, options.Images)
	if err != nil {
		return nil, r, err
	}
	images := map[string]*dagger.Container{}
	for name, component := range app.Config.Components {
		step, ok := plan.BuildOf(name)
		if !ok || component.Serve == nil || options.Component != "" && options.Component != name {
			continue
		}
		if images[name], err = runner.Image(ctx, app, step, image); err != nil {
			return nil, r, err
		}
	}
	if len(images) == 0 {
		return nil, r, errors.New("no component has a serve section in pipeline.yaml, so there is nothing to make an image of")
	}
	return images, r, nil
}

// StartOnce starts each image once, with the servers the application asks for, and asks it whether it is alive and the
// release it claims to be. Whether it is ready for traffic is the rehearsal's question: that takes a migrated database.
func StartOnce(ctx context.Context, client *dagger.Client, app *Application, images map[string]*dagger.Container) error {
	platform := NewPlatform(PlatformOptions{Client: client})
	platform.images = images
	defer func() { _ = platform.Close(context.WithoutCancel(ctx)) }()
	var needed []ci.Service
	for name, s := range app.Config.Services {
		needed = append(needed, ci.Service{Kind: ci.ServiceKind(name), Version: s.Version, Env: s.Env})
	}
	urls, err := platform.Services(ctx, needed)
	if err != nil {
		return err
	}
	target, err := platform.Target(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close(context.WithoutCancel(ctx)) }()
	instance, err := target.Start(ctx, deploy.Blue, deploy.Release{Version: app.Version, Source: app.Origin, Units: alone(app, images, urls)})
	if err != nil {
		return err
	}
	alive := func() error { return target.Alive(ctx, deploy.Blue) }
	if err := verify.New(verify.Options{}).Ready(ctx, instance, alive); err != nil {
		return fmt.Errorf("an image does not start: %w", err)
	}
	return nil
}

// alone are the units of an application that are only asked for their health.
func alone(app *Application, images map[string]*dagger.Container, urls map[string]string) []deploy.Unit {
	var units []deploy.Unit
	for _, name := range slices.Sorted(maps.Keys(images)) {
		c := app.Config.Components[name]
		env := map[string]string{"RELEASE": app.Version}
		maps.Copy(env, urls)
		maps.Copy(env, c.Env)
		units = append(units, deploy.Unit{
			Component: name, Artifact: name, Dir: c.Path, Command: c.Serve.Command, Static: c.Serve.Static, Env: env,
			Routes: c.Serve.Routes, Port: c.Serve.Port, Health: c.Serve.Health, Version: c.Serve.Version, Start: c.Serve.Start, Stop: c.Serve.Stop,
		})
	}
	return units
}
