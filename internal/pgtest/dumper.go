package pgtest

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Dumper makes and restores backups with PostgreSQL's own tools.
type Dumper struct{ dump, restore string }

// NewDumper finds the tools.
func NewDumper(t testing.TB) Dumper {
	t.Helper()
	return Dumper{dump: Binary(t, "pg_dump"), restore: Binary(t, "pg_restore")}
}

// Dump runs pg_dump.
func (d Dumper) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	return run(exec.CommandContext(ctx, d.dump, "-Fc", "--snapshot="+snapshot, "-d", url), nil, w)
}

// Restore runs pg_restore.
func (d Dumper) Restore(ctx context.Context, url string, r io.Reader) error {
	return run(exec.CommandContext(ctx, d.restore, "--exit-on-error", "--no-owner", "--no-privileges", "-d", url), r, nil)
}

func run(c *exec.Cmd, in io.Reader, out io.Writer) error {
	var complaint strings.Builder
	c.Stdin, c.Stdout, c.Stderr = in, out, &complaint
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, complaint.String())
	}
	return nil
}
