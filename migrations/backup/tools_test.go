package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childVariable); task != "" {
		os.Exit(child(task))
	}
	pgtest.Main(m)
}

// tools is a Dumper of PostgreSQL's own programs, with something in the way where a test wants it.
type tools struct {
	testing.TB
	programs string // directory of PostgreSQL's; found where empty
	version  Version
	dumping  func()              // before pg_dump starts
	dumped   func([]byte) []byte // what it wrote, before anything else sees it
	loading  func(file string)   // before pg_restore starts
	restored func(url string)    // after it
	load     *Load               // of the last restore
}

func (d tools) path(program string) string {
	if d.programs != "" {
		return filepath.Join(d.programs, program)
	}
	return pgtest.Binary(d, program)
}

func (d tools) Version(context.Context, string) (Version, error) {
	if d.version.Major != 0 {
		return d.version, nil
	}
	out, err := exec.Command(d.path("pg_dump"), "--version").Output()
	full := strings.TrimSpace(strings.TrimPrefix(string(out), "pg_dump (PostgreSQL) "))
	major, _, _ := strings.Cut(full, ".")
	n, _ := strconv.Atoi(major)
	return Version{Major: n, Full: full}, err
}

func (d tools) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	if d.dumping != nil {
		d.dumping()
	}
	if d.dumped == nil {
		return run(exec.CommandContext(ctx, d.path("pg_dump"), "-Fc", "-Z1", "--snapshot="+snapshot, "-d", url), w)
	}
	var all bytes.Buffer
	if err := run(exec.CommandContext(ctx, d.path("pg_dump"), "-Fc", "-Z1", "--snapshot="+snapshot, "-d", url), &all); err != nil {
		return err
	}
	_, err := w.Write(d.dumped(all.Bytes()))
	return err
}

func (d tools) Restore(ctx context.Context, url, file string, load Load) error {
	if d.loading != nil {
		d.loading(file)
	}
	if d.load != nil {
		*d.load = load
	}
	args := []string{"--exit-on-error", "-j", strconv.Itoa(load.Jobs), "-d", url, file}
	if !load.Tablespaces {
		args = append(args, "--no-tablespaces")
	}
	if !load.Roles {
		args = append(args, "--no-owner", "--no-privileges")
	}
	if err := run(exec.CommandContext(ctx, d.path("pg_restore"), args...), nil); err != nil {
		return err
	}
	if d.restored != nil {
		d.restored(url)
	}
	return ctx.Err()
}

func run(c *exec.Cmd, out io.Writer) error {
	var complaint strings.Builder
	c.Stdout, c.Stderr = out, &complaint
	if err := c.Run(); err != nil {
		line, _, _ := strings.Cut(complaint.String(), "\n")
		return fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, line)
	}
	return nil
}

// clusters starts servers of the version that is tested with.
type clusters struct {
	testing.TB
	like *Server // that the last was asked to be like
}

func (c *clusters) Start(_ context.Context, like Server) (Scratch, error) {
	c.like = &like
	return cluster{pgtest.Start(c, like.Settings)}, nil
}

type cluster struct{ *pgtest.Cluster }

func (c cluster) URL() string { return c.Cluster.URL }

func (c cluster) Close(context.Context) error {
	c.Stop()
	return nil
}

func scratchDatabases(t testing.TB) string {
	return pgtest.Value(t, pgtest.Server(t), `SELECT count(*) FROM pg_database WHERE datname LIKE 'pipeline\_scratch\_%'`)
}

// options back a database up with the proof beside it.
func options(t testing.TB, address string) Options {
	return Options{URL: address, Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Temp: t.TempDir(), Jobs: 1}
}
