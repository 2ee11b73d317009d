package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/keys"
)

// The phases of what happens to Redis.
const (
	oldKeys     = "running release"
	migrateKeys = "migrate"
	startKeys   = "start"
	newKeys     = "new release"
)

// redis watches the keys that the running release and the new one share. A nil redis watches nothing: the application has
// none.
type redis struct {
	run    *run
	watch  *keys.Watch
	prefix string
}

// openRedis begins to watch, where there is a server.
func (r *run) openRedis(ctx context.Context, services map[string]string) (*redis, error) {
	service, ok := r.Release.Config.Services[config.Redis]
	if !ok {
		return nil, nil
	}
	w, err := keys.Open(ctx, services[service.Env])
	if err != nil {
		return nil, err
	}
	return &redis{run: r, watch: w, prefix: service.Prefix}, nil
}

func (r *redis) close() {
	if r != nil {
		r.watch.Close()
	}
}

// mark ends a phase.
func (r *redis) mark(ctx context.Context, phase string) error {
	if r == nil {
		return nil
	}
	return r.watch.Mark(ctx, phase)
}

// judge says why the new release must not stay, from what both did to the keys; what is worth a look is a note in the
// report.
func (r *redis) judge(ctx context.Context) error {
	if r == nil {
		return nil
	}
	found, err := r.watch.Findings(ctx, keys.Options{
		Prefix: r.prefix, Releases: map[string]string{oldKeys: r.run.Running.Version, newKeys: r.run.Release.Version},
	})
	if err != nil {
		return err
	}
	var refusals []string
	for _, f := range found {
		if f.Level == finding.Refuse {
			refusals = append(refusals, fmt.Sprintf("Redis: %s", f))
			continue
		}
		note := fmt.Sprintf("Redis, %s: %s", f.Level, f)
		if f.Fix != "" {
			note += "; " + f.Fix
		}
		r.run.out.Notes = append(r.run.out.Notes, note)
	}
	if len(refusals) > 0 {
		return errors.New(strings.Join(refusals, "\n"))
	}
	return nil
}
