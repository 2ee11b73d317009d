package compat

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/statement"
)

// preparing bounds how long PostgreSQL may take to prepare a statement; it is a matter of a millisecond.
const preparing = 30 * time.Second

// described is what PostgreSQL says of a statement that it has prepared.
type described struct {
	parameters []kind
	fields     []field
}

// field is a column of what a statement answers.
type field struct {
	name     string
	kind     kind
	modifier int32
}

// prepare asks both databases to prepare and plan every statement.
func (c *check) prepare(ctx context.Context) error {
	old, err := kinds(ctx, c.Before)
	if err != nil {
		return fmt.Errorf("before the migrations: %w", err)
	}
	now, err := kinds(ctx, c.After)
	if err != nil {
		return fmt.Errorf("after the migrations: %w", err)
	}
	for _, s := range c.sent {
		if why := s.Unreadable(); why != "" {
			c.report.NotCheckable = append(c.report.NotCheckable, NotCheckable{s.SQL, why})
			continue
		}
		before, err := describe(ctx, c.Before, s, old)
		if lost(ctx, c.Before, err) {
			return fmt.Errorf("prepare statements before the migrations: %w", err)
		}
		if err != nil {
			c.report.NotCheckable = append(c.report.NotCheckable, NotCheckable{s.SQL, because(err)})
			continue
		}
		c.report.Statements++
		if err := s.parsed.Err(); err != nil {
			c.report.NotCheckable = append(c.report.NotCheckable, NotCheckable{s.SQL, "PostgreSQL prepares it, but what it writes is not known: " + err.Error()})
		}
		after, err := describe(ctx, c.After, s, now)
		if err == nil {
			err = c.plan(ctx, s)
		}
		if lost(ctx, c.After, err) || lost(ctx, c.Before, err) {
			return fmt.Errorf("prepare statements after the migrations: %w", err)
		}
		if err != nil {
			c.breaks(s, err)
			continue
		}
		c.compare(s, before, after)
	}
	return nil
}

// lost says whether an error is of the session, and not of a statement.
func lost(ctx context.Context, conn *pgx.Conn, err error) bool {
	return err != nil && (ctx.Err() != nil || conn.IsClosed())
}

// kinds are the types of a database, by their numbers, which differ between databases.
func kinds(ctx context.Context, conn *pgx.Conn) (map[uint32]kind, error) {
	rows, err := conn.Query(ctx, `SELECT t.oid, n.nspname || '.' || t.typname, t.typcategory::text
		FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace`)
	types := map[uint32]kind{}
	var oid uint32
	var k kind
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&oid, &k.Name, &k.Category}, func() error { types[oid] = k; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("read types: %w", pg.Ended(ctx, err))
	}
	return types, nil
}

// describe has a statement prepared, without a name, so that the next one replaces it.
func describe(ctx context.Context, conn *pgx.Conn, s sent, types map[uint32]kind) (described, error) {
	bounded, cancel := context.WithTimeout(ctx, preparing)
	defer cancel()
	prepared, err := conn.PgConn().Prepare(bounded, "", s.Preparable(), nil)
	if err != nil {
		return described{}, pg.Ended(ctx, err)
	}
	var d described
	for _, oid := range prepared.ParamOIDs {
		d.parameters = append(d.parameters, types[oid])
	}
	for _, f := range prepared.Fields {
		d.fields = append(d.fields, field{f.Name, types[f.DataTypeOID], f.TypeModifier})
	}
	return d, nil
}

// plan finds what PostgreSQL notices only when it plans: that no index is there for ON CONFLICT, what is wrong in a function
// of SQL that it inlines. A statement that could not be planned before says nothing.
func (c *check) plan(ctx context.Context, s sent) error {
	if s.parsed.Kind() == "CALL" {
		return nil
	}
	_, err := plans.Generic(ctx, c.After, s.Preparable())
	var server *pgconn.PgError
	if !errors.As(err, &server) && !lost(ctx, c.After, err) {
		return nil // there is a plan, or a rule that does something else instead
	}
	if _, before := plans.Generic(ctx, c.Before, s.Preparable()); before != nil {
		return nil
	}
	return err
}

// breaks notes a statement that fails.
func (c *check) breaks(s sent, err error) {
	b := Broken{SQL: s.SQL, Calls: s.Calls, Message: err.Error()}
	f := finding.Finding{Name: "breaks-running-release", Level: finding.Refuse, Basis: finding.Measured}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		b.SQLState, b.Message = server.Code, server.Message
		if o, found := c.gone(s, server); found {
			f = c.place(f, o)
			b.Object = o.String()
		} else if name := pointed(s, server); name != "" {
			f = c.place(f, statement.Object{Name: statement.Name{Name: name}})
		}
	}
	c.broken[s.SQL] = true
	c.report.Broken = append(c.report.Broken, b)
	f.Object, f.Fix = b.Object, remedy(b.SQLState)
	what := "the running release fails on the new schema: " + because(err)
	if b.Object != "" {
		what = fmt.Sprintf("the running release uses %s, which is gone (SQLSTATE %s)", b.Object, b.SQLState)
	}
	f.Message = what
	c.add(f, s.Statement)
}

// remedy is what to do about an error.
func remedy(state string) string {
	switch state {
	case pgerrcode.UndefinedColumn, pgerrcode.UndefinedTable, pgerrcode.UndefinedFunction, pgerrcode.UndefinedObject:
		return "keep it in this release: first release code that does without it, then remove it with the release after; " +
			"instead of renaming, add the new one beside it, write both, and remove the old one later"
	case pgerrcode.InvalidColumnReference:
		return "keep the unique index that ON CONFLICT names until no running code needs it"
	}
	return "make the change in two releases: one whose code works with the schema before and after, and one that changes the schema"
}

// identifier is a name as SQL writes it, with its qualifiers.
var identifier = regexp.MustCompile(`^(?:(?:"(?:[^"]|"")*"|[\pL_][\pL\pN_$]*)\s*\.\s*)*("(?:[^"]|"")*"|[\pL_][\pL\pN_$]*)`)

// pointed is the name at the place that an error points to, whatever language the message is in; "" where there is none.
func pointed(s sent, server *pgconn.PgError) string {
	sql := []rune(s.Preparable())
	if server.Position < 1 || int(server.Position) > len(sql) {
		return ""
	}
	match := identifier.FindStringSubmatch(string(sql[server.Position-1:]))
	switch {
	case match == nil:
		return ""
	case strings.HasPrefix(match[1], `"`):
		return strings.ReplaceAll(match[1][1:len(match[1])-1], `""`, `"`)
	}
	return strings.ToLower(match[1])
}

// gone is what an error is about: a column of a table of the statement, or a table, that was there before and is not any more.
func (c *check) gone(s sent, server *pgconn.PgError) (statement.Object, bool) {
	name := pointed(s, server)
	for _, written := range s.parsed.Tables() {
		table, known := c.usage.names[written]
		if !known {
			continue
		}
		switch server.Code {
		case pgerrcode.UndefinedColumn:
			column := statement.Column{Table: table, Column: name}
			if _, was := c.before.columns[column]; was {
				if _, is := c.after.columns[column]; !is {
					return statement.Object{Kind: "column", Name: table, Part: name}, true
				}
			}
		case pgerrcode.UndefinedTable:
			if _, is := c.after.tables[table]; table.Name == name && !is {
				return statement.Object{Kind: "table", Name: table}, true
			}
		}
	}
	return statement.Object{}, false
}

// compare notes how a statement that still works differs.
func (c *check) compare(s sent, before, after described) {
	columns := s.parsed.Parameters()
	for i, from := range before.parameters {
		if i >= len(after.parameters) {
			break
		}
		to := after.parameters[i]
		level, why := from.changes(to)
		if level == "" || from.Category == "N" && to.Category == "N" { // of numbers the column tells
			continue
		}
		f := finding.Finding{
			Name: "parameter-type-changed", Level: level, Basis: finding.Measured,
			Message: fmt.Sprintf("a parameter of the running release was %s and becomes %s: %s", from, to, why),
			Fix:     "add a column of the new type beside it, write both, and let the next release read the new one",
		}
		for _, column := range columns[i+1] {
			if table, known := c.usage.names[column.Table]; known {
				f = c.place(f, statement.Object{Kind: "column", Name: table, Part: column.Column})
				break
			}
		}
		c.add(f, s.Statement)
	}
	c.compareFields(s, before.fields, after.fields)
}

// compareFields notes how what a statement answers differs.
func (c *check) compareFields(s sent, before, after []field) {
	same := len(before) == len(after)
	left := append([]field(nil), after...)
	for i, f := range before {
		same = same && f == after[i]
		at := -1
		for j, other := range left {
			if other.name == f.name {
				at = j
				break
			}
		}
		if at < 0 {
			c.add(finding.Finding{
				Name: "result-lacks-column", Level: finding.Warn, Basis: finding.Measured,
				Message: fmt.Sprintf("the running release asks for all columns, and %s is not among them any more", f.name),
				Fix:     "first release code that does not read it",
			}, s.Statement)
			continue
		}
		now := left[at]
		left = append(left[:at], left[at+1:]...)
		if level, why := f.kind.changes(now.kind); level != "" {
			c.add(finding.Finding{
				Name: "result-type-changed", Level: level, Basis: finding.Measured,
				Message: fmt.Sprintf("the running release reads %s, which was %s and becomes %s: %s", f.name, f.kind, now.kind, why),
				Fix:     "add a column of the new type beside it, and let the next release read that",
			}, s.Statement)
		}
	}
	if !same {
		c.add(finding.Finding{
			Name: "recycle-connections", Level: finding.Warn, Basis: finding.Measured,
			Message: "the columns that are answered change, so statements prepared on open connections fail with 0A000 (cached plan must not change " +
				"result type), and code that reads columns by their place gets others",
			Fix: "close the running release's connections after the migration, or name the columns instead of *",
		}, s.Statement)
	}
}

// because is why PostgreSQL refuses a statement, without the details, which may quote rows.
func because(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fmt.Sprintf("%s (SQLSTATE %s)", server.Message, server.Code)
	}
	return err.Error()
}
