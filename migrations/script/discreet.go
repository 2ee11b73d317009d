package script

import (
	"regexp"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// values is what of a message may be a value that PostgreSQL cannot read: what stands between quotation marks, which are not
// doubled within, and bytes.
var values = regexp.MustCompile(`"(?s:.*)"|0x[0-9a-f]{2}(?: 0x[0-9a-f]{2})*`)

// Discreet is an error of the server without the values of rows, for errors end up in logs, reports and the history.
// PostgreSQL puts values into the message where it cannot read one (class 22: invalid input syntax for type integer: "…"),
// into the detail where rows break a rule (class 23 and 44000: Failing row contains …) or are no JSON or XML, and into the
// context where it shows a statement that was put together, or a line of JSON or COPY. What a migration raises itself is
// shown as it was raised. An error with a position is about the text of the statement, which is no secret.
func Discreet(err *pgconn.PgError) *pgconn.PgError {
	e := *err
	e.InternalQuery = ""
	unreadable := pgerrcode.IsDataException(e.Code)
	if pgerrcode.IsIntegrityConstraintViolation(e.Code) || pgerrcode.IsWithCheckOptionViolation(e.Code) ||
		unreadable && e.Code != pgerrcode.NumericValueOutOfRange {
		e.Detail = ""
	}
	if e.Position != 0 {
		return &e
	}
	if unreadable {
		e.Message = values.ReplaceAllString(e.Message, "…")
	}
	e.Where = places(e.Where)
	return &e
}

// places keeps those lines of an error's context that say where in a function or a file it was.
func places(where string) string {
	var kept []string
	for line := range strings.Lines(where) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "PL/pgSQL function "), strings.HasPrefix(line, "compilation of PL/pgSQL function "),
			strings.HasPrefix(line, `SQL function "`):
		case strings.HasPrefix(line, "COPY "):
			line, _, _ = strings.Cut(line, ": ")
		default:
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}
