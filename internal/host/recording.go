package host

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/migrations/corpus"
)

// startRecording starts a PostgreSQL server that records the statements that are sent to it, where this machine's
// PostgreSQL comes with the library for that (Debian's and Homebrew's do); otherwise one that does not.
func startRecording(ctx context.Context, dir string, options PostgresOptions) (*Postgres, error) {
	without := options
	options.Settings = maps.Clone(options.Settings)
	if options.Settings == nil {
		options.Settings = map[string]string{}
	}
	options.Settings["shared_preload_libraries"] = "pg_stat_statements"
	server, err := StartPostgres(ctx, dir, options)
	if err != nil && strings.Contains(err.Error(), "could not access file") {
		return StartPostgres(ctx, dir, without)
	}
	if err != nil {
		return nil, err
	}
	// The extension is made in a database of its own, so that it is no part of the application's schema.
	conn, err := pgx.Connect(ctx, server.URL(superuser))
	if err == nil {
		err = corpus.Enable(ctx, conn)
		conn.Close(context.WithoutCancel(ctx))
	}
	if err != nil && !errors.Is(err, corpus.ErrNotLoaded) {
		return nil, errors.Join(err, server.Close())
	}
	return server, nil
}

// recorded are the statements that were sent to a database, as corpus writes them; nil where they are not recorded.
func (s *Postgres) recorded(ctx context.Context, database, source string) ([]byte, error) {
	conn, err := pgx.Connect(ctx, s.URL(superuser))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	list, err := corpus.Read(ctx, conn, source, database)
	if errors.Is(err, corpus.ErrNotLoaded) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := corpus.Encode(&text, list); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// recorder is a service that knows what was sent to it.
type recorder interface {
	statements(ctx context.Context) ([]byte, error)
}

// recordings adds what a step's services have recorded to its reports. That they cannot be read is told in the step's log,
// and is no failure of the step.
func (e *execution) recordings(ctx context.Context) {
	for i, s := range e.services {
		r, ok := s.(recorder)
		if !ok {
			continue
		}
		data, err := r.statements(ctx)
		switch {
		case err != nil:
			e.note("the statements of the step could not be read: %s", e.redactor.Bytes([]byte(err.Error())))
		case data != nil:
			e.result.Reports = append(e.result.Reports, ci.ReportFile{Report: ci.Report{Format: ci.Statements, Path: e.step.Services[i].Env}, Data: data})
		}
	}
}
