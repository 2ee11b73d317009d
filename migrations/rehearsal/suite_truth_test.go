package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

// truth is what a migration did to the shop when somebody just ran it, with the shop's application at work. It is found
// without the rehearsal and without what that is made of: the application's own statements wait, fail or take long, rows are
// summed, and pg_dump tells the schema.
type truth struct {
	dangerous bool
	reason    string // why, with the figure that says so; "" for harmless
	waited    time.Duration
	unsure    bool // it is a matter of time, and so little of it that it may be the machine's doing
}

// observer finds truths.
type observer struct {
	shop     *shop
	patience time.Duration
	original string // a copy of the shop that nobody changes
	schema   string
	objects  []string                 // tables, views and functions
	times    map[string]time.Duration // that the application's statements take

	mu   sync.Mutex
	sums map[string][]string // of the tables, by the query that asks for them
}

func newObserver(t *testing.T, s *shop, patience time.Duration) *observer {
	t.Helper()
	o := &observer{shop: s, patience: patience, sums: map[string][]string{}, times: map[string]time.Duration{}}
	o.original, _ = s.copy(t)
	o.schema = dump(t, o.original)
	conn := pgtest.Session(t, o.original)
	o.objects = strs(t, conn, objectsQuery)
	for _, r := range requests {
		o.times[r.sql] = o.shop.latency(t, conn, r)
		for i := range distinct {
			require.NoError(t, o.shop.once(conn, r, i), r.sql)
		}
	}
	return o
}

// slower is by how much a statement must at least take longer for that to be a danger: ten times nothing is nothing.
const slower = 5 * time.Millisecond

// distinct is with how many different values every statement of the application is tried after a migration.
const distinct = 40

const objectsQuery = `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
	UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace`

// observe runs a migration on a copy of the shop. Others at work on the machine make it take longer and never shorter: where
// time decides, and not much of it, it is looked at again, and the best counts.
func (o *observer) observe(t *testing.T, c *suiteCase) (is truth) {
	t.Helper()
	for range suiteTries {
		is = o.once(t, c)
		if !is.unsure {
			break
		}
	}
	return is
}

// once observes once.
func (o *observer) once(t *testing.T, c *suiteCase) truth {
	t.Helper()
	address, drop := o.shop.copy(t)
	defer drop()
	crowd := o.shop.startCrowd(t, address, o.patience)
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	failed := o.up(conn, c)
	longest, sql := crowd.leave()
	danger := func(format string, args ...any) truth {
		return truth{dangerous: true, reason: fmt.Sprintf(format, args...), waited: longest}
	}
	if failed != nil {
		return danger("it fails: %v", failed)
	}
	if longest > o.patience {
		is := danger("`%s` waits %s", shortened(sql), longest.Round(time.Millisecond))
		is.unsure = longest <= suiteFar*o.patience
		return is
	}
	for _, r := range requests {
		for i := range distinct {
			if err := o.shop.once(conn, r, i); err != nil {
				return danger("`%s` fails: %v", shortened(r.sql), err)
			}
		}
	}
	for _, r := range requests {
		if took := o.shop.latency(t, conn, r); took > 10*o.times[r.sql] && took > o.times[r.sql]+slower {
			is := danger("`%s` takes %s instead of %s", shortened(r.sql), took.Round(time.Millisecond), o.times[r.sql].Round(100*time.Microsecond))
			is.unsure = took <= o.times[r.sql]+suiteFar*slower
			return is
		}
	}
	if verdict := o.remains(t, conn, c); verdict != "" {
		return danger("%s", verdict)
	}
	if verdict := o.back(t, address, conn, c); verdict != "" {
		return danger("%s", verdict)
	}
	return truth{waited: longest}
}

// up runs a migration as psql would: in one transaction, or statement by statement where PostgreSQL wants that.
func (o *observer) up(conn *pgx.Conn, c *suiteCase) error {
	for _, f := range c.files {
		if err := o.run(conn, f.up); err != nil {
			return err
		}
		if f.verify == "" {
			continue
		}
		var yes bool
		if err := conn.QueryRow(context.Background(), f.verify).Scan(&yes); err != nil || !yes {
			return errors.Join(err, errors.New("its own check is not true"))
		}
	}
	return nil
}

var backfillLine = regexp.MustCompile(`(?m)^-- deploy: backfill (\S+) by (\S+) batch (\d+)`)

func (o *observer) run(conn *pgx.Conn, sql string) error {
	ctx := context.Background()
	if m := backfillLine.FindStringSubmatch(sql); m != nil {
		return batches(conn, sql, m[1], m[2], m[3])
	}
	_, err := conn.Exec(ctx, sql, pgtest.Simply)
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != pgerrcode.ActiveSQLTransaction {
		return err
	}
	s, err := script.Parse("up.sql", sql)
	if err != nil {
		return err
	}
	for i := range s.Statements {
		if _, err := conn.Exec(ctx, s.SQL(i), pgtest.Simply); err != nil {
			return err
		}
	}
	return nil
}

// batches runs a backfill by ranges of a key that is a number.
func batches(conn *pgx.Conn, sql, table, key, batch string) error {
	ctx := context.Background()
	size, err := strconv.Atoi(batch)
	if err != nil {
		return err
	}
	var last int
	if err := conn.QueryRow(ctx, "SELECT max("+key+") FROM "+table).Scan(&last); err != nil {
		return err
	}
	for from := 1; from <= last; from += size {
		if _, err := conn.Exec(ctx, sql, from, from+size-1); err != nil {
			return err
		}
	}
	return nil
}

var (
	changesLine = regexp.MustCompile(`(?m)^-- deploy: changes (.*)$`)
	noWayBack   = regexp.MustCompile(`(?m)^-- deploy: irreversible `)
)

// remains compares what is there after the migration with what was there before: nothing may be missing that the migration
// does not name, and no value may be another one that it does not declare.
func (o *observer) remains(t *testing.T, conn *pgx.Conn, c *suiteCase) string {
	t.Helper()
	text := c.text()
	names := func(name string) bool {
		return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text)
	}
	now := strs(t, conn, objectsQuery)
	for _, name := range o.objects {
		if !slices.Contains(now, name) && !names(name) {
			return name + " is gone, and the migration does not name it"
		}
	}
	var declared []string
	for _, m := range changesLine.FindAllStringSubmatch(text, -1) {
		declared = append(declared, strings.Split(m[1], ", ")...)
	}
	if difference := o.compare(t, conn, declared); difference != "" {
		return difference + ", which the migration does not declare"
	}
	for _, constraint := range strs(t, conn, "SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint WHERE NOT convalidated") {
		if _, err := conn.Exec(context.Background(), "BEGIN; "+constraint+"; ROLLBACK", pgtest.Simply); err != nil {
			_, _ = conn.Exec(context.Background(), "ROLLBACK")
			return fmt.Sprintf("`%s` fails: %v", constraint, err)
		}
	}
	return ""
}

// columnsQuery lists the columns of tables with rows. Partitions are tables of their own, whoever they belong to.
const columnsQuery = `SELECT c.relname::text, a.attname::text, CASE a.atttypid WHEN 'timestamptz'::regtype
		THEN format('(%I AT TIME ZONE ''UTC'')', a.attname) ELSE format(CASE t.typtype WHEN 'e' THEN '%I::text' ELSE '%I' END, a.attname) END
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
	WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname !~ '^(schema_migrations|deploy_.*)$' ORDER BY 1, 2`

type sqlColumn struct{ table, name, sql string }

func columns(t *testing.T, conn *pgx.Conn) []sqlColumn {
	t.Helper()
	rows, err := conn.Query(context.Background(), columnsQuery)
	require.NoError(t, err)
	var list []sqlColumn
	var c sqlColumn
	_, err = pgx.ForEachRow(rows, []any{&c.table, &c.name, &c.sql}, func() error { list = append(list, c); return nil })
	require.NoError(t, err)
	return list
}

// compare says what of the shop's data is not what it was, but for what was declared, and for what both do not have.
func (o *observer) compare(t *testing.T, conn *pgx.Conn, declared []string) string {
	t.Helper()
	original := pgtest.Session(t, o.original)
	now := columns(t, conn)
	var tables []string
	lists := map[string][2][]string{}
	for _, was := range columns(t, original) {
		i := slices.IndexFunc(now, func(c sqlColumn) bool { return c.table == was.table && c.name == was.name })
		if i < 0 || slices.Contains(declared, was.table) || slices.Contains(declared, was.table+"."+was.name) {
			continue
		}
		if lists[was.table][0] == nil {
			tables = append(tables, was.table)
		}
		both := lists[was.table]
		both[0], both[1] = append(both[0], was.sql), append(both[1], now[i].sql)
		lists[was.table] = both
	}
	for _, table := range tables {
		ask := func(conn *pgx.Conn, columns []string) []string {
			return strs(t, conn, sum(table, columns))
		}
		query := sum(table, lists[table][0])
		o.mu.Lock()
		was := o.sums[query]
		o.mu.Unlock()
		if was == nil {
			was = ask(original, lists[table][0])
			o.mu.Lock()
			o.sums[query] = was
			o.mu.Unlock()
		}
		if is := ask(conn, lists[table][1]); !slices.Equal(was, is) {
			return fmt.Sprintf("rows of %s are not what they were (%s, now %s, or other values)", table, was[0], is[0])
		}
	}
	return ""
}

// sum is how many rows a table has, and a sum over them.
func sum(table string, columns []string) string {
	return "SELECT unnest(ARRAY[count(*)::text || ' rows', coalesce(sum(hash_record_extended(ROW(" + strings.Join(columns, ", ") + "), 0)::numeric), 0)::text]) FROM " + table
}

// back takes the migration back and applies it again.
func (o *observer) back(t *testing.T, address string, conn *pgx.Conn, c *suiteCase) string {
	t.Helper()
	if noWayBack.MatchString(c.text()) {
		return ""
	}
	first := dump(t, address)
	for _, f := range slices.Backward(c.files) {
		if err := o.run(conn, f.down); err != nil {
			return fmt.Sprintf("the way back fails: %v", err)
		}
	}
	if before := dump(t, address); before != o.schema {
		return "after the way back the schema differs: " + difference(o.schema, before)
	}
	if difference := o.compare(t, conn, nil); difference != "" {
		return "after the way back " + difference
	}
	if err := o.up(conn, c); err != nil {
		return fmt.Sprintf("the second way up fails: %v", err)
	}
	if again := dump(t, address); again != first {
		return "after the second way up the schema differs: " + difference(first, again)
	}
	return ""
}

var restrictKey = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

// dump is the schema as pg_dump tells it, its lines sorted: the order of columns is no difference.
func dump(t *testing.T, address string) string {
	t.Helper()
	out, err := exec.Command(pgtest.Binary(t, "pg_dump"), "--schema-only", "-d", address).Output()
	require.NoError(t, err)
	lines := strings.Split(restrictKey.ReplaceAllString(string(out), ""), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(strings.TrimSpace(l), ",")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// difference is the first line that only one of two dumps has.
func difference(a, b string) string {
	one, other := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range one {
		if !slices.Contains(other, l) {
			return "without `" + l + "`"
		}
	}
	for _, l := range other {
		if !slices.Contains(one, l) {
			return "with `" + l + "`"
		}
	}
	return "lines come more than once"
}

// latency is the shortest that a statement takes of some times: others at work on the machine make it longer, never shorter.
func (s *shop) latency(t *testing.T, conn *pgx.Conn, r request) time.Duration {
	t.Helper()
	var times []time.Duration
	for i := range 9 {
		start := time.Now()
		require.NoError(t, s.once(conn, r, i), r.sql)
		times = append(times, time.Since(start))
	}
	return slices.Min(times)
}

func strs(t *testing.T, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(context.Background(), query)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return list
}

func isLockTimeout(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == pgerrcode.LockNotAvailable
}

// shortened is the beginning of a statement.
func shortened(sql string) string {
	words := strings.Fields(sql)
	if len(words) > 5 {
		return strings.Join(words[:5], " ") + " …"
	}
	return sql
}
