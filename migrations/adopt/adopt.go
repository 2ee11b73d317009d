// Package adopt takes over a database that another tool has migrated: it reads what the tool left there, says of every
// file what that proves, and writes the version and the history that the pipeline goes on from. What it cannot prove it
// refuses, with what to do. It runs no migration and writes to no table but the pipeline's own. The commands call it, once
// a database.
package adopt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// Verdict is what the evidence proves of a file.
type Verdict string

// The verdicts. All but the first three keep a plan from being applied, unless a finding says otherwise.
const (
	Applied     Verdict = "applied"
	Pending     Verdict = "pending"      // nothing says that it was applied, and nothing after it was
	Assumed     Verdict = "assumed"      // accepted as applied by hand: nothing proves it
	Edited      Verdict = "edited"       // it was applied with other content
	OutOfOrder  Verdict = "out-of-order" // nothing says that it was applied, and later ones were, so it would never run
	Missing     Verdict = "missing"      // it was applied, and is not here
	Newer       Verdict = "newer"        // it was applied, and comes after everything that is here
	HalfApplied Verdict = "half-applied" // its runner stopped in it
)

// Evidence is one table in which a tool keeps what it applied.
type Evidence struct {
	Runner string `json:"runner"` // "drizzle-orm"
	Table  string `json:"table"`  // "drizzle.__drizzle_migrations"
	Rows   int    `json:"rows"`
	Files  int    `json:"files"` // how many files here they speak of
}

// File is one file, of the folders or of the evidence, and what is known of it.
type File struct {
	File    string     `json:"file"`
	Version *int64     `json:"version"` // nil: it is no part of the sequence
	Verdict Verdict    `json:"verdict"`
	By      string     `json:"by,omitempty"` // the runners
	At      *time.Time `json:"at,omitempty"` // when it was applied, where that is stored
	Why     string     `json:"why,omitempty"`
}

// Plan is what taking a database over would do.
type Plan struct {
	Dir      string            `json:"dir"`
	Evidence []Evidence        `json:"evidence"`
	Files    []File            `json:"files"`  // those of the sequence in its order, then the others
	Accept   []folder.Accept   `json:"accept"` // for pipeline.yaml: those it has, and those that are proposed
	From     int64             `json:"from"`   // the version that the database has: history.NoVersion (-1) for none
	Version  int64             `json:"version"`
	Findings []finding.Finding `json:"findings"`

	inputs  inputs
	tables  history.Tables
	source  *folder.Source
	entries []history.Entry // to be written
	digest  string          // of everything above, so that a change is noticed
}

// inputs are what a plan is made from, beside the database.
type inputs struct {
	fsys    fs.FS
	options folder.Options
	more    []string

	lockWait time.Duration
}

// lookLimits bound what looking may wait for. Row-level security would hide rows: with it off, PostgreSQL refuses instead.
// Times that were stored without a zone are taken for UTC.
const lookLimits = `SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '5s'; SET LOCAL row_security = off;
	SET LOCAL timezone = 'UTC'; SET LOCAL search_path = pg_catalog`

// Look reads the evidence that a database holds about a folder, and about further folders whose files another runner
// applied. It writes nothing, in the folder or in the database; the session is not in a transaction. The errors are of a
// folder that cannot be read, and of the database; what is wrong with the evidence is in the plan's findings.
func Look(ctx context.Context, conn *pgx.Conn, fsys fs.FS, options folder.Options, more []string) (*Plan, error) {
	in := inputs{fsys: fsys, options: options, more: more, lockWait: lockWait}
	files, err := in.read()
	if err != nil {
		return nil, err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("look at database: %w", pg.Ended(ctx, err))
	}
	defer rollBack(ctx, tx)
	return in.look(ctx, tx, files)
}

// look makes the plan in a transaction.
func (in inputs) look(ctx context.Context, tx pgx.Tx, files *inventory) (*Plan, error) {
	tables, err := history.Find(ctx, tx.Conn())
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, lookLimits, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("look at database: %w", pg.Ended(ctx, err))
	}
	e := &evidence{inventory: files, tables: tables}
	if err := e.gather(ctx, tx); err != nil {
		return nil, err
	}
	p := &Plan{Dir: files.source.Name(), inputs: in, tables: tables, source: files.source, From: e.version}
	p.judge(e)
	return p, p.seal()
}

// seal remembers what the plan is.
func (p *Plan) seal() error {
	text, err := json.Marshal([]any{p, p.tables, p.entries})
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	sum := sha256.Sum256(text)
	p.digest = hex.EncodeToString(sum[:])
	return nil
}

// Refused says whether a finding keeps the plan from being applied.
func (p *Plan) Refused() bool { return finding.Worst(p.Findings) == finding.Refuse }

// Empty says whether there is nothing to take over.
func (p *Plan) Empty() bool { return len(p.entries) == 0 && p.From == p.Version }

// What applying a plan ends with when it must not be applied. They are wrapped in errors that say more.
var (
	// ErrRefused: the evidence does not prove what would be written.
	ErrRefused = errors.New("the database cannot be taken over as it is")
	// ErrChanged: the database or the files are not what was looked at.
	ErrChanged = errors.New("something has changed since")
	// ErrLocked: a migrator is at work.
	ErrLocked = errors.New("another migrator is at work")
)

// rollBack ends a transaction that is not to be committed, even when the context has ended.
func rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	_ = tx.Rollback(ctx) // after a commit there is nothing to do
}
