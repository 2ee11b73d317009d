// Package backup makes backups of a database and proves each by restoring it.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
)

// Dumper makes and restores logical backups. Connection strings are PostgreSQL URLs.
type Dumper interface {
	// Dump writes a backup of the database in pg_dump's custom format. With a snapshot, as pg_export_snapshot names it,
	// the backup is of exactly that moment (pg_dump --snapshot); it is empty for any moment.
	Dump(ctx context.Context, url, snapshot string, w io.Writer) error
	// Restore loads a backup into an empty database, stopping at the first error. Owners and privileges need not be
	// restored: the roles may not exist where the proof is made.
	Restore(ctx context.Context, url string, r io.Reader) error
}

// Backup is a backup and the proof that it can be restored.
type Backup struct {
	File     string           `json:"file,omitempty"` // where it is kept; empty when it was made for the proof alone
	Bytes    int64            `json:"bytes"`
	SHA256   string           `json:"sha256"`
	Tables   []checksum.Table `json:"tables"`   // as counted in the snapshot that was dumped
	Proven   bool             `json:"proven"`   // restored into a scratch database with equal tables
	Duration time.Duration    `json:"duration"` // of dump and proof
}

// ErrNotProven: a backup was made, but what was restored from it is not what was backed up.
var ErrNotProven = errors.New("the backup is not proven")

// Options say what is backed up and where the proof is made.
type Options struct {
	URL    string // of the database
	Dumper Dumper
	// Dir keeps the backup's file, readable by its owner alone. Without it the file is removed after the proof.
	Dir string
	// Scratch is the URL of any database on the server where the backup is restored for the proof. By default it is the
	// server of the database itself, which then holds a second copy for a while.
	Scratch string
}

// Make dumps a database, and proves the dump by restoring it into a scratch database and comparing every table with
// what the original held at the moment of the dump: both see the same exported snapshot, so writers meanwhile do not
// matter, and equal means equal. Reading a dump is no proof: pg_restore --list accepts truncated and altered files.
//
// With an error, the backup tells how far it came; where its file could be written it is kept for a look, but not
// Proven. ErrNotProven means that the restored tables differ, and the error says which.
func Make(ctx context.Context, options Options) (Backup, error) {
	start := time.Now()
	var backup Backup
	if options.Dumper == nil || options.URL == "" {
		return backup, errors.New("back up: no database URL or no dumper given")
	}
	if options.Scratch == "" {
		options.Scratch = options.URL
	}
	file, err := backupFile(options.Dir)
	if err != nil {
		return backup, err
	}
	defer file.Close()
	if options.Dir == "" {
		defer os.Remove(file.Name())
	}
	like, err := backup.dump(ctx, options, file)
	if err != nil {
		_ = os.Remove(file.Name()) // half a dump
		return backup, err
	}
	if options.Dir != "" {
		backup.File = file.Name()
	}
	err = backup.prove(ctx, options, file, like)
	backup.Duration = time.Since(start)
	return backup, err
}

// backupFile makes the file with mode 0600, as os.CreateTemp does: it holds everything the database does.
func backupFile(dir string) (*os.File, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directory for backups: %w", err)
		}
	}
	file, err := os.CreateTemp(dir, "backup-"+time.Now().UTC().Format("20060102T150405Z")+"-*.dump")
	if err != nil {
		return nil, fmt.Errorf("make file for backup: %w", err)
	}
	return file, nil
}

// dump writes the file, and counts the tables of the same snapshot meanwhile.
func (b *Backup) dump(ctx context.Context, options Options, file *os.File) (pg.Locale, error) {
	conn, err := pg.Connect(ctx, options.URL)
	if err != nil {
		return pg.Locale{}, err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, checksum.Session, pgx.QueryExecModeSimpleProtocol); err != nil {
		return pg.Locale{}, fmt.Errorf("prepare backup: %w", pg.Ended(ctx, err))
	}
	like, err := pg.ReadLocale(ctx, conn)
	if err != nil {
		return like, err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return like, fmt.Errorf("begin snapshot: %w", pg.Ended(ctx, err))
	}
	var snapshot string
	if err := tx.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		return like, fmt.Errorf("export snapshot: %w", pg.Ended(ctx, err))
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sum := sha256.New()
	dumped := make(chan error, 1)
	go func() {
		err := options.Dumper.Dump(ctx, options.URL, snapshot, io.MultiWriter(file, sum))
		if err != nil {
			err = fmt.Errorf("dump database: %w", pg.Ended(ctx, err))
			cancel(err)
		}
		dumped <- err
	}()
	if b.Tables, err = checksum.Tables(ctx, conn); err != nil {
		cancel(err)
	}
	if err := errors.Join(<-dumped, err); err != nil {
		return like, context.Cause(ctx) // the first of the two, not what it did to the other
	}
	if err := file.Sync(); err != nil {
		return like, fmt.Errorf("write backup: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return like, fmt.Errorf("look at backup: %w", err)
	}
	b.Bytes, b.SHA256 = info.Size(), hex.EncodeToString(sum.Sum(nil))
	return like, nil
}

// prove restores the file as it is on the disk, and compares.
func (b *Backup) prove(ctx context.Context, options Options, file *os.File, like pg.Locale) (err error) {
	target, err := pg.NewScratch(ctx, options.Scratch, like)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Drop(ctx)) }()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	sum := sha256.New()
	if err := options.Dumper.Restore(ctx, target.URL, io.TeeReader(file, sum)); err != nil {
		return fmt.Errorf("restore the backup: %w: %w", ErrNotProven, pg.Ended(ctx, err))
	}
	if _, err := io.Copy(sum, file); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != b.SHA256 {
		return fmt.Errorf("the file is not what was written: %w", ErrNotProven)
	}
	conn, err := pg.Connect(ctx, target.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, checksum.Session, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("prepare proof: %w", pg.Ended(ctx, err))
	}
	restored, err := checksum.Tables(ctx, conn)
	if err != nil {
		return err
	}
	if differences := checksum.Compare(b.Tables, restored); len(differences) > 0 {
		return fmt.Errorf("%w: restored, %s", ErrNotProven, strings.Join(differences, "; "))
	}
	b.Proven = true
	return nil
}
