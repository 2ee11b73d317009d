package migrations

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a run or a backup ends with when the database is not as it must be. They are wrapped in errors that say more.
var (
	// ErrLocked: another migrator held the lock for the whole of Options.LockWait.
	ErrLocked = errors.New("another migrator is at work")
	// ErrDirty: an earlier run stopped half way through a migration that cannot run in a transaction.
	ErrDirty = errors.New("a migration is half applied")
	// ErrNewer: the database has a version that the folder does not know.
	ErrNewer = errors.New("the database is ahead of the migrations")
	// ErrForeign: another tool migrated the database, and what it applied must not be applied again.
	ErrForeign = errors.New("another tool has migrated this database")
	// ErrRewritten: a release changes migrations that the running one has applied.
	ErrRewritten = errors.New("applied migrations do not change")
	// ErrNotProven: a backup was made, but what was restored from it is not what was backed up.
	ErrNotProven = errors.New("the backup is not proven")
)

// The SQL states that decide something here (PostgreSQL, appendix A).
const (
	lockNotAvailable   = "55P03"
	deadlockDetected   = "40P01"
	serializationFail  = "40001"
	inTransactionBlock = "25001"
	undefinedTable     = "42P01"
	integrityClass     = "23"
)

// SQLError is an error of a migration, as the person who wrote the file sees it.
type SQLError struct {
	File      string
	Line      int
	Column    int    // 0 where PostgreSQL names no position: the line is then that of the statement
	Text      string // the line of the file
	Statement int    // from 1; 0 when the statements were done and the commit failed
	Hint      string
	Cause     *pgconn.PgError
}

// Error is file, position, message and state in the first line, then the line itself and what helps. PostgreSQL's detail
// is left out where it quotes rows (a duplicate key's value), for errors end up in logs and reports.
func (e *SQLError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Column > 0 {
		fmt.Fprintf(&b, ":%d", e.Column)
	}
	fmt.Fprintf(&b, ": %s (%s)", e.Cause.Message, e.Cause.Code)
	if e.Text != "" {
		prefix := fmt.Sprintf("%5d | ", e.Line)
		fmt.Fprintf(&b, "\n%s%s", prefix, e.Text)
		if e.Column > 0 {
			fmt.Fprintf(&b, "\n%s| %s^", strings.Repeat(" ", len(prefix)-2), indent(e.Text, e.Column-1))
		}
	}
	if e.Cause.Detail != "" && !strings.HasPrefix(e.Cause.Code, integrityClass) {
		fmt.Fprintf(&b, "\n  detail: %s", e.Cause.Detail)
	}
	if e.Cause.Where != "" {
		fmt.Fprintf(&b, "\n  where: %s", strings.ReplaceAll(e.Cause.Where, "\n", "\n         "))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", e.Hint)
	}
	return b.String()
}

// Unwrap is what PostgreSQL said.
func (e *SQLError) Unwrap() error { return e.Cause }

// indent is white space as wide as the first characters of a line, tabs kept.
func indent(line string, characters int) string {
	var b strings.Builder
	for _, r := range line {
		if characters--; characters < 0 {
			break
		}
		if r == '\t' {
			b.WriteRune('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// explain translates an error of the server into one of the file. The text that was sent began at byte base of the
// script; statement is the place in it that was being run, len(statements) for what comes after them all.
func (s *script) explain(err *pgconn.PgError, base, statement int) *SQLError {
	e := &SQLError{File: s.file, Hint: err.Hint, Cause: err}
	at := -1
	if statement < len(s.statements) {
		e.Statement = statement + 1
		at = s.statements[statement].start
		if err.Position > 0 {
			at = base + byteOffset(s.source[base:], int(err.Position)-1)
		}
	}
	if at >= 0 {
		e.Line, e.Column = lineColumn(s.source, at)
		e.Text = strings.TrimSuffix(strings.Split(s.source, "\n")[e.Line-1], "\r")
		if err.Position == 0 {
			e.Column = 0
		}
	}
	if e.Hint == "" {
		e.Hint = hint(err, at < 0)
	}
	return e
}

// hint is what to do, where PostgreSQL does not say it itself.
func hint(err *pgconn.PgError, committing bool) string {
	switch {
	case err.Code == inTransactionBlock:
		return "write the comment `" + noTransaction + "` into the file, and nothing else but this statement"
	case err.Code == lockNotAvailable:
		return "other sessions hold a lock that the statement needs; it would keep everybody else waiting behind it"
	case strings.HasPrefix(err.Code, integrityClass) && err.ConstraintName != "":
		return fmt.Sprintf("rows of %s break constraint %q; their values are not shown here", err.TableName, err.ConstraintName)
	case strings.HasPrefix(err.Code, integrityClass) && err.ColumnName != "":
		return fmt.Sprintf("rows of %s break a rule of column %q; their values are not shown here", err.TableName, err.ColumnName)
	case committing:
		return "every statement was done; the commit failed"
	}
	return ""
}

// byteOffset is where a character of a text begins.
func byteOffset(text string, characters int) int {
	at := 0
	for ; characters > 0 && at < len(text); characters-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}
