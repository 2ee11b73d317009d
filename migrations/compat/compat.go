// Package compat says whether the release that runs now works on the schema after a migration, without running it: while a
// release is rolled out, and after it is rolled back, old code meets the new schema. It asks PostgreSQL itself to prepare and
// plan every statement that the running release is known to send (package corpus), on a copy as it is and on one after the
// migration, and compares the two catalogs for what that does not show: values that are missing or refused only when a row
// is written.
//
// What it executes, where the caller allows it, it takes back. What it cannot check it lists, and where nobody has seen the running release
// use a table it says that there is no evidence. The rehearsal calls it.
package compat

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
)

// Options say what is compared.
type Options struct {
	// Before and After are sessions with two databases: the schema as it is, and after the migrations. Both have the search_path
	// of the application and no open transaction.
	Before, After *pgx.Conn
	// Statements are what the running release sends.
	Statements []corpus.Statement
	// Steps are the statements of the migrations, so that findings can name them; there may be none.
	Steps []Step
	// Execute allows to execute the statements on both, with values from the data of before, in transactions that are rolled
	// back. Only on copies: triggers fire, sequences go on, and functions may do what they want outside the database.
	Execute bool
}

// Report is what the running release would meet.
type Report struct {
	Statements   int               `json:"statements"` // checked
	Tried        int               `json:"tried"`      // of those: executed
	Broken       []Broken          `json:"broken"`     // by calls
	NotCheckable []NotCheckable    `json:"not_checkable"`
	Findings     []finding.Finding `json:"findings"`
}

// Broken is a statement that works now and would fail after the migration.
type Broken struct {
	SQL      string `json:"sql"`
	Calls    int64  `json:"calls"`
	SQLState string `json:"sqlstate"`
	Message  string `json:"message"`          // PostgreSQL's, which quotes no row
	Object   string `json:"object,omitempty"` // what is gone: "column public.users.legacy"
}

// NotCheckable is a statement about which nothing can be said, and why.
type NotCheckable struct {
	SQL    string `json:"sql"`
	Reason string `json:"reason"`
}

// Check compares. Its findings, by name:
//
//	breaks-running-release     a statement fails: PostgreSQL cannot prepare or plan it any more, or refuses to execute it
//	insert-lacks-column        an INSERT does not bring a value for a column that now needs one
//	breaking-on-data           a new constraint, NOT NULL or narrower type refuses some of the rows that are written; a type
//	                           that does not hold values that are there is refused
//	parameter-type-changed     a driver that sends a type with its parameters is refused, or another value is stored
//	result-type-changed        code gets values of another type
//	result-lacks-column        SELECT * or RETURNING * no longer brings a column
//	recycle-connections        prepared statements of open connections fail once: cached plan must not change result type
//	enum-label-removed         a label that the code may send is gone; enum-label-added: one that it does not know is new
//	default-changed            rows that leave the column out get another value, or NULL
//	trigger-added, row-security-changed, privilege-revoked, partition-removed, sequence-changed
//	function-mentions-removed  the text of a function names what is gone
//	no-evidence                nothing is known of what the running release sends
//	not-checkable              some of its statements could not be checked
//
// The errors are those of the databases.
func Check(ctx context.Context, options Options) (*Report, error) {
	if options.Before == nil || options.After == nil {
		return nil, errors.New("check compatibility: give a session before and one after the migrations")
	}
	c := &check{Options: options, broken: map[string]bool{}, groups: map[string]*group{}, sent: parse(options.Statements),
		report: &Report{Broken: []Broken{}, NotCheckable: []NotCheckable{}, Findings: []finding.Finding{}}}
	var err error
	if c.before, err = read(ctx, options.Before); err != nil {
		return nil, fmt.Errorf("before the migrations: %w", err)
	}
	if c.after, err = read(ctx, options.After); err != nil {
		return nil, fmt.Errorf("after the migrations: %w", err)
	}
	if c.usage, err = look(ctx, options.Before, c.sent, c.before); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if c.Execute {
		if err := c.try(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.rules(ctx); err != nil {
		return nil, err
	}
	c.conclude()
	return c.report, nil
}

// check is one comparison at work.
type check struct {
	Options
	sent          []sent
	before, after *schema
	usage         *usage
	report        *Report
	broken        map[string]bool // statements that fail anyway
	groups        map[string]*group
	order         []string
}

// group is a finding about one thing and the statements that it is about.
type group struct {
	finding finding.Finding
	example string
	count   int
	calls   int64
}

// add notes a finding about a statement; those with the same name, object and message are one.
func (c *check) add(f finding.Finding, s corpus.Statement) {
	key := f.Name + "\x00" + f.Object + "\x00" + f.Message
	g := c.groups[key]
	if g == nil {
		g = &group{finding: f, example: s.SQL}
		c.groups[key] = g
		c.order = append(c.order, key)
	}
	if s.SQL != "" {
		g.count++
		g.calls += s.Calls
	}
}

// conclude writes the findings.
func (c *check) conclude() {
	r := c.report
	for _, key := range c.order {
		g := c.groups[key]
		if g.finding.Basis == "" {
			g.finding.Basis = finding.Catalog
		}
		switch {
		case g.count == 1:
			g.finding.Message += ": " + brief(g.example)
		case g.count > 1:
			g.finding.Message += fmt.Sprintf("; %s with %s, such as: %s", finding.Count(g.count, "statement"), finding.Count(g.calls, "call"), brief(g.example))
		}
		r.Findings = append(r.Findings, g.finding)
	}
	if len(c.Statements) == 0 {
		r.Findings = append(r.Findings, finding.Finding{
			Name: "no-evidence", Level: finding.Warn, Basis: finding.Measured,
			Message: "no statement of the running release is known, so nothing says that it works on the new schema",
			Fix:     "record the statements of its tests or of production with pg_stat_statements",
		})
	}
	if n := len(r.NotCheckable); n > 0 {
		r.Findings = append(r.Findings, finding.Finding{
			Name: "not-checkable", Level: finding.Note, Basis: finding.Measured,
			Message: fmt.Sprintf("%d of %d statements could not be checked; the report lists them with the reasons", n, n+r.Statements),
		})
	}
	finding.Sort(r.Findings)
}

// brief is a statement in a message.
func brief(sql string) string {
	const most = 120
	if runes := []rune(sql); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return sql
}
