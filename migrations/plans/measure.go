package plans

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// attempts is how often a statement is executed until two counts in a row are equal.
	attempts = 4
)

// measurement executes statements and counts pages.
type measurement struct {
	conn    *pgx.Conn
	options Options
	ends    time.Time
	plain   bool // parameters without a value in the data are plain values
}

// measure counts the pages of a plan's statement, or says why it does not. The error is that of a lost session.
func (m *measurement) measure(ctx context.Context, plan *Plan, sql string) error {
	plan.NotMeasured = ""
	why, err := m.count(ctx, plan, sql)
	if err != nil && (ctx.Err() != nil || m.conn.IsClosed()) {
		return fmt.Errorf("execute statements: %w", pg.Ended(ctx, err))
	}
	if err != nil {
		why = failure(err)
		plan.TimedOut = canceled(err)
		if plan.TimedOut {
			why = fmt.Sprintf("it takes longer than %v", m.options.Timeout)
		}
	}
	plan.NotMeasured = why
	return nil
}

// count executes the statement until it goes through as many pages twice. The first result is why it does not.
func (m *measurement) count(ctx context.Context, plan *Plan, sql string) (string, error) {
	if time.Now().After(m.ends) {
		return fmt.Sprintf("the time for executing statements is over (%v)", m.options.Budget), nil
	}
	types, err := parameters(ctx, m.conn, sql)
	if err != nil {
		return "", err
	}
	r, why := reading(sql)
	if why != "" {
		return why, nil
	}
	if m.options.Like != nil {
		plan.values = m.options.Like.Plans[plan.SQL].values
	}
	if len(plan.values) != len(types) {
		if plan.values, why, err = m.values(ctx, r.statement, r.parameters, types); why != "" || err != nil {
			return why, err
		}
	}
	names, err := m.typeNames(ctx, types)
	if err != nil {
		return "", err
	}
	defer deallocate(ctx, m.conn)
	if _, err := m.conn.PgConn().Exec(ctx, "PREPARE "+name+arguments(names)+" AS "+r.statement.SQL()).ReadAll(); err != nil {
		return "", err
	}
	last := int64(-1)
	for range attempts {
		root, took, err := m.execute(ctx, plan.values)
		if err != nil {
			return "", err
		}
		if root.blocks() == last {
			plan.Blocks, plan.Time, plan.Spilled = last, took, root.TempWritten > 0
			return "", nil
		}
		last = root.blocks()
	}
	return "it goes through another number of pages each time", nil
}

// typeNames are types as SQL writes them.
func (m *measurement) typeNames(ctx context.Context, types []uint32) ([]string, error) {
	rows, err := m.conn.Query(ctx, "SELECT pg_catalog.format_type(t.oid, NULL) FROM unnest($1::oid[]) WITH ORDINALITY AS t (oid, at) ORDER BY at", types)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// execute runs the prepared statement once. Parallel workers share the pages among them as they come, so there are none.
func (m *measurement) execute(ctx context.Context, values []string) (*Node, time.Duration, error) {
	results, err := m.conn.PgConn().Exec(ctx, fmt.Sprintf("BEGIN READ ONLY; SET LOCAL statement_timeout = %d; SET LOCAL max_parallel_workers_per_gather = 0;",
		m.options.Timeout.Milliseconds())+"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE "+name+arguments(values)).ReadAll()
	if m.conn.IsClosed() {
		return nil, 0, err
	}
	bye, cancel := pg.Farewell(ctx)
	defer cancel()
	if _, undo := m.conn.PgConn().Exec(bye, "ROLLBACK").ReadAll(); undo != nil {
		pg.HangUp(ctx, m.conn) // ends the transaction, too
		return nil, 0, errors.Join(err, undo)
	}
	if err != nil {
		return nil, 0, err
	}
	return answer(results)
}

// failure is why an execution failed, without PostgreSQL's message, which may quote the values.
func failure(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return "executed with values from the data, it fails with SQLSTATE " + server.Code
	}
	return err.Error()
}

func canceled(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == pgerrcode.QueryCanceled
}
