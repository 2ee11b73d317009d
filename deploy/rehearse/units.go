package rehearse

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/metaextract/pipeline/deploy"
)

// units lists what a slot runs of a built application: every component that has a serve section.
func units(app Application, b built, services map[string]string) ([]deploy.Unit, error) {
	var all []deploy.Unit
	for _, name := range slices.Sorted(maps.Keys(app.Config.Components)) {
		c := app.Config.Components[name]
		if c.Serve == nil {
			continue
		}
		step, ok := b.plan.BuildOf(name)
		if !ok {
			return nil, fmt.Errorf("component %s is served but not built", name)
		}
		artifact, err := b.builder.Artifact(step)
		if err != nil {
			return nil, fmt.Errorf("artifact of %s: %w", name, err)
		}
		env := map[string]string{"RELEASE": app.Version}
		maps.Copy(env, services)
		maps.Copy(env, c.Env)
		all = append(all, deploy.Unit{
			Component: name, Artifact: artifact, Dir: path.Clean(c.Path), Command: c.Serve.Command, Static: c.Serve.Static, Env: env,
			Routes: c.Serve.Routes, Port: c.Serve.Port, Health: c.Serve.Health, Ready: c.Serve.Ready, Version: c.Serve.Version,
			Start: c.Serve.Start, Stop: c.Serve.Stop,
		})
	}
	return all, nil
}
