package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Cluster starts scratch servers for the proof of backups and for rehearsals, as services of the engine from the image of the
// server's own major version.
type Cluster struct {
	Client *dagger.Client
}

var _ backup.Cluster = (*Cluster)(nil)

// Start implements backup.Cluster.
func (c *Cluster) Start(ctx context.Context, like backup.Server) (backup.Scratch, error) {
	settings := maps.Clone(like.Settings)
	maps.Copy(settings, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"})
	args := []string{"postgres"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	key, password := rand.Text(), rand.Text()
	service, err := c.Client.Container().From(fmt.Sprintf("%s:%d", postgresImage, like.Major)).
		WithEnvVariable("PIPELINE_KEY", key).
		WithEnvVariable("POSTGRES_INITDB_ARGS", initdb).
		WithSecretVariable("POSTGRES_PASSWORD", c.Client.SetSecret("password/"+key, password)).
		WithDockerHealthcheck([]string{"pg_isready", "-q", "-h", "127.0.0.1"}, healthcheck).
		WithExposedPort(postgresPort).
		AsService(dagger.ContainerAsServiceOpts{Args: args, UseEntrypoint: true}).Start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL %d: %w", like.Major, err)
	}
	host, err := service.Hostname(ctx)
	if err != nil {
		_, _ = service.Stop(context.WithoutCancel(ctx), dagger.ServiceStopOpts{Kill: true})
		return nil, fmt.Errorf("find PostgreSQL %d: %w", like.Major, err)
	}
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password), Host: fmt.Sprintf("%s:%d", host, postgresPort), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return &scratchServer{service, address.String()}, nil
}

// scratchServer is a service to throw away.
type scratchServer struct {
	service *dagger.Service
	url     string
}

// URL implements backup.Scratch.
func (s *scratchServer) URL() string { return s.url }

// Close implements backup.Scratch.
func (s *scratchServer) Close(ctx context.Context) error {
	if _, err := s.service.Stop(context.WithoutCancel(ctx), dagger.ServiceStopOpts{Kill: true}); err != nil {
		return fmt.Errorf("stop the scratch server: %w", err)
	}
	return nil
}
