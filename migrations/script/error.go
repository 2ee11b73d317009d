package script

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Error is an error of the server about a file, as the person who wrote the file sees it.
type Error struct {
	File      string
	Line      int
	Column    int    // 0 where PostgreSQL names no position: the line is then that of the statement
	Text      string // the line of the file
	Statement int    // from 1; 0 when the statements were done and the commit failed
	Hint      string
	Cause     *pgconn.PgError // Discreet
}

// Error is file, position, message and state in the first line, then the line itself and what helps.
func (e *Error) Error() string {
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
	if e.Cause.Detail != "" {
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
func (e *Error) Unwrap() error { return e.Cause }

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

// Explain translates an error of the server into one of the file. The text that was sent began at byte base of the
// script; statement is the place in it that was being run, len(Statements) for what comes after them all.
func (s *Script) Explain(err *pgconn.PgError, base, statement int) *Error {
	e := &Error{File: s.File, Hint: err.Hint, Cause: Discreet(err)}
	at := -1
	if statement < len(s.Statements) {
		e.Statement = statement + 1
		at = s.Statements[statement].Start
		if err.Position > 0 {
			at = base + byteOffset(s.Source[base:], int(err.Position)-1)
		}
	}
	if at >= 0 {
		e.File, e.Line, e.Column = s.Position(at)
		e.Text = lineAt(s.Source, at)
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
	case err.Code == pgerrcode.ActiveSQLTransaction:
		return "write the comment `" + NoTransaction + "` into the file, and nothing else but this statement"
	case err.Code == pgerrcode.LockNotAvailable:
		return "other sessions hold a lock that the statement needs; it would keep everybody else waiting behind it"
	case pgerrcode.IsIntegrityConstraintViolation(err.Code) && err.ConstraintName != "":
		return fmt.Sprintf("rows of %s break constraint %q; their values are not shown here", err.TableName, err.ConstraintName)
	case pgerrcode.IsIntegrityConstraintViolation(err.Code) && err.ColumnName != "":
		return fmt.Sprintf("rows of %s break a rule of column %q; their values are not shown here", err.TableName, err.ColumnName)
	case pgerrcode.IsWithCheckOptionViolation(err.Code):
		return "rows break a rule of the view; their values are not shown here"
	case pgerrcode.IsDataException(err.Code) && err.Position == 0 && values.MatchString(err.Message):
		return "a value cannot be read so, or is no such thing; it is not shown, for it may be of a row"
	case err.Code == pgerrcode.InsufficientPrivilege:
		return privilege(err.Message)
	case committing:
		return "every statement was done; the commit failed"
	}
	return ""
}

// privilege says what to grant. PostgreSQL says what was refused and not to whom: that is the user of the database's URL, or
// the role that the file has set.
func privilege(message string) string {
	if thing, found := strings.CutPrefix(message, "must be owner of "); found {
		return "only the owner of " + thing + " may do this: migrate as the owner, or make the user that migrates a member of that role: GRANT owner TO user"
	}
	if thing, found := strings.CutPrefix(message, "permission denied for "); found {
		kind, name, _ := strings.Cut(thing, " ")
		return "grant the user that migrates what the statement needs: GRANT … ON " + strings.ToUpper(kind) + " " + name + " TO user"
	}
	return "grant the user that migrates what the statement needs, or migrate as a user that may"
}

// lineAt is the line of a text that a byte is in, without its end.
func lineAt(text string, at int) string {
	at = min(max(at, 0), len(text))
	line, _, _ := strings.Cut(text[strings.LastIndexByte(text[:at], '\n')+1:], "\n")
	return strings.TrimSuffix(line, "\r")
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
