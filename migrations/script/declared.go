package script

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// prefix begins a comment that declares something. Sqitch's "-- Deploy …" is another thing, hence the small letter.
const prefix = "-- deploy:"

// NoTransaction is the comment by which a file asks to be run statement by statement outside a transaction.
const NoTransaction = "-- deploy: no-transaction"

// Declared is what the comments of a migration say of it, one a line:
//
//	-- deploy: no-transaction
//	-- deploy: irreversible REASON
//	-- deploy: changes TABLE[.COLUMN][, …]
//	-- deploy: verify SELECT …
//	-- deploy: allow FINDING REASON
//	-- deploy: backfill TABLE by COLUMN [batch ROWS] [pause DURATION]
type Declared struct {
	NoTransaction bool
	// Irreversible is why nothing takes the migration back but a restored backup; "" where something does.
	Irreversible string
	// Changes are the data that the migration is meant to change: tables, or columns as TABLE.COLUMN.
	Changes []string
	// Verify are queries that must succeed after the migration, before it is committed where it runs in a transaction. One
	// that answers a single boolean must answer true.
	Verify []Query
	// Allow are findings that somebody has looked at, with the reason to go on, by their names.
	Allow map[string]string
	// Backfill says how the file's only statement goes through a table in batches.
	Backfill *Backfill
}

// Query is a query in a comment.
type Query struct {
	SQL  string
	File string
	Line int
}

// Backfill is how a statement goes through a table in batches of a key's range, which the statement names as $1 and $2:
// WHERE id BETWEEN $1 AND $2. Both ends are keys of rows in the batch, so that the last range has an end in every type that
// has an order; GitLab's batched background migrations take the same form.
type Backfill struct {
	Table string        // as SQL takes it
	Key   string        // a column that is NOT NULL and indexed, of any type that has an order, as SQL takes it
	Batch int           // rows in a batch; DefaultBatch
	Pause time.Duration // between batches, at least; it grows where others are kept waiting
	File  string
	Line  int
}

// DefaultBatch is how many rows a batch of a backfill has. GitLab's batched background migrations begin
// with as many (BATCH_SIZE = 1_000, docs.gitlab.com/development/database/batched_background_migrations).
const DefaultBatch = 1000

// declarations are the names of what can be declared.
const declarations = "no-transaction, irreversible, changes, verify, allow or backfill"

// declare reads a comment, if it declares something.
func (s *Script) declare(c comment) error {
	text, found := strings.CutPrefix(strings.TrimSpace(c.text), prefix)
	if !found {
		return nil
	}
	name, argument, _ := strings.Cut(strings.TrimSpace(text), " ")
	name, argument = strings.TrimSuffix(name, ":"), strings.TrimSpace(argument)
	needs := func(what string) error {
		return s.fault(c.at, "%s %s: write `%s %s %s`", prefix, name, prefix, name, what)
	}
	file, line, _ := s.Position(c.at)
	d := &s.Declared
	switch name {
	case "no-transaction":
		if argument != "" {
			return s.fault(c.at, "%s %s takes no argument: remove %q", prefix, name, argument)
		}
		d.NoTransaction = true
	case "irreversible":
		if argument == "" {
			return needs("REASON")
		}
		d.Irreversible = argument
	case "changes":
		for _, what := range strings.Split(argument, ",") {
			if what = strings.TrimSpace(what); what == "" || strings.Count(what, ".") > 2 {
				return needs("TABLE or TABLE.COLUMN, several with commas")
			}
			d.Changes = append(d.Changes, what)
		}
	case "verify":
		if argument == "" {
			return needs("SELECT …, in one line")
		}
		d.Verify = append(d.Verify, Query{SQL: strings.TrimSuffix(argument, ";"), File: file, Line: line})
	case "allow":
		finding, reason, _ := strings.Cut(argument, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			return needs("FINDING REASON")
		}
		if d.Allow == nil {
			d.Allow = map[string]string{}
		}
		d.Allow[strings.TrimSuffix(finding, ":")] = reason
	case "backfill":
		b, err := parseBackfill(argument)
		if err != nil {
			return s.fault(c.at, "%s %s: %v: write `%s backfill TABLE by COLUMN [batch ROWS] [pause DURATION]`", prefix, name, err, prefix)
		}
		if d.Backfill != nil {
			return s.fault(c.at, "a migration is one backfill: %s:%d declares another", d.Backfill.File, d.Backfill.Line)
		}
		b.File, b.Line = file, line
		d.Backfill = b
	default:
		return s.fault(c.at, "%s %q is unknown: write %s", prefix, name, declarations)
	}
	return nil
}

// backfillForm takes names with white space where they are quoted.
var backfillForm = regexp.MustCompile(`^((?:"(?:[^"]|"")+"|[^\s"])+)\s+by\s+((?:"(?:[^"]|"")+"|[^\s"])+)((?:\s+(?:batch|pause)\s+\S+)*)$`)

func parseBackfill(argument string) (*Backfill, error) {
	match := backfillForm.FindStringSubmatch(argument)
	if match == nil {
		return nil, fmt.Errorf("%q is no backfill", argument)
	}
	b := &Backfill{Table: match[1], Key: match[2], Batch: DefaultBatch}
	options := strings.Fields(match[3])
	for i := 0; i+1 < len(options); i += 2 {
		var err error
		switch value := options[i+1]; options[i] {
		case "batch":
			if b.Batch, err = strconv.Atoi(value); err != nil || b.Batch < 1 {
				return nil, fmt.Errorf("batch %q is no number of rows above 0", value)
			}
		case "pause":
			if b.Pause, err = time.ParseDuration(value); err != nil || b.Pause < 0 {
				return nil, fmt.Errorf("pause %q is no duration such as 50ms", value)
			}
		}
	}
	return b, nil
}

// checkBackfill refuses a backfill that could not be resumed: every batch must be one statement of one range.
func (s *Script) checkBackfill() error {
	b := s.Declared.Backfill
	if b == nil {
		return nil
	}
	at := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", b.File, b.Line, fmt.Sprintf(format, args...))
	}
	if len(s.Statements) != 1 {
		return at("a backfill is one statement, and the file has %d: put the others into migrations of their own", len(s.Statements))
	}
	st := s.Statements[0]
	if !namesRange(s.Plain(0), b.Key) {
		return at("the statement must name the batch as %s BETWEEN $1 AND $2, and in no other way: both ends belong to it, so %[1]s < $2 would leave rows out", b.Key)
	}
	if !st.Begins("UPDATE") && !st.Begins("INSERT") && !st.Begins("DELETE") && !st.Begins("MERGE") && !st.Begins("WITH") {
		return at("a backfill is an UPDATE, INSERT, DELETE or MERGE")
	}
	return nil
}

// lexeme is a part of a statement without comments: a quoted text, a quoted name, a parameter, a word, a comparison, or
// any other character.
var lexeme = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"|\$[0-9]+|[\pL_][\pL\pN_$]*|[<>=!]+|\S`)

// namesRange says whether a statement uses $1 and $2, and only in KEY BETWEEN $1 AND $2 or KEY >= $1 AND KEY <= $2. Casts
// may follow the parameters.
func namesRange(sql, key string) bool {
	parts := lexeme.FindAllString(sql, -1)
	part := func(i int) string {
		if i < 0 {
			return ""
		}
		return strings.ToUpper(parts[i])
	}
	isKey := func(i int) bool { return i >= 0 && folded(parts[i]) == folded(key) }
	lower, upper, between := false, false, false
	for i, p := range parts {
		switch p {
		case "$1":
			between = part(i-1) == "BETWEEN"
			if (!between && part(i-1) != ">=") || !isKey(i-2) {
				return false
			}
			lower = true
		case "$2":
			if (!between || part(i-1) != "AND") && (part(i-1) != "<=" || !isKey(i-2)) {
				return false
			}
			upper, between = true, false
		default: // what stands between $1 and AND is a cast
			between = between && part(i-1) != "AND"
		}
	}
	return lower && upper
}

// folded is a name as PostgreSQL reads it.
func folded(name string) string {
	if len(name) > 1 && name[0] == '"' {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return strings.ToLower(name)
}
