package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
)

// Rung is one step of the proof.
type Rung struct {
	Name     string        `json:"name"`
	OK       bool          `json:"ok"`
	Skipped  bool          `json:"skipped,omitempty"` // it could not be tried; Detail says why
	Duration time.Duration `json:"duration"`
	Detail   string        `json:"detail,omitempty"`
}

// The rungs, in about the order in which they are climbed; the last three at once.
const (
	RungTool      = "tool"      // the tools are not older than the server
	RungServer    = "server"    // there is a server for the copy that is not older either, with the extensions
	RungDump      = "dump"      // the dump was written, and the original counted, both of one snapshot
	RungFile      = "file"      // the file, read back, has the checksum of what was written, and can be decrypted
	RungRestore   = "restore"   // it can be restored without an error, which reads all of it
	RungSchema    = "schema"    // the copy has the schema
	RungRows      = "rows"      // every table has the rows, each the same
	RungSequences = "sequences" // no sequence would give a value twice
	RungAmcheck   = "amcheck"   // tables and indexes of the copy are sound, and agree (amcheck, heapallindexed)
)

// ladder proves one backup.
type ladder struct {
	dumper   Dumper
	jobs     int
	backup   *Backup
	stage    *stage
	work     *workdir
	file     string
	plain    string // the same in the clear
	identity []age.Identity
	schema   *catalog.Snapshot // that the copy must have

	mu sync.Mutex
}

// skip is an error for a rung that cannot be tried here.
type skip struct{ why string }

func (s skip) Error() string { return s.why }

// climb does one rung and writes it down. The context of an error is in the error.
func (l *ladder) climb(ctx context.Context, name string, do func(context.Context) (string, error)) error {
	start := time.Now()
	detail, err := do(ctx)
	r := Rung{Name: name, OK: err == nil, Duration: time.Since(start), Detail: detail}
	var skipped skip
	if errors.As(err, &skipped) {
		r.Skipped, r.Detail, err = true, skipped.why, nil
	} else if err != nil {
		r.Detail = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backup.Proof = append(l.backup.Proof, r)
	return err
}

// fits says whether the tools can read and write what a server has: pg_dump refuses a newer server, and pg_restore a newer
// pg_dump's archive.
func (l *ladder) fits(ctx context.Context, url string, version Version, what string) (tool Version, err error) {
	err = l.climb(ctx, RungTool, func(ctx context.Context) (string, error) {
		if tool, err = l.dumper.Version(ctx, url); err != nil {
			return "", err
		}
		if tool.Major < version.Major {
			return "", fmt.Errorf("%w: pg_dump and pg_restore are of PostgreSQL %s, and %s of %s: install those of version %d or newer (Debian's package is postgresql-client-%d)",
				ErrTool, tool, what, version, version.Major, version.Major)
		}
		return "PostgreSQL " + tool.Full + ", " + what + " " + version.Full, nil
	})
	return tool, err
}

// open makes the database to restore into.
func (l *ladder) open(ctx context.Context, cluster Cluster, scratch string, from *origin) error {
	return l.climb(ctx, RungServer, func(ctx context.Context) (detail string, err error) {
		if l.stage, err = openStage(ctx, cluster, scratch, from); err != nil {
			return "", fmt.Errorf("make a place for the proof: %w", err)
		}
		if l.stage.own {
			return "a scratch server, PostgreSQL " + l.stage.Version.Full, nil
		}
		return "a scratch database, PostgreSQL " + l.stage.Version.Full, nil
	})
}

// read climbs to the file as it is on the disk: whole, as written, and in the clear.
func (l *ladder) read(ctx context.Context) error {
	return l.climb(ctx, RungFile, func(ctx context.Context) (detail string, err error) {
		l.plain, err = l.readBack(ctx)
		return fmt.Sprintf("%d bytes, SHA-256 as written", l.backup.Bytes), err
	})
}

// prove climbs from the file to the copy that equals the original. ErrNotProven means that one of the two is not as it should
// be; any other error, that this could not be found out.
func (l *ladder) prove(ctx context.Context, with properties) error {
	err := l.climb(ctx, RungRestore, func(ctx context.Context) (string, error) {
		if err := l.dumper.Restore(ctx, l.stage.URL, l.plain, Load{Jobs: l.jobs, Roles: l.stage.roles, Tablespaces: !l.stage.copied}); err != nil {
			if ctx.Err() != nil {
				return "", fmt.Errorf("restore the backup: %w", context.Cause(ctx))
			}
			if why := l.stage.fault(ctx, err); why != "" {
				return "", fmt.Errorf("restore the backup: %s, which says nothing of the backup: %w", why, err)
			}
			return "", fmt.Errorf("restore the backup: %w: %w", ErrNotProven, err)
		}
		detail := "read and restored all of it, stopping at no error"
		if !l.stage.roles {
			detail += "; without owners and privileges, whose roles are not there"
		}
		return detail, nil
	})
	if l.plain != l.file {
		_ = os.Remove(l.plain)
	}
	if err != nil {
		return err
	}
	if err := l.stage.properties(ctx, with); err != nil {
		return err
	}
	l.backup.Notes = append(l.backup.Notes, l.stage.notes...)
	return l.compare(ctx)
}

// leave hands the copy over where it was to be kept and nothing went wrong, and takes it away otherwise.
func (l *ladder) leave(ctx context.Context, keep bool, err *error) {
	switch {
	case l.stage == nil:
	case keep && *err == nil:
		l.backup.Copy = &Copy{URL: l.stage.URL, close: l.stage.close}
	default:
		*err = errors.Join(*err, l.stage.close(ctx))
	}
}

// readBack reads the file as it is on the disk, and not as the system remembers it. Where it is encrypted it returns another one in the clear, in the run's own
// directory: pg_restore's workers each need to find their place in it.
func (l *ladder) readBack(ctx context.Context) (plain string, err error) {
	stored, err := os.Open(l.file)
	if err != nil {
		return "", fmt.Errorf("read backup: %w", err)
	}
	defer stored.Close()
	forget(stored)
	sum := sha256.New()
	all := &until{ctx: ctx, r: io.TeeReader(stored, sum)}
	plain = l.file
	var damaged error
	if len(l.backup.Recipients) > 0 {
		plain = filepath.Join(l.work.path, "plain"+fileSuffix)
		damaged, err = l.decrypt(all, plain)
		if err != nil {
			return "", err
		}
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return "", fmt.Errorf("read backup: %w", err)
	}
	info, err := stored.Stat()
	if err != nil {
		return "", fmt.Errorf("read backup: %w", err)
	}
	switch {
	case info.Size() != l.backup.Bytes:
		return "", fmt.Errorf("%w: the file has %d bytes instead of the %d that were written", ErrNotProven, info.Size(), l.backup.Bytes)
	case hex.EncodeToString(sum.Sum(nil)) != l.backup.SHA256:
		return "", fmt.Errorf("%w: the file is not what was written: its SHA-256 differs", ErrNotProven)
	case errors.Is(damaged, ErrIdentity):
		return "", damaged
	case damaged != nil:
		return "", fmt.Errorf("%w: %w", ErrNotProven, damaged)
	}
	return plain, nil
}

// decrypt writes a backup in the clear. The first of its errors is about the backup, the second one about this machine.
func (l *ladder) decrypt(r io.Reader, to string) (damaged, err error) {
	in, err := decrypt(r, l.backup.Recipients, l.identity)
	if err != nil {
		return err, nil
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("decrypt backup: %w", err)
	}
	s := &sink{w: out}
	_, err = io.Copy(s, in)
	if end := out.Close(); s.err == nil {
		s.err = end
	}
	if s.err != nil {
		return nil, full(fmt.Errorf("decrypt backup: %w", s.err), filepath.Dir(to), s.n, l.backup.Bytes)
	}
	if err != nil {
		return fmt.Errorf("decrypt backup: %w", err), nil
	}
	return nil, nil
}

// until is a reader that ends with a context.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// compare looks whether the copy has what the original had.
func (l *ladder) compare(ctx context.Context) error {
	copied := &snapshot{}
	defer func() { copied.close(ctx) }()
	for range l.jobs {
		conn, err := begin(ctx, l.stage.URL)
		if err != nil {
			return err
		}
		copied.conns = append(copied.conns, conn)
	}
	err := l.climb(ctx, RungSchema, func(ctx context.Context) (string, error) {
		got, err := catalog.Read(ctx, copied.conns[0])
		if err != nil {
			return "", err
		}
		different, notes := differences(l.schema, got, l.stage.roles)
		l.backup.Notes = append(l.backup.Notes, notes...)
		return l.equal("the schema", different)
	})
	if err != nil {
		return err
	}
	// Rows and indexes are read at the same time: one waits for the disk while the other computes.
	checked := make(chan error, 1)
	go func() {
		checked <- l.climb(ctx, RungAmcheck, func(ctx context.Context) (string, error) { return amcheck(ctx, l.stage.URL, l.jobs) })
	}()
	rows := l.climb(ctx, RungRows, func(ctx context.Context) (string, error) {
		got, err := copied.count(ctx)
		if err != nil {
			return "", err
		}
		var rows int64
		for _, t := range got {
			rows += t.Rows
		}
		detail, err := l.equal("what was restored", checksum.Compare(l.backup.Tables, got))
		return fmt.Sprintf("%s, %s, %s", finding.Count(len(got), "table"), finding.Count(rows, "row"), detail), err
	})
	places := l.climb(ctx, RungSequences, func(ctx context.Context) (string, error) {
		got, err := sequences(ctx, copied.conns[0])
		if err != nil {
			return "", err
		}
		return l.equal("what was restored", astray(l.backup.Sequences, got))
	})
	if err = errors.Join(rows, places, <-checked); err != nil {
		return pg.Ended(ctx, err)
	}
	return nil
}

// equal is an error about what differs.
func (l *ladder) equal(what string, different []string) (string, error) {
	if len(different) == 0 {
		return "equal", nil
	}
	const most = 20
	if n := len(different); n > most {
		different = append(different[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return "", fmt.Errorf("%w: %s is not what was backed up: %s", ErrNotProven, what, strings.Join(different, "; "))
}
