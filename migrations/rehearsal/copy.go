package rehearsal

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/integrity"
	"github.com/metaextract/pipeline/migrations/rules"
	"github.com/metaextract/pipeline/migrations/statement"
)

// prepare looks at the copy as it came, and gives it statistics: a restored database has none, and plans would be those of
// empty tables.
func (r *run) prepare(ctx context.Context) error {
	if r.URL == "" {
		return errNoCopy
	}
	r.Step("looking at the copy")
	conn, err := pg.Connect(ctx, r.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	out := r.report
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
		return fmt.Errorf("analyze the copy: %w", pg.Ended(ctx, err))
	}
	out.Copy = Copy{Real: r.Real, Server: conn.PgConn().ParameterStatus("server_version"), Statements: len(r.Statements)}
	if err := conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&out.Copy.Bytes); err != nil {
		return fmt.Errorf("look at the copy: %w", pg.Ended(ctx, err))
	}
	if r.sizes, err = Sizes(ctx, conn); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&r.major); err != nil {
		return fmt.Errorf("look at the copy: %w", pg.Ended(ctx, err))
	}
	if r.known, err = known(ctx, conn, r.major); err != nil {
		return err
	}
	r.before, err = catalog.Read(ctx, conn)
	return err
}

// known is what static rules are told of a database: how many rows its tables have, and the types of its columns.
func known(ctx context.Context, conn *pgx.Conn, major int) (rules.Options, error) {
	type table struct{ schema, name string }
	rows, types := map[table]int64{}, map[table]map[string]string{}
	found, err := conn.Query(ctx, `SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint, a.attname, format_type(a.atttypid, a.atttypmod)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`)
	if err != nil {
		return rules.Options{}, fmt.Errorf("look at the columns of tables: %w", pg.Ended(ctx, err))
	}
	var t table
	var count int64
	var column, typ string
	_, err = pgx.ForEachRow(found, []any{&t.schema, &t.name, &count, &column, &typ}, func() error {
		rows[t] = count
		if types[t] == nil {
			types[t] = map[string]string{}
		}
		types[t][column] = typ
		return nil
	})
	if err != nil {
		return rules.Options{}, fmt.Errorf("look at the columns of tables: %w", pg.Ended(ctx, err))
	}
	// A name without a schema is found where one schema alone has it.
	find := func(n statement.Name) (table, bool) {
		var match []table
		for t := range rows {
			if t.name == n.Name && (n.Schema == "" || n.Schema == t.schema) {
				match = append(match, t)
			}
		}
		if len(match) != 1 {
			return table{}, false
		}
		return match[0], true
	}
	return rules.Options{
		Major: major,
		Knows: func(n statement.Name) (int64, bool) { t, ok := find(n); return rows[t], ok },
		Columns: func(n statement.Name, column string) (string, bool) {
			t, ok := find(n)
			typ, there := types[t][column]
			return typ, ok && there
		},
	}, nil
}

// Sizes are those of a database's tables with their indexes, in bytes, by schema and name as evidence names them.
func Sizes(ctx context.Context, conn *pgx.Conn) (map[string]int64, error) {
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname), pg_total_relation_size(c.oid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'`)
	if err != nil {
		return nil, fmt.Errorf("look at the sizes of tables: %w", pg.Ended(ctx, err))
	}
	sizes := map[string]int64{}
	var name string
	var bytes int64
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error { sizes[name] = bytes; return nil })
	if err != nil {
		return nil, fmt.Errorf("look at the sizes of tables: %w", pg.Ended(ctx, err))
	}
	return sizes, nil
}

// copyOf is a second copy, made of the first.
type copyOf struct {
	*run
	url, name string
	server    *pgx.Conn // of another database
	conn      *pgx.Conn // of the copy
	first     *pgx.Conn // of the copy that it was made of
	original  *checksum.Original
}

// duplicate makes a copy of the copy. PostgreSQL copies the files, which takes a second for a gigabyte; nobody may be
// connected to the first one meanwhile.
func (r *run) duplicate(ctx context.Context) (c *copyOf, err error) {
	r.Step("making a second copy")
	c = &copyOf{run: r, name: "rehearsal_" + strings.ToLower(rand.Text())}
	defer func() {
		if err != nil {
			c.drop(ctx)
		}
	}()
	server, err := pg.OnDatabase(r.URL, "postgres")
	if err != nil {
		return c, err
	}
	if c.server, err = pg.Connect(ctx, server); err != nil {
		return c, err
	}
	config, err := pgx.ParseConfig(r.URL)
	if err != nil {
		return c, errNoCopy
	}
	if err := c.create(ctx, c.name, config.Database); err != nil {
		return c, fmt.Errorf("make a second copy: %w", err)
	}
	if c.url, err = pg.OnDatabase(r.URL, c.name); err != nil {
		return c, err
	}
	if c.conn, err = pg.Connect(ctx, c.url); err != nil {
		return c, err
	}
	if c.first, err = pg.Connect(ctx, r.URL); err != nil {
		return c, err
	}
	c.original = checksum.NewOriginal(c.first)
	return c, nil
}

// create makes a database of a template, by copying files where the server lets choose: the other way (PostgreSQL 15, and
// the default since) writes all of it into the log.
func (c *copyOf) create(ctx context.Context, name, template string) error {
	sql := "CREATE DATABASE " + pg.Name(name) + " TEMPLATE " + pg.Name(template)
	if c.major >= 15 {
		sql += " STRATEGY FILE_COPY"
	}
	_, err := c.server.Exec(ctx, sql)
	return pg.Ended(ctx, err)
}

// drop removes the copy, also when the context has ended.
func (c *copyOf) drop(ctx context.Context) {
	for _, conn := range []*pgx.Conn{c.conn, c.first} {
		if conn != nil {
			pg.HangUp(ctx, conn)
		}
	}
	if c.server == nil {
		return
	}
	defer pg.HangUp(ctx, c.server)
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	_, _ = c.server.Exec(ctx, "DROP DATABASE IF EXISTS "+pg.Name(c.name)+" WITH (FORCE)") // the server is thrown away, too
}

// migrator is one for a database of the copy's server. Its history is told nothing of releases: it is the copy's.
func (c *copyOf) migrator(url string) (*migrations.Migrator, error) {
	o := c.Migrate
	o.URL, o.Run, o.Release, o.Running, o.Contract = url, "rehearsal", "", "", nil
	return migrations.New(o)
}

// up applies the pending migrations with the migrator that will apply them to the original, and tells the locks that each
// takes. Those of one outside a transaction have been seen by looking on, and are not told apart from those of other such.
func (c *copyOf) up(ctx context.Context) (migrations.Outcome, map[int64][]evidence.Lock, error) {
	m, err := c.migrator(c.url)
	if err != nil {
		return migrations.Outcome{}, nil, err
	}
	watched := watchLocks(ctx, c.conn, 0)
	outcome, err := m.Up(ctx)
	seen := strongest(watched())
	locks := map[int64][]evidence.Lock{}
	for _, a := range outcome.Applied {
		locks[a.Version] = a.Locks
	}
	for _, next := range c.Pending {
		if s, err := c.Source.Script(next, folder.Up); err == nil && s.Outside {
			locks[next.Version] = seen
		}
	}
	return outcome, locks, err
}

func (c *copyOf) snapshot(ctx context.Context) (*catalog.Snapshot, error) {
	return catalog.Read(ctx, c.conn)
}

// integrity looks for what is wrong with the data of the copy after the migration and was not before.
func (c *copyOf) integrity(ctx context.Context) error {
	after, err := integrity.Check(ctx, c.conn, integrity.Options{Scan: true})
	if err != nil || len(after) == 0 {
		return err
	}
	before, err := integrity.Check(ctx, c.first, integrity.Options{Scan: true})
	if err != nil {
		return err
	}
	for _, f := range integrity.New(before, after) {
		if f.Level == finding.Warn && (f.Name == integrity.OrphanedRows || f.Name == integrity.BrokenCheck) {
			// Of one that is NOT VALID. It may be from long ago; here the migration has added it, or the rows that break it.
			f.Level = finding.Refuse
			f.Message += ": it cannot be validated, and a row that breaks a CHECK cannot be updated"
		}
		c.found(f)
	}
	return nil
}
