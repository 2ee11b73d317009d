package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/process"
)

// debian are the settings of a server as Debian's package makes one, where those of host.StartPostgres differ. Segments of
// the write-ahead log stay at 1 MB instead of 16.
var debian = map[string]string{
	"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "100",
	"dynamic_shared_memory_type": "posix",
}

// start starts a server with Debian's settings, but for some. It is gone with this process, however that ends.
func start(ctx context.Context, others map[string]string) (*host.Postgres, error) {
	settings := maps.Clone(debian)
	maps.Copy(settings, others)
	return host.StartPostgres(ctx, "", host.PostgresOptions{Settings: settings})
}

// execute runs SQL by the simple protocol, which takes several statements, on a session of its own.
func execute(ctx context.Context, address, sql string) error {
	conn, err := pg.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%.60q: %w", sql, pg.Ended(ctx, err))
	}
	return nil
}

// ask returns the one value of a query.
func ask[T any](ctx context.Context, address, sql string, args ...any) (value T, err error) {
	conn, err := pg.Connect(ctx, address)
	if err != nil {
		return value, err
	}
	defer pg.HangUp(ctx, conn)
	err = conn.QueryRow(ctx, sql, args...).Scan(&value)
	return value, pg.Ended(ctx, err)
}

// tool is a client program of PostgreSQL on a database, with what it writes to standard output and error. Its password is
// in the environment.
func tool(address string, said *bytes.Buffer, program string, args ...string) (process.Spec, error) {
	u, err := url.Parse(address)
	if err != nil {
		return process.Spec{}, err
	}
	path, err := find(program)
	if err != nil {
		return process.Spec{}, err
	}
	password, _ := u.User.Password()
	return process.Spec{
		Args: append([]string{path}, args...), Stdout: said, Stderr: said,
		Env: append(os.Environ(), "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(), "PGPASSWORD="+password,
			"PGDATABASE="+strings.TrimPrefix(u.Path, "/"), "PGAPPNAME=bench"),
	}, nil
}

// runTool runs one to its end.
func runTool(ctx context.Context, address, program string, args ...string) error {
	var said bytes.Buffer
	spec, err := tool(address, &said, program, args...)
	if err != nil {
		return err
	}
	if err := process.Run(ctx, spec); err != nil {
		return fmt.Errorf("%w\n%s", err, said.Bytes()[max(0, said.Len()-2000):])
	}
	return nil
}

// find looks where Debian keeps PostgreSQL's programs, the newest first, and then on the PATH.
func find(program string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if len(found) == 0 {
		return exec.LookPath(program)
	}
	return slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) }), nil
}

func major(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}
