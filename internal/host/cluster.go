package host

import (
	"context"
	"maps"
	"strings"

	"github.com/metaextract/pipeline/migrations/backup"
)

// Cluster starts scratch servers for the proof of backups and for rehearsals, as processes of this machine. Each has a
// cluster of its own, which goes with it.
type Cluster struct {
	// CacheDir is the cache that initialised clusters are kept in. Empty means the default cache.
	CacheDir string
}

var _ backup.Cluster = Cluster{}

// Start starts a server of the same major version, or of the next one there is on this machine. Where there is an older one
// only, the error says what to install. A library that the server would preload but that is not on this machine is left
// out: what was asked for and what runs are compared by the caller.
func (c Cluster) Start(ctx context.Context, like backup.Server) (backup.Scratch, error) {
	settings := maps.Clone(like.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	settings["autovacuum"] = "off" // nothing of it may run between two measurements; who needs statistics says ANALYZE
	options := PostgresOptions{CacheDir: c.CacheDir, Major: like.Major, Settings: settings}
	server, err := StartPostgres(ctx, "", options)
	if err != nil && settings["shared_preload_libraries"] != "" && strings.Contains(err.Error(), "could not access file") {
		delete(settings, "shared_preload_libraries")
		server, err = StartPostgres(ctx, "", options)
	}
	if err != nil {
		return nil, err
	}
	return scratchServer{server}, nil
}

// scratchServer is a server that is thrown away.
type scratchServer struct{ *Postgres }

// URL is that of the server's own database, as its superuser.
func (s scratchServer) URL() string { return s.Postgres.URL("postgres") }

// Close stops the server and removes its data.
func (s scratchServer) Close(context.Context) error { return s.Postgres.Close() }
