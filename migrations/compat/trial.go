package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/statement"
)

const (
	// trying bounds the execution of one statement; it is a matter of a millisecond for most.
	trying = 2 * time.Second
	// tryingAll bounds all of them. The most called statements come first.
	tryingAll = time.Minute
	// trial is the statement that is prepared, in the session.
	trial = "pipeline_trial"
)

// outcome is what became of a statement that was executed.
type outcome struct {
	code string // SQLSTATE; "" where it succeeded
	err  *pgconn.PgError
	rows int64
}

// try executes the statements that can be prepared on both databases, with the same values from the data of before, and takes
// back what they did. So it meets what is decided only then: triggers, checks, labels, lengths, a function without what it names.
// A key that is taken is no news: a row is inserted that is there. But it is noticed last, after all that belongs to the row
// itself, so any other failure instead is.
func (c *check) try(ctx context.Context) error {
	ends := time.Now().Add(tryingAll)
	for _, s := range c.sent {
		if !executable(s) || c.broken[s.SQL] || time.Now().After(ends) {
			continue
		}
		values, why, err := plans.Values(ctx, c.Before, s.parsed)
		if lost(ctx, c.Before, err) {
			return fmt.Errorf("try statements before the migrations: %w", pg.Ended(ctx, err))
		}
		if err != nil || why != "" {
			continue
		}
		before, err := execute(ctx, c.Before, s, values)
		if err != nil {
			return fmt.Errorf("try statements before the migrations: %w", err)
		}
		if before.code != "" && before.code != pgerrcode.UniqueViolation {
			continue
		}
		after, err := execute(ctx, c.After, s, values)
		if err != nil {
			return fmt.Errorf("try statements after the migrations: %w", err)
		}
		c.report.Tried++
		switch {
		case after.code != "" && after.code != before.code:
			c.fails(s, after.err)
		case before.code == "" && before.rows > 0 && after.rows == 0 && c.leavesRows() && !insertsValues(s):
			c.add(c.place(finding.Finding{
				Name: "breaks-running-release", Level: finding.Refuse, Basis: finding.Measured,
				Message: "executed with values from the data, a statement of the running release finds rows now and none on the new schema, though the migrations change no row",
				Fix:     "keep views, triggers and rules from hiding or dropping what the running release works with",
			}, written(s)...), s.Statement)
		case before.code == "" && before.rows > 0 && after.rows == 0 && insertsValues(s):
			c.add(c.place(finding.Finding{
				Name: "breaks-running-release", Level: finding.Refuse, Basis: finding.Measured,
				Message: "executed with values from the data, the running release's INSERT succeeds on the new schema and inserts nothing",
				Fix:     "keep triggers and rules from dropping what the running release writes",
			}, written(s)...), s.Statement)
		}
	}
	return nil
}

// executable says whether a statement was prepared and is one whose effects a rollback takes back.
func executable(s sent) bool {
	if s.Unreadable() != "" || s.parsed.Err() != nil {
		return false
	}
	switch s.parsed.Kind() {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE":
		return true
	}
	return false
}

// leavesRows says whether the migrations, by their texts, change neither rows nor columns, so that what is found before is found
// afterwards.
func (c *check) leavesRows() bool {
	return len(c.Steps) > 0 && !slices.ContainsFunc(c.Steps, func(s Step) bool {
		switch s.Parsed.Kind() {
		case "", "TRUNCATE TABLE", "REFRESH MATERIALIZED VIEW":
			return true
		case "DROP VIEW":
			return false
		}
		return s.Parsed.Opaque() || len(s.Parsed.Writes()) > 0 || s.Parsed.Class() == statement.Contract
	})
}

// insertsValues says whether a statement inserts the rows that it is given, whatever is in the database.
func insertsValues(s sent) bool {
	n := s.parsed.Tree().GetInsertStmt()
	return n != nil && n.GetOnConflictClause() == nil && len(n.GetSelectStmt().GetSelectStmt().GetValuesLists()) > 0 &&
		n.GetSelectStmt().GetSelectStmt().GetOp() == pg_query.SetOperation_SETOP_NONE
}

// execute runs a statement in a transaction that is rolled back. The error is that of a lost session.
func execute(ctx context.Context, conn *pgx.Conn, s sent, values []string) (outcome, error) {
	call := "EXECUTE " + trial
	if len(values) > 0 {
		call += " (" + strings.Join(values, ", ") + ")"
	}
	limits := fmt.Sprintf("BEGIN; SET LOCAL statement_timeout = %[1]d; SET LOCAL lock_timeout = %[1]d;", trying.Milliseconds())
	results, err := conn.PgConn().Exec(ctx, limits+"PREPARE "+trial+" AS "+s.parsed.SQL()+"\n;"+call).ReadAll()
	if conn.IsClosed() || ctx.Err() != nil {
		return outcome{}, pg.Ended(ctx, err)
	}
	bye, cancel := pg.Farewell(ctx)
	defer cancel()
	var deferred error
	if err == nil { // what is left to the commit is checked, too
		_, deferred = conn.PgConn().Exec(bye, "SET CONSTRAINTS ALL IMMEDIATE").ReadAll()
	}
	if _, err := conn.PgConn().Exec(bye, "ROLLBACK").ReadAll(); err != nil {
		return outcome{}, err
	}
	_, _ = conn.PgConn().Exec(bye, "DEALLOCATE "+trial).ReadAll() // where PREPARE failed there is none
	var o outcome
	if errors.As(errors.Join(err, deferred), &o.err) {
		o.code = o.err.Code
		return o, nil
	}
	if len(results) > 0 {
		o.rows = results[len(results)-1].CommandTag.RowsAffected()
	}
	return o, nil
}

// fails notes a statement that failed when it was executed. PostgreSQL's message is shown where it cannot quote the values,
// which are of a row.
func (c *check) fails(s sent, server *pgconn.PgError) {
	if server.Code == pgerrcode.QueryCanceled || server.Code == pgerrcode.LockNotAvailable {
		c.report.NotCheckable = append(c.report.NotCheckable, NotCheckable{s.SQL, "executed on the new schema, it takes longer than " + trying.String()})
		return
	}
	message := server.Message
	if pgerrcode.IsDataException(server.Code) {
		message = "a value that it sends is refused"
	}
	c.broken[s.SQL] = true
	c.report.Broken = append(c.report.Broken, Broken{SQL: s.SQL, Calls: s.Calls, SQLState: server.Code, Message: message})
	c.add(c.place(finding.Finding{
		Name: "breaks-running-release", Level: finding.Refuse, Basis: finding.Measured,
		Message: fmt.Sprintf("executed with values from the data, a statement of the running release fails on the new schema: %s (SQLSTATE %s)", message, server.Code),
		Fix:     remedy(server.Code),
	}, written(s)...), s.Statement)
}

// written are the tables that a statement is about, as objects, those that it writes first.
func written(s sent) []statement.Object {
	var list []statement.Object
	for _, t := range append(s.parsed.Writes(), s.parsed.Tables()...) {
		list = append(list, statement.Object{Kind: "table", Name: t})
	}
	if len(list) == 0 {
		list = []statement.Object{{Kind: "statement", Name: statement.Name{Name: strconv.Quote(brief(s.SQL))}}}
	}
	return list
}
