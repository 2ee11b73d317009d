package backup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
)

// Loss is what a database has that its backup has not: what is gone when the backup takes its place.
type Loss struct {
	Since    time.Time   `json:"since"`               // of the backup
	WALBytes *int64      `json:"wal_bytes,omitempty"` // written since by the whole server; nil where that cannot be told
	Tables   []TableLoss `json:"tables"`              // those that differ; empty when no row does
	Notes    []string    `json:"notes,omitempty"`
}

// TableLoss is a table that is not as it was.
type TableLoss struct {
	Table string `json:"table"`
	Now   int64  `json:"now"`  // rows; -1 where the table is not there any more
	Then  int64  `json:"then"` // rows in the backup; -1 where the table is not in it
}

func (t TableLoss) String() string {
	switch {
	case t.Then < 0:
		return fmt.Sprintf("table %s with %s is not in the backup", t.Table, finding.Count(t.Now, "row"))
	case t.Now < 0:
		return fmt.Sprintf("table %s is not there any more, and would come back with %s", t.Table, finding.Count(t.Then, "row"))
	case t.Now == t.Then:
		return fmt.Sprintf("table %s has %s as in the backup, but not the same", t.Table, finding.Count(t.Now, "row"))
	}
	return fmt.Sprintf("table %s has %s, and %d in the backup", t.Table, finding.Count(t.Now, "row"), t.Then)
}

// String is the loss for people, a line for each table.
func (l Loss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the backup is of %s", l.Since.UTC().Format("2006-01-02 15:04:05 UTC"))
	if l.WALBytes != nil {
		fmt.Fprintf(&b, "; the server has written %d bytes of log since", *l.WALBytes)
	}
	if len(l.Tables) == 0 {
		b.WriteString("; no row differs")
	}
	for _, t := range l.Tables {
		b.WriteString("\n" + t.String())
	}
	for _, n := range l.Notes {
		b.WriteString("\n" + n)
	}
	return b.String()
}

// measure compares a database as it is now with a backup, on a session of its own. What cannot be measured of a database
// that is broken is said, and no error: that may be why it is to be restored.
func measure(ctx context.Context, url string, b *Backup, jobs int) (Loss, error) {
	l := Loss{Since: b.Started, Tables: []TableLoss{}}
	s, err := takeSnapshot(ctx, url, min(jobs, readers))
	if err == nil {
		defer s.close(ctx)
		var now []checksum.Table
		if now, err = s.count(ctx); err == nil {
			l.Tables = lost(b.Tables, now)
		}
	}
	if ctx.Err() != nil {
		return l, context.Cause(ctx)
	}
	if err != nil {
		l.Notes = append(l.Notes, "what would be lost cannot be counted: "+reason(err))
	}
	if len(s.conns) > 0 {
		l.WALBytes = written(ctx, s.conns[0], b)
	}
	return l, nil
}

// lost lists the tables that differ.
func lost(then, now []checksum.Table) []TableLoss {
	before := map[string]checksum.Table{}
	for _, t := range then {
		before[t.Table] = t
	}
	found := []TableLoss{}
	for _, t := range now {
		was, there := before[t.Table]
		delete(before, t.Table)
		switch {
		case !there:
			found = append(found, TableLoss{Table: t.Table, Now: t.Rows, Then: -1})
		case was != t:
			found = append(found, TableLoss{Table: t.Table, Now: t.Rows, Then: was.Rows})
		}
	}
	for _, t := range then {
		if _, gone := before[t.Table]; gone {
			found = append(found, TableLoss{Table: t.Table, Now: -1, Then: t.Rows})
		}
	}
	return found
}

// written is how many bytes of log the server has written since the backup: all of its databases together. Only the same
// server on the same timeline counts its log from the same beginning.
func written(ctx context.Context, conn *pgx.Conn, b *Backup) *int64 {
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		return nil
	}
	system, timeline := identify(ctx, conn)
	if system == "" || system != b.System || timeline != b.Timeline {
		return nil
	}
	lsn, err := position(ctx, conn)
	if err != nil {
		return nil
	}
	var n int64
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_wal_lsn_diff($1::text::pg_catalog.pg_lsn, $2::text::pg_catalog.pg_lsn)::bigint", lsn, b.LSN).Scan(&n); err != nil {
		return nil
	}
	return &n
}

// sessions lists who is connected to a database, other than the sessions given.
func sessions(ctx context.Context, conn *pgx.Conn, database string, but ...uint32) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT pg_catalog.format('pid %s (%s, user %s, %s)', pid, coalesce(nullif(application_name, ''), 'unnamed'), coalesce(usename, '?'), coalesce(state, backend_type))
		FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND backend_type <> 'autovacuum worker' AND pid::bigint <> ALL ($2::bigint[]) ORDER BY pid`, database, wide(but))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", pg.Ended(ctx, err))
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", pg.Ended(ctx, err))
	}
	return found, nil
}

func wide(pids []uint32) []int64 {
	out := make([]int64, len(pids))
	for i, p := range pids {
		out[i] = int64(p)
	}
	return out
}
