package backfill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// idleTimeout ends the session of a run whose machine has disappeared without a word within a batch.
	idleTimeout = time.Minute
	// mostPasses is how often a table is gone through. A second pass reaches every row that was behind the first when it
	// ended, in the time that reading takes; a third one those that came in that shorter time. More would not be shorter.
	mostPasses = 3
)

// outcome is what a batch did.
type outcome struct {
	over          bool          // there is nothing left to do
	held, blocked time.Duration // how long it kept its locks, and another session waiting for them
}

// batch is one transaction: the bounds, the statement, the position. It takes its turn first, and then the progress row must
// say what we know. So Pause waits for the batch and no other begins after it, and a run that was thought to be dead cannot
// do a range for the second time.
func (r *run) batch(ctx context.Context) (did outcome, err error) {
	defer func() {
		if err != nil {
			r.rollBack(ctx)
		}
	}()
	b := r.opening()
	b.ExecParams("SELECT pg_catalog.pg_advisory_xact_lock("+r.table.key(turn, "$1::bigint")+")", [][]byte{number(r.Version)}, nil, nil, nil)
	b.ExecParams("SELECT state, position IS NOT DISTINCT FROM $2 AND pass = $3 FROM "+r.table.name()+" WHERE version = $1",
		[][]byte{number(r.Version), r.position, number(r.progress.Pass)}, nil, []int16{pgx.TextFormatCode, pgx.BinaryFormatCode, pgx.TextFormatCode}, nil)
	var after [][]byte
	if r.position != nil {
		after = [][]byte{r.position}
	}
	b.ExecParams(r.target.bounds(r.pace.batch, after != nil), after, nil, []int16{r.target.position.format}[:len(after)], r.target.formats())
	results, err := r.conn.PgConn().ExecBatch(ctx, b).ReadAll()
	if err != nil {
		return did, r.failedTo(ctx, "choose a batch", err)
	}
	fence, bounds := results[len(results)-2].Rows, results[len(results)-1].Rows
	if err := r.admitted(fence); err != nil {
		return did, err
	}
	if len(bounds) == 0 {
		did.over, err = r.endPass(ctx)
		return did, err
	}
	start := r.clock.now()
	did.blocked, err = r.watch.during(ctx, r.pace.batch > 1, func() error { return r.change(ctx, bounds[0]) })
	did.held = r.clock.now().Sub(start)
	return did, err
}

// opening begins a transaction with its limits.
func (r *run) opening() *pgconn.Batch {
	b := &pgconn.Batch{}
	b.ExecParams("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", nil, nil, nil, nil)
	b.ExecParams(`SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true),
		pg_catalog.set_config('idle_in_transaction_session_timeout', $3, true)`,
		[][]byte{number(r.LockTimeout.Milliseconds()), number(r.StatementTimeout.Milliseconds()), number(idleTimeout.Milliseconds())}, nil, nil, nil)
	return b
}

// admitted reads what the progress row said when the batch had its turn.
func (r *run) admitted(rows [][][]byte) error {
	switch {
	case len(rows) == 0:
		return fmt.Errorf("%s: somebody has deleted the backfill's row in %s: run again to begin anew", r.Script.File, r.table.name())
	case State(rows[0][0]) == Paused:
		return r.paused()
	case State(rows[0][0]) != Running || string(rows[0][1]) != "t":
		return fmt.Errorf("%s: another run has changed the backfill's row in %s meanwhile", r.Script.File, r.table.name())
	}
	return nil
}

// change runs the statement for a batch and commits it with its position.
func (r *run) change(ctx context.Context, bounds [][]byte) error {
	last, text := bounds[2], string(bounds[3])
	looked, err := strconv.ParseInt(string(bounds[4]), 10, 64)
	if err != nil {
		return fmt.Errorf("read batch: %w", err)
	}
	once := r.progress.Once
	b := &pgconn.Batch{}
	b.ExecParams(r.Script.SQL(0), bounds[:2], r.target.oids, r.target.kinds(), nil)
	if !once {
		b.ExecParams("SAVEPOINT again", nil, nil, nil, nil)
	}
	changed, err := first(r.conn.PgConn().ExecBatch(ctx, b))
	if err != nil {
		return r.explain(ctx, err)
	}
	b = &pgconn.Batch{}
	if !once && changed > 0 {
		if once, err = r.changesAgain(ctx, bounds, changed); err != nil {
			return err
		}
		b.ExecParams("ROLLBACK TO SAVEPOINT again", nil, nil, nil, nil)
	}
	seen := r.seen + looked
	rate := float64(seen) / max(r.clock.now().Sub(r.began), time.Millisecond).Seconds()
	b.ExecParams("UPDATE "+r.table.name()+` SET position = $2, position_text = $3, done = done + $4, batches = batches + 1, pass_done = pass_done + $4,
			pass_seen = pass_seen + $5, batch = $6, rate = $7, once = $8, throttled = nullif($9, ''), updated_at = pg_catalog.clock_timestamp() WHERE version = $1`,
		[][]byte{number(r.Version), last, []byte(text), number(changed), number(looked), number(r.pace.batch),
			strconv.AppendFloat(nil, rate, 'g', -1, 64), strconv.AppendBool(nil, once), []byte(r.progress.Throttled)}, nil,
		[]int16{0, pgx.BinaryFormatCode, 0, 0, 0, 0, 0, 0, 0}, nil)
	b.ExecParams("COMMIT", nil, nil, nil, nil)
	if _, err := r.conn.PgConn().ExecBatch(ctx, b).ReadAll(); err != nil {
		var server *pgconn.PgError
		if ctx.Err() == nil && errors.As(err, &server) { // of a deferred constraint
			return r.Script.Explain(server, 0, len(r.Script.Statements))
		}
		return r.failedTo(ctx, "commit", err)
	}
	r.position, r.seen, r.passDone = last, seen, r.passDone+changed
	p := &r.progress
	p.Position, p.Once, p.Rate, p.UpdatedAt = text, once, rate, r.clock.now()
	p.Done, p.Batches, p.seen = p.Done+changed, p.Batches+1, p.seen+looked
	p.estimate()
	return nil
}

// changesAgain says whether the statement, run a second time for the same batch, would change a row again. What it does is
// done after a savepoint, for the caller to roll back.
//
// The second time it also sees rows that others have committed since the first, and changing those is no repetition. So
// where it finds something to do, the rows of the batch are counted that are still as the first time left them, which has
// the transaction's own number (xmin), while what comes after the savepoint has another: if they are not all that the
// statement changed, it has changed some of them again, or it changes another table, of which nothing is known here. Rows
// that are deleted cannot be deleted again.
func (r *run) changesAgain(ctx context.Context, bounds [][]byte, changed int64) (again bool, err error) {
	if r.Script.Statements[0].Begins("DELETE") {
		return false, nil
	}
	answer, err := r.conn.PgConn().ExecParams(ctx, r.Script.SQL(0), bounds[:2], r.target.oids, r.target.kinds(), nil).Close()
	switch {
	case pgerrcode.IsIntegrityConstraintViolation(code(err)):
		return true, nil
	case err != nil:
		return false, r.explain(ctx, err)
	case answer.RowsAffected() == 0:
		return false, nil
	}
	left := r.conn.PgConn().ExecParams(ctx, r.target.unchanged(), bounds[:2], r.target.oids, r.target.kinds(), nil).Read()
	if left.Err != nil {
		return false, r.failedTo(ctx, "compare", left.Err)
	}
	return string(left.Rows[0][0]) != strconv.FormatInt(changed, 10), nil
}

// endPass ends the backfill, or begins another pass.
func (r *run) endPass(ctx context.Context) (over bool, err error) {
	p := &r.progress
	over = p.Once || r.passDone == 0 || p.Pass >= mostPasses
	set := "state = 'done', throttled = NULL"
	if !over {
		set = "pass = pass + 1, position = NULL, position_text = NULL, pass_done = 0, pass_seen = 0"
	}
	b := &pgconn.Batch{}
	b.ExecParams("UPDATE "+r.table.name()+" SET "+set+", updated_at = pg_catalog.clock_timestamp() WHERE version = $1", [][]byte{number(r.Version)}, nil, nil, nil)
	b.ExecParams("COMMIT", nil, nil, nil, nil)
	if _, err := r.conn.PgConn().ExecBatch(ctx, b).ReadAll(); err != nil {
		return false, r.failedTo(ctx, "commit", err)
	}
	p.UpdatedAt = r.clock.now()
	if over {
		p.State, p.Throttled = Done, ""
	} else {
		p.Pass, p.Position, p.seen = p.Pass+1, "", 0
		r.position, r.passDone = nil, 0
	}
	p.estimate()
	if !over {
		r.Observe(*p)
	}
	return over, nil
}

// transaction does something within limits.
func (r *run) transaction(ctx context.Context, do func() error) error {
	_, err := r.conn.PgConn().ExecBatch(ctx, r.opening()).ReadAll()
	if err != nil {
		err = r.failedTo(ctx, "begin", err)
	} else if err = do(); err == nil {
		if _, err = r.conn.Exec(ctx, "COMMIT"); err != nil {
			err = r.failedTo(ctx, "commit", err)
		}
	}
	if err != nil {
		r.rollBack(ctx)
	}
	return err
}

// rollBack ends a transaction that is open, even when the run was canceled.
func (r *run) rollBack(ctx context.Context) {
	if r.conn.IsClosed() || r.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	if _, err := r.conn.Exec(ctx, "ROLLBACK"); err != nil {
		pg.HangUp(ctx, r.conn) // ends the transaction, too
	}
}

// explain describes an error of the statement.
func (r *run) explain(ctx context.Context, err error) error {
	if code(err) != "" {
		return explain(ctx, r.Script, err)
	}
	return r.failedTo(ctx, "run a batch", err)
}

// failedTo describes an error outside the statement.
func (r *run) failedTo(ctx context.Context, verb string, err error) error {
	if ctx.Err() == nil && r.conn.IsClosed() {
		return fmt.Errorf("%s: the connection was lost; what is committed stays done, and the next run goes on behind it: %w", r.Script.File, err)
	}
	return fmt.Errorf("%s: %s: %w", r.Script.File, verb, pg.Ended(ctx, err))
}

// first reads answers to their end and forgets their rows. It returns how many the first one is about.
func first(results *pgconn.MultiResultReader) (changed int64, err error) {
	for i := 0; results.NextResult(); i++ {
		if tag, err := results.ResultReader().Close(); err == nil && i == 0 {
			changed = tag.RowsAffected()
		}
	}
	return changed, results.Close()
}

func (t target) kinds() []int16 { return []int16{t.lower.format, t.upper.format} }

func number[N int | int64](n N) []byte { return strconv.AppendInt(nil, int64(n), 10) }
