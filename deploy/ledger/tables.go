package ledger

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// tables are the rows of the tables that are written together with a record, as the records that they were written with.
type tables map[int64]Record

// counts are how many records there are of each kind.
type counts map[RecordKind]int64

// inTables are the kinds of records that have a row of their own.
var inTables = map[RecordKind]string{TransitionRecord: "transitions", ApprovalRecord: "approvals", VerdictRecord: "verdicts"}

// readTables reads the rows of the records from first to before end.
func readTables(ctx context.Context, tx pgx.Tx, first, end int64) (tables, error) {
	found := tables{}
	rows, err := tx.Query(ctx, "SELECT "+transitionColumns+`, d.environment, d.requested_by FROM pipeline.transitions t JOIN pipeline.deployments d ON d.id = t.deployment
		WHERE t.audit >= $1 AND t.audit < $2`, first, end)
	if err != nil {
		return nil, err
	}
	var t Transition
	var environment, by string
	if _, err := pgx.ForEachRow(rows, append(t.fields(), &environment, &by), func() error {
		found[t.Audit] = t.record(environment, by)
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, "SELECT plan_hash, approver, approved_at, expires_at, audit FROM pipeline.approvals WHERE audit >= $1 AND audit < $2", first, end)
	if err != nil {
		return nil, err
	}
	var a Approval
	var audit int64
	if _, err := pgx.ForEachRow(rows, []any{&a.Plan, &a.Approver, &a.At, &a.Expires, &audit}, func() error {
		found[audit] = a.record()
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, "SELECT "+verdictColumns+", audit FROM pipeline.verdicts WHERE audit >= $1 AND audit < $2", first, end)
	if err != nil {
		return nil, err
	}
	var v Verdict
	_, err = pgx.ForEachRow(rows, append(v.fields(), &audit), func() error {
		found[audit] = v.record()
		return nil
	})
	return found, err
}

// check compares a record with its row.
func (t tables) check(r Record) error {
	table, has := inTables[r.Kind]
	row, there := t[r.Index]
	switch {
	case has && !there:
		return &TamperError{First: r.Index, Last: r.Index, What: "its row in " + Schema + "." + table + " is gone"}
	case !has && !there:
		return nil
	case row.Kind == r.Kind && row.Environment == r.Environment && row.Deployment == r.Deployment && row.Actor == r.Actor && maps.Equal(row.Facts, r.Facts):
		return nil
	}
	return &TamperError{First: r.Index, Last: r.Index, What: "the row in " + Schema + "." + inTables[row.Kind] + " that was written with it says something else"}
}

// checkRest looks for what the log knows nothing of.
func checkRest(ctx context.Context, tx pgx.Tx, size int64, written counts) error {
	var left bool
	err := tx.QueryRow(ctx, "SELECT count(*) <> $1::bigint FROM pipeline.audit_hashes", tlog.StoredHashCount(size)).Scan(&left)
	if err != nil {
		return err
	}
	if left {
		return &TamperError{First: size, Last: size, What: "the log ends here, but there are hashes of more records: its end was cut off"}
	}
	for kind, table := range inTables {
		var rows int64
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM pipeline."+table).Scan(&rows); err != nil {
			return err
		}
		if rows != written[kind] {
			return &TamperError{First: size, Last: size, What: fmt.Sprintf("there are %d records of %ss, but %d rows in %s.%s: rows were added, or the log's end was cut off", written[kind], kind, rows, Schema, table)}
		}
	}
	return nil
}
