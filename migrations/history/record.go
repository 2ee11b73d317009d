package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
)

// Status is how far a migration came.
type Status string

// The statuses.
const (
	Running     Status = "running"     // begun; a run that was killed leaves it so, until the next one sees it
	Applied     Status = "applied"     // done, and committed together with this word
	Failed      Status = "failed"      // ended with an error; of a migration in a transaction, nothing is left
	Interrupted Status = "interrupted" // its run disappeared; what was done is in Done
	Adopted     Status = "adopted"     // another tool applied it, as Evidence says
)

// Direction is the way a migration was run.
type Direction string

// The directions.
const (
	Up   Direction = "up"
	Down Direction = "down"
)

// Entry is one migration of one run.
type Entry struct {
	ID           int64           `json:"id"`
	Run          string          `json:"run"` // which run: entries of one run share it
	Version      int64           `json:"version"`
	Name         string          `json:"name"`
	Direction    Direction       `json:"direction"`
	Status       Status          `json:"status"`
	SHA256       string          `json:"sha256"`
	DownSHA256   string          `json:"down_sha256,omitempty"`
	DownSQL      string          `json:"-"` // the way back as it was then, so that an older release can go back
	Irreversible string          `json:"irreversible,omitempty"`
	Statements   int             `json:"statements"`
	Done         int             `json:"done"` // statements that are done, where each is committed by itself
	Intent       string          `json:"-"`    // what the statement after those was about to make, to tell later whether it did
	StartedAt    time.Time       `json:"started_at"`
	FinishedAt   *time.Time      `json:"finished_at,omitempty"`
	DurationMS   int64           `json:"duration_ms"` // of the attempt that succeeded, begin to commit
	Attempts     int             `json:"attempts"`    // more than 1 when other sessions were in the way
	Error        string          `json:"error,omitempty"`
	SQLState     string          `json:"sqlstate,omitempty"`
	WALBytes     int64           `json:"wal_bytes"`
	Locks        []evidence.Lock `json:"locks"`
	Rewrites     []string        `json:"rewrites"`
	Blockers     []string        `json:"blockers,omitempty"` // sessions that kept a lock from it
	BackupID     string          `json:"backup_id,omitempty"`
	RehearsalID  string          `json:"rehearsal_id,omitempty"`
	Release      string          `json:"release,omitempty"` // of the application
	Actor        string          `json:"actor,omitempty"`   // who ran it
	DatabaseUser string          `json:"database_user"`
	Tool         string          `json:"tool_version,omitempty"`
	Evidence     string          `json:"evidence,omitempty"` // of an adopted one: who applied it, and how that is known
}

const recordColumns = `
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run text NOT NULL, version bigint NOT NULL, name text NOT NULL,
	direction text NOT NULL, status text NOT NULL, sha256 text NOT NULL, down_sha256 text, down_sql text, irreversible text,
	statements int NOT NULL DEFAULT 0, done int NOT NULL DEFAULT 0, intent text, started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	finished_at timestamptz, duration_ms bigint NOT NULL DEFAULT 0, attempts int NOT NULL DEFAULT 0, error text, sqlstate text,
	wal_bytes bigint NOT NULL DEFAULT 0, locks jsonb NOT NULL DEFAULT '[]', rewrites jsonb NOT NULL DEFAULT '[]',
	blockers jsonb NOT NULL DEFAULT '[]', backup_id text, rehearsal_id text, release text, actor text,
	database_user text NOT NULL DEFAULT session_user, tool_version text, evidence text`

// querier is a session, or a transaction on it.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Begin writes that a migration begins, or was adopted, and returns the entry's id.
func (t Tables) Begin(ctx context.Context, q querier, e Entry) (id int64, err error) {
	err = q.QueryRow(ctx, `INSERT INTO `+t.name(record)+` (run, version, name, direction, status, sha256, down_sha256, down_sql, irreversible,
			statements, done, finished_at, backup_id, rehearsal_id, release, actor, tool_version, evidence, intent)
		VALUES ($1, $2, $3, $4, $5, $6, nullif($7, ''), nullif($8, ''), nullif($9, ''), $10, $11, $12, nullif($13, ''), nullif($14, ''),
			nullif($15, ''), nullif($16, ''), nullif($17, ''), nullif($18, ''), nullif($19, '')) RETURNING id`,
		e.Run, e.Version, e.Name, string(e.Direction), string(e.Status), e.SHA256, e.DownSHA256, e.DownSQL, e.Irreversible,
		e.Statements, e.Done, e.FinishedAt, e.BackupID, e.RehearsalID, e.Release, e.Actor, e.Tool, e.Evidence, e.Intent).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("write history of %s: %w", e.Name, pg.Ended(ctx, err))
	}
	return id, nil
}

// Finish writes how a migration ended.
func (t Tables) Finish(ctx context.Context, q querier, e Entry) error {
	_, err := q.Exec(ctx, `UPDATE `+t.name(record)+` SET status = $2, statements = $3, done = $4, finished_at = pg_catalog.clock_timestamp(),
			duration_ms = $5, attempts = $6, error = nullif($7, ''), sqlstate = nullif($8, ''), wal_bytes = $9, locks = $10, rewrites = $11,
			blockers = $12, sha256 = $13,
			intent = CASE WHEN $2 = 'applied' THEN NULL ELSE intent END WHERE id = $1`,
		e.ID, string(e.Status), e.Statements, e.Done, e.DurationMS, e.Attempts, e.Error, e.SQLState, e.WALBytes, list(e.Locks), list(e.Rewrites), list(e.Blockers), e.SHA256)
	if err != nil {
		return fmt.Errorf("write history of %s: %w", e.Name, pg.Ended(ctx, err))
	}
	return nil
}

// list is a slice as jsonb takes it: [] and never null.
func list[T any](values []T) string {
	if values == nil {
		return "[]"
	}
	text, _ := json.Marshal(values) // texts and structs of texts
	return string(text)
}

// Progress writes how many statements of a migration are done, and what the next one is about to make.
func (t Tables) Progress(ctx context.Context, q querier, id int64, done int, intent string) error {
	if _, err := q.Exec(ctx, "UPDATE "+t.name(record)+" SET done = $2, intent = nullif($3, '') WHERE id = $1", id, done, intent); err != nil {
		return fmt.Errorf("write progress: %w", pg.Ended(ctx, err))
	}
	return nil
}

// SetDown writes the way back of a migration that is applied, where there was none.
func (t Tables) SetDown(ctx context.Context, q querier, version int64, sql, sha256 string) error {
	_, err := q.Exec(ctx, `UPDATE `+t.name(record)+` SET down_sql = $2, down_sha256 = $3
		WHERE version = $1 AND direction = 'up' AND status IN ('applied', 'adopted') AND down_sql IS NULL`, version, sql, sha256)
	if err != nil {
		return fmt.Errorf("write the way back of version %d: %w", version, pg.Ended(ctx, err))
	}
	return nil
}

// Interrupt marks the entries that claim to be running as interrupted. The caller holds the lock, so nobody else is.
func (t Tables) Interrupt(ctx context.Context, q querier) error {
	_, err := q.Exec(ctx, `UPDATE `+t.name(record)+` SET status = 'interrupted', error = 'the run disappeared before it could say how it ended'
		WHERE status = 'running'`)
	if err != nil {
		return fmt.Errorf("write history: %w", pg.Ended(ctx, err))
	}
	return nil
}

// Read is the record, oldest first; empty where there is none.
func (t Tables) Read(ctx context.Context, conn *pgx.Conn) ([]Entry, error) {
	rows, err := conn.Query(ctx, `SELECT id, run, version, name, direction, status, sha256, coalesce(down_sha256, ''), coalesce(down_sql, ''),
			coalesce(irreversible, ''), statements, done, coalesce(intent, ''), started_at, finished_at, duration_ms, attempts, coalesce(error, ''), coalesce(sqlstate, ''),
			wal_bytes, locks, rewrites, blockers, coalesce(backup_id, ''), coalesce(rehearsal_id, ''), coalesce(release, ''), coalesce(actor, ''),
			database_user, coalesce(tool_version, ''), coalesce(evidence, '')
		FROM `+t.name(record)+` ORDER BY id`)
	if err == nil {
		var entries []Entry
		entries, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
		if err == nil {
			return entries, nil
		}
	}
	if missing(err) || errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return nil, fmt.Errorf("read history: %w", pg.Ended(ctx, err))
}

// InForce is what is applied now, by version: for each, the last entry that changed it, where that went up.
func InForce(entries []Entry) map[int64]Entry {
	applied := map[int64]Entry{}
	for _, e := range entries {
		switch {
		case e.Status == Adopted, e.Status == Applied && e.Direction == Up:
			applied[e.Version] = e
		case e.Status == Applied && e.Direction == Down:
			delete(applied, e.Version)
		}
	}
	return applied
}
