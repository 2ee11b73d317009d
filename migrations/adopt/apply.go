package adopt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// Who is written into the history.
type Who struct {
	Run     string // an id that the entries share
	Actor   string
	Release string // of the application
	Tool    string // this program and its version
}

const (
	// lockPoll is how often the lock is asked for: a session that waits for it would keep CREATE INDEX CONCURRENTLY waiting.
	lockPoll = 100 * time.Millisecond
	// lockWait is how long a migrator may keep it.
	lockWait = 15 * time.Second
)

// write lists the entries of the history that the plan is about: one for every migration that others applied, and for
// every one that we did when it had fewer files.
func (j *judge) write() {
	for place, m := range j.all {
		entry, recorded := j.inForce[m.Version]
		if !j.reached[place] || recorded && entry.SHA256 == m.SHA256 {
			continue
		}
		var told []string
		for _, f := range j.places[place] {
			told = append(told, f.proof(j.verdicts[f]))
		}
		j.plan.entries = append(j.plan.entries, history.Entry{Version: m.Version, Name: m.Name, Direction: history.Up, Status: history.Adopted, SHA256: m.SHA256,
			Irreversible: m.Declared.Irreversible, Statements: m.Statements, Done: m.Statements, Evidence: strings.Join(told, "; ")})
	}
}

// proof is what is known of a file, for the history.
func (f *file) proof(v Verdict) string {
	if len(f.claims) == 0 {
		return fmt.Sprintf("%s: %s", f.path, v)
	}
	var told []string
	for _, c := range f.claims {
		text := fmt.Sprintf("applied by %s (%s, %s)", c.runner, c.table, c.like)
		if c.at != nil {
			text += " at " + c.at.UTC().Format(time.RFC3339)
		}
		told = append(told, text)
	}
	return fmt.Sprintf("%s: %s", f.path, strings.Join(told, ", "))
}

// Apply writes the version and the history, in one transaction, and nothing else. It looks again first: what it writes is
// what the plan says, or nothing. The session is not in a transaction. Errors to expect: ErrRefused, ErrChanged,
// ErrLocked, that of the context, and the server's where the role may not create the tables.
func (p *Plan) Apply(ctx context.Context, conn *pgx.Conn, who Who) error {
	if p.Refused() {
		return p.refusal()
	}
	files, err := p.inputs.read()
	if err != nil {
		return fmt.Errorf("look again: %w: %w", ErrChanged, err)
	}
	tx, err := p.begin(ctx, conn)
	if err != nil {
		return err
	}
	defer rollBack(ctx, tx)
	now, err := p.inputs.look(ctx, tx, files)
	if err != nil {
		return fmt.Errorf("look again: %w", err)
	}
	if now.digest != p.digest {
		return fmt.Errorf("take over %s: %w it was looked at: look again", p.Dir, ErrChanged)
	}
	if p.Empty() {
		return nil
	}
	if err := now.record(ctx, tx, who); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit what was taken over: %w", pg.Ended(ctx, err))
	}
	return nil
}

// refusal is the error of every finding that refuses.
func (p *Plan) refusal() error {
	var faults []error
	for _, f := range p.Findings {
		if f.Level == finding.Refuse {
			faults = append(faults, fmt.Errorf("%s: %s: %w", f, f.Fix, ErrRefused))
		}
	}
	return errors.Join(faults...)
}

// begin begins a transaction that has the lock of the migrators, ours and golang-migrate's.
func (p *Plan) begin(ctx context.Context, conn *pgx.Conn) (pgx.Tx, error) {
	id, err := database.GenerateAdvisoryLockId(p.tables.Database, p.tables.Schema, p.tables.Version)
	if err != nil {
		return nil, fmt.Errorf("name the migration lock: %w", err)
	}
	key, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("name the migration lock: %w", err)
	}
	for start := time.Now(); ; {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
		if err != nil {
			return nil, fmt.Errorf("begin: %w", pg.Ended(ctx, err))
		}
		var held bool
		if err := tx.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_xact_lock($1)", key).Scan(&held); err != nil {
			rollBack(ctx, tx)
			return nil, fmt.Errorf("take the migration lock: %w", pg.Ended(ctx, err))
		}
		if held {
			return tx, nil
		}
		rollBack(ctx, tx)
		if time.Since(start) > p.inputs.lockWait {
			return nil, fmt.Errorf("waited %s for the migration lock: %w; wait for it, then look again", p.inputs.lockWait, ErrLocked)
		}
		if err := pg.Pause(ctx, lockPoll); err != nil {
			return nil, fmt.Errorf("take the migration lock: %w", err)
		}
	}
}

// record writes what the plan says.
func (p *Plan) record(ctx context.Context, tx pgx.Tx, who Who) error {
	if err := p.tables.Create(ctx, tx.Conn()); err != nil {
		return fmt.Errorf("%w (the role needs CREATE on schema %s, or somebody who has it creates them)", err, p.tables.Schema)
	}
	var now time.Time
	if err := tx.QueryRow(ctx, "SELECT now()").Scan(&now); err != nil {
		return fmt.Errorf("ask for the time: %w", pg.Ended(ctx, err))
	}
	all := p.source.Migrations()
	for _, e := range p.entries {
		e.Run, e.Actor, e.Release, e.Tool, e.FinishedAt = who.Run, who.Actor, who.Release, who.Tool, &now
		i, _ := p.source.Find(e.Version)
		switch down, err := p.source.Script(all[i], folder.Down); {
		case err == nil:
			e.DownSQL, e.DownSHA256 = down.Source, folder.Hash([]byte(down.Source))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if _, err := p.tables.Begin(ctx, tx, e); err != nil {
			return err
		}
	}
	if p.From == p.Version {
		return nil
	}
	if _, err := tx.Exec(ctx, p.tables.SetVersion(p.Version, false), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("write version %d: %w", p.Version, pg.Ended(ctx, err))
	}
	return nil
}
