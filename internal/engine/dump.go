package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Dumper runs pg_dump and pg_restore in containers of the server's image.
type Dumper struct {
	Client *dagger.Client
	Tag    string // of PostgreSQL's image; pg_dump refuses a server that is newer than itself
}

var _ backup.Dumper = (*Dumper)(nil)

// dumpFile is where the backup is in the container.
const dumpFile = "/backup/dump"

// Version is that of the image. Its full form is not asked for: pg_dump of one major version reads every server of it.
func (d *Dumper) Version(context.Context, string) (backup.Version, error) {
	full := cmp.Or(d.Tag, postgresVersion)
	major, err := strconv.Atoi(strings.SplitN(full, ".", 2)[0])
	if err != nil {
		return backup.Version{}, fmt.Errorf("PostgreSQL %q is no version: its major number comes first", full)
	}
	return backup.Version{Major: major, Full: full}, nil
}

// Dump implements backup.Dumper, compressed as lightly as on a host.
func (d *Dumper) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	args := []string{"pg_dump", "--format=custom", "--compress=1", "--lock-wait-timeout=60s", "--file", dumpFile}
	if snapshot != "" {
		args = append(args, "--snapshot="+snapshot)
	}
	container, err := d.tool(url, d.Client.Directory(), args)
	if err != nil {
		return fmt.Errorf("dump database: %w", err)
	}
	dir, err := os.MkdirTemp("", "dump-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	local := filepath.Join(dir, "dump")
	if _, err := container.File(dumpFile).Export(ctx, local); err != nil {
		return fmt.Errorf("dump database: %w", complained("pg_dump", err))
	}
	file, err := os.Open(local)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

// Restore implements backup.Dumper.
func (d *Dumper) Restore(ctx context.Context, url, file string, load backup.Load) error {
	dir, err := os.MkdirTemp(".", "restore-") // in the working directory: from there alone the engine takes files
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyFile(file, filepath.Join(dir, filepath.Base(dumpFile))); err != nil {
		return fmt.Errorf("hand the backup to the engine: %w", err)
	}
	args := []string{"pg_restore", "--exit-on-error"}
	if !load.Tablespaces {
		args = append(args, "--no-tablespaces")
	}
	if load.Jobs > 1 {
		args = append(args, "--jobs="+strconv.Itoa(load.Jobs))
	} else {
		args = append(args, "--single-transaction")
	}
	if !load.Roles {
		args = append(args, "--no-owner", "--no-privileges")
	}
	container, err := d.tool(url, d.Client.CurrentModule().Workdir(dir), append(args, dumpFile))
	if err == nil {
		_, err = container.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("restore database: %w", complained("pg_restore", err))
	}
	return nil
}

// copyFile copies a backup, readable by its owner alone.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// tool is a container that has run a client program on a database. The password goes through a secret: command lines are
// for everyone to see.
func (d *Dumper) tool(address string, files *dagger.Directory, args []string) (*dagger.Container, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the database's URL is not of the form postgres://user:password@host:port/database")
	}
	container := d.Client.Container().From(postgresImage+":"+cmp.Or(d.Tag, postgresVersion)).
		WithDirectory(path.Dir(dumpFile), files).
		WithEnvVariable("PIPELINE_NONCE", rand.Text()) // what is in the database is no part of what the engine takes for the same
	if password, ok := target.User.Password(); ok {
		target.User = url.User(target.User.Username())
		container = container.WithSecretVariable("PGPASSWORD", d.Client.SetSecret("dump/"+digest(address), password))
	}
	args = append([]string{args[0], "--no-password", "--dbname", target.String()}, args[1:]...)
	return container.WithExec(args), nil
}

// toolError is what a program has said, and not how the engine has run it.
func toolError(err error) error {
	var failed *dagger.ExecError
	if errors.As(err, &failed) && failed.Stderr != "" {
		return fmt.Errorf("exit code %d: %s", failed.ExitCode, lastLines(failed.Stderr))
	}
	return err
}

// complained is what a program of PostgreSQL's has said, in its own lines alone: those without its name are details,
// contexts and statements, which quote values of rows.
func complained(program string, err error) error {
	var failed *dagger.ExecError
	if !errors.As(err, &failed) || failed.Stderr == "" {
		return err
	}
	var said []string
	for line := range strings.Lines(failed.Stderr) {
		if line, ours := strings.CutPrefix(line, program+": "); ours {
			said = append(said, strings.TrimSpace(line))
		}
	}
	return fmt.Errorf("exit code %d: %s", failed.ExitCode, lastLines(strings.Join(said, "\n")))
}
