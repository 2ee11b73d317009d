package migrations

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/migrations/script"
)

// check is a query by which a migration says that it did what it should: in a comment of its file, or in a file beside it.
// Sqitch's verify scripts are the model (sqitch-deploy: --verify); unlike there, one that fails takes the migration back
// before anybody has seen it.
type check struct {
	sql   string
	file  string
	line  int
	place func(*pgconn.PgError) error // explains an error of the server
}

// checks are those of a script's comments and of its verify file.
func checksOf(up, beside *script.Script) []check {
	var all []check
	for _, q := range up.Declared.Verify {
		all = append(all, check{sql: q.SQL, file: up.File, line: q.Line, place: func(err *pgconn.PgError) error {
			return &script.Error{File: up.File, Line: q.Line, Text: q.SQL, Cause: script.Discreet(err), Hint: err.Hint}
		}})
	}
	if beside == nil {
		return all
	}
	for i, st := range beside.Statements {
		all = append(all, check{sql: beside.SQL(i), file: beside.File, line: beside.Line(i), place: func(err *pgconn.PgError) error {
			return beside.Explain(err, st.Start, i)
		}})
	}
	return all
}

// verify runs the task's checks in the open transaction, which is left as it was: they read, and what they would write is
// rolled back.
func (d *driver) verify() error {
	if len(d.task.verify) == 0 {
		return nil
	}
	if _, err := d.simple("SAVEPOINT verify; SET LOCAL transaction_read_only = on"); err != nil {
		return fmt.Errorf("verify %s: %w", d.task.file(), err)
	}
	for _, c := range d.task.verify {
		if err := c.run(d); err != nil {
			return err
		}
		d.done.Verified++
	}
	if _, err := d.simple("ROLLBACK TO SAVEPOINT verify"); err != nil {
		return fmt.Errorf("verify %s: %w", d.task.file(), err)
	}
	return nil
}

// verifyOutside does the same for a file that runs outside a transaction, whose statements stay done.
func (d *driver) verifyOutside() error {
	if len(d.task.verify) == 0 {
		return nil
	}
	if _, err := d.simple("BEGIN"); err != nil {
		return fmt.Errorf("verify %s: %w", d.task.file(), err)
	}
	defer d.rollBack()
	return d.verify()
}

func (c check) run(d *driver) error {
	results, err := d.simple(c.sql)
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server):
		return fmt.Errorf("%w: %w", ErrVerify, c.place(server))
	case err != nil:
		return fmt.Errorf("verify %s: %w", d.task.file(), err)
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 && r.FieldDescriptions[0].DataTypeOID == boolType && string(r.Rows[0][0]) != "t" {
			return fmt.Errorf("%s:%d: %w: the query answers false: %s", c.file, c.line, ErrVerify, c.sql)
		}
	}
	return nil
}

// boolType is the oid of boolean (pg_type.dat).
const boolType = 16
