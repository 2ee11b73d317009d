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

	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Dumper runs pg_dump and pg_restore in containers of the server's image. Owners and privileges are not restored: the
// roles they name are no part of a backup of a database, and a scratch server that proves one has none of them.
type Dumper struct {
	Client  *dagger.Client
	Version string // of PostgreSQL; pg_dump refuses a server that is newer than itself
}

var _ backup.Dumper = (*Dumper)(nil)

// dumpFile is where the backup is in the container.
const dumpFile = "/backup/dump"

// Dump implements backup.Dumper.
func (d *Dumper) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	args := []string{"pg_dump", "--format=custom", "--file", dumpFile}
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
		return fmt.Errorf("dump database: %w", toolError(err))
	}
	file, err := os.Open(local)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

// Restore implements backup.Dumper, in one transaction: after an error nothing of the backup is there.
func (d *Dumper) Restore(ctx context.Context, url string, r io.Reader) error {
	dir, err := os.MkdirTemp(".", "restore-") // in the working directory: from there alone the engine takes files
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, err := os.OpenFile(filepath.Join(dir, "dump"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(file, r); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	args := []string{"pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", dumpFile}
	container, err := d.tool(url, d.Client.CurrentModule().Workdir(dir), args)
	if err == nil {
		_, err = container.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("restore database: %w", toolError(err))
	}
	return nil
}

// tool is a container that has run a client program on a database. The password goes through a secret: command lines are
// for everyone to see.
func (d *Dumper) tool(address string, files *dagger.Directory, args []string) (*dagger.Container, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the database's URL is not of the form postgres://user:password@host:port/database")
	}
	container := d.Client.Container().From(postgresImage+":"+cmp.Or(d.Version, postgresVersion)).
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
