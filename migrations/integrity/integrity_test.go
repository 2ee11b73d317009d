package integrity

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/finding"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func exec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(context.Background(), sql, pgtest.Simply)
	require.NoError(t, err, sql)
}

// told are findings as level, name and object, in the order they come.
func told(findings []finding.Finding) []string {
	var list []string
	for _, f := range findings {
		list = append(list, fmt.Sprintf("%s %s %s", f.Level, f.Name, f.Object))
	}
	return list
}

func TestFindings(t *testing.T) {
	const parent = "CREATE TABLE p (id int PRIMARY KEY, a int, b int, UNIQUE (a, b)); INSERT INTO p VALUES (1, 1, 1), (2, 2, 2);"
	const off, on = "SET LOCAL session_replication_role = replica;", "; SET LOCAL session_replication_role = origin;"
	tests := []struct {
		name, database string
		quick, scanned []string // without Scan, and what Scan adds
	}{
		{"a database in order", parent + `CREATE TABLE c (id serial PRIMARY KEY, p int NOT NULL REFERENCES p, n int CHECK (n > 0)); INSERT INTO c (p, n) VALUES (1, 1), (2, NULL);
			CREATE DOMAIN d AS int CHECK (VALUE > 0); CREATE TABLE e (d d, k bigint GENERATED ALWAYS AS IDENTITY); CREATE VIEW v AS SELECT 1`, nil, nil},

		{"an index whose making was interrupted", "CREATE TABLE t (a int); CREATE INDEX i ON t (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass", []string{"refuse invalid-index index public.i"}, nil},
		{"an index of a partitioned table that a partition lacks", "CREATE TABLE t (a int) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t DEFAULT; CREATE INDEX i ON ONLY t (a)", []string{"refuse invalid-index index public.i"}, nil},

		{"a foreign key that is not validated and holds", parent + "CREATE TABLE c (p int); INSERT INTO c VALUES (1), (NULL); ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES p NOT VALID", []string{"note not-valid-constraint constraint public.c.f"}, nil},
		{"a foreign key that is not validated and does not hold", parent + "CREATE TABLE c (p int); INSERT INTO c VALUES (7), (8); ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES p NOT VALID",
			[]string{"note not-valid-constraint constraint public.c.f"}, []string{"warn orphaned-rows constraint public.c.f"}},
		{"a check that is not validated and does not hold", "CREATE TABLE c (n int); INSERT INTO c VALUES (-1); ALTER TABLE c ADD CONSTRAINT k CHECK (n > 0) NOT VALID",
			[]string{"note not-valid-constraint constraint public.c.k"}, []string{"warn broken-check constraint public.c.k"}},
		{"a domain's check that is not validated", "CREATE DOMAIN d AS int; ALTER DOMAIN d ADD CONSTRAINT k CHECK (VALUE > 0) NOT VALID", []string{"note not-valid-constraint constraint public.d.k"}, nil},

		{"orphans behind a valid foreign key", parent + "CREATE TABLE c (p int CONSTRAINT f REFERENCES p);" + off + "INSERT INTO c VALUES (7), (8), (1), (NULL)" + on, nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"orphans of a key of several columns", parent + "CREATE TABLE c (a int, b int, CONSTRAINT f FOREIGN KEY (a, b) REFERENCES p (a, b));" + off + "INSERT INTO c VALUES (1, 2)" + on, nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"a null in one of several columns lets a row pass under MATCH SIMPLE", parent + "CREATE TABLE c (a int, b int, CONSTRAINT f FOREIGN KEY (a, b) REFERENCES p (a, b)); INSERT INTO c VALUES (7, NULL), (NULL, 7)", nil, nil},
		{"a null in one of several columns does not let a row pass under MATCH FULL", parent + "CREATE TABLE c (a int, b int, CONSTRAINT f FOREIGN KEY (a, b) REFERENCES p (a, b) MATCH FULL);" + off + "INSERT INTO c VALUES (1, NULL)" + on,
			nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"nulls in all of several columns let a row pass under MATCH FULL", parent + "CREATE TABLE c (a int, b int, CONSTRAINT f FOREIGN KEY (a, b) REFERENCES p (a, b) MATCH FULL); INSERT INTO c VALUES (NULL, NULL)", nil, nil},
		{"columns of a key in another order", "CREATE TABLE p (a int, b int, PRIMARY KEY (b, a)); INSERT INTO p VALUES (1, 2); CREATE TABLE c (x int, y int, FOREIGN KEY (y, x) REFERENCES p (b, a)); INSERT INTO c VALUES (1, 2)", nil, nil},
		{"rows that refer to their own table", "CREATE TABLE s (id int PRIMARY KEY, up int CONSTRAINT f REFERENCES s); INSERT INTO s VALUES (1, NULL), (2, 1), (3, 3);" + off + "INSERT INTO s VALUES (4, 9)" + on, nil, []string{"refuse orphaned-rows constraint public.s.f"}},
		{"tables that refer to each other", "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)", nil, nil},
		{"orphans in a partition", parent + "CREATE TABLE c (k int, p int CONSTRAINT f REFERENCES p) PARTITION BY LIST (k); CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); CREATE TABLE c2 PARTITION OF c DEFAULT;" + off + "INSERT INTO c VALUES (1, 7), (2, 7), (2, 1)" + on,
			nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"a parent that is partitioned", "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1), (2); CREATE TABLE c (p int CONSTRAINT f REFERENCES p); INSERT INTO c VALUES (1), (2);" + off + "INSERT INTO c VALUES (3)" + on,
			nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"a parent that is partitioned and has them all", "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1), (2); CREATE TABLE c (p int REFERENCES p); INSERT INTO c VALUES (1), (2)", nil, nil},
		{"a row that a child of the parent has does not count", parent + "CREATE TABLE q (PRIMARY KEY (id)) INHERITS (p); INSERT INTO q VALUES (9); CREATE TABLE c (p int CONSTRAINT f REFERENCES p);" + off + "INSERT INTO c VALUES (9)" + on, nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"a child of the table is not bound by its foreign key", parent + "CREATE TABLE c (p int CONSTRAINT f REFERENCES p); CREATE TABLE d () INHERITS (c); INSERT INTO d VALUES (7)", nil, nil},
		{"keys of other types, domains and collations", `CREATE DOMAIN d AS varchar; CREATE TYPE e AS ENUM ('a', 'b'); CREATE TABLE p (a bigint, b text COLLATE "C", e e, PRIMARY KEY (a, b, e)); INSERT INTO p VALUES (1, 'x', 'a');
			CREATE TABLE c (a smallint, b d COLLATE "POSIX", e e, CONSTRAINT f FOREIGN KEY (a, b, e) REFERENCES p); INSERT INTO c VALUES (1, 'x', 'a');` + off + "INSERT INTO c VALUES (1, 'X', 'a')" + on, nil, []string{"refuse orphaned-rows constraint public.c.f"}},
		{"operators of an extension", "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TABLE p (a ext.citext PRIMARY KEY); INSERT INTO p VALUES ('A'); CREATE TABLE c (a ext.citext REFERENCES p); INSERT INTO c VALUES ('a')", nil, nil},
		{"odd names", `CREATE SCHEMA "Odd ""S"; CREATE TABLE "Odd ""S"."p.p" ("Id""" int PRIMARY KEY); CREATE TABLE "Odd ""S"."c c" ("P'" int CONSTRAINT "f""f" REFERENCES "Odd ""S"."p.p", "N " int, "Z" int);
			` + off + `INSERT INTO "Odd ""S"."c c" VALUES (1, -1)` + on + `; ALTER TABLE "Odd ""S"."c c" ADD CONSTRAINT "k'k" CHECK ("N " > 0) NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE conname = 'k''k'; UPDATE pg_attribute SET attnotnull = true WHERE attname = 'Z'`, nil,
			[]string{`refuse broken-check constraint Odd "S.c c.k'k`, `refuse null-in-not-null column Odd "S.c c.Z`, `refuse orphaned-rows constraint Odd "S.c c.f"f`}},

		{"rows that break a valid check", "CREATE TABLE c (n int); INSERT INTO c VALUES (-1), (NULL), (1); ALTER TABLE c ADD CONSTRAINT k CHECK (n > 0) NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE conname = 'k'",
			nil, []string{"refuse broken-check constraint public.c.k"}},
		{"rows of a partition that break its check", "CREATE TABLE c (n int, CONSTRAINT k CHECK (n > 0)) PARTITION BY LIST (n); CREATE TABLE c1 (n int); INSERT INTO c1 VALUES (-1); ALTER TABLE c1 ADD CONSTRAINT k CHECK (n > 0) NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE conname = 'k'; ALTER TABLE c ATTACH PARTITION c1 DEFAULT",
			nil, []string{"refuse broken-check constraint public.c1.k"}},
		{"a check that fails to be computed, and one beside it that does not hold", "CREATE TABLE c (n int); INSERT INTO c VALUES (0), (-1); ALTER TABLE c ADD CONSTRAINT boom CHECK (1 / n < 5) NOT VALID, ADD CONSTRAINT k CHECK (n >= 0) NOT VALID",
			[]string{"note not-valid-constraint constraint public.c.boom", "note not-valid-constraint constraint public.c.k"}, []string{"warn broken-check constraint public.c.k", "note unchecked-constraint constraint public.c.boom"}},
		{"nulls where they are refused", "CREATE TABLE c (n int, m int NOT NULL); INSERT INTO c VALUES (NULL, 1), (1, 2); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'c'::regclass AND attname = 'n'", nil, []string{"refuse null-in-not-null column public.c.n"}},
		{"a row of nulls is no null", "CREATE TYPE pair AS (a int, b int); CREATE TABLE c (n pair NOT NULL); INSERT INTO c VALUES (ROW(NULL, NULL))", nil, nil},

		{"disabled triggers", parent + "CREATE TABLE c (p int CONSTRAINT f REFERENCES p); ALTER TABLE c DISABLE TRIGGER ALL", []string{"warn disabled-trigger constraint public.c.f"}, nil},
		{"disabled triggers of the parent", parent + "CREATE TABLE c (p int CONSTRAINT f REFERENCES p); ALTER TABLE p DISABLE TRIGGER ALL", []string{"warn disabled-trigger constraint public.c.f on public.p"}, nil},
		{"a disabled trigger of the user is the user's choice", "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER g", nil, nil},

		{"a serial that is behind", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (5)", []string{"refuse sequence-behind sequence public.t_id_seq"}, nil},
		{"an identity that is behind by one", "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); INSERT INTO t DEFAULT VALUES; INSERT INTO t VALUES (2)", []string{"refuse sequence-behind sequence public.t_id_seq"}, nil},
		{"a sequence that was set to what comes next", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (5); SELECT setval('t_id_seq', 6, false)", nil, nil},
		{"a sequence that was set to what is there", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (5); SELECT setval('t_id_seq', 5, false)", []string{"refuse sequence-behind sequence public.t_id_seq"}, nil},
		{"a column without an index is looked at only with a scan", "CREATE TABLE t (id serial); INSERT INTO t VALUES (5)", nil, []string{"refuse sequence-behind sequence public.t_id_seq"}},
		{"a sequence that goes down", "CREATE SEQUENCE s INCREMENT -3; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO t VALUES (-7), (100)", []string{"refuse sequence-behind sequence public.s"}, nil},
		{"a sequence that goes down and is ahead", "CREATE SEQUENCE s INCREMENT -3; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES", nil, nil},
		{"a sequence of two tables", "CREATE SEQUENCE s; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); CREATE TABLE u (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO u VALUES (3)", []string{"refuse sequence-behind sequence public.s"}, nil},
		{"a sequence in an expression is not compared", "CREATE SEQUENCE s; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s') * 100); ALTER SEQUENCE s OWNED BY t.id; INSERT INTO t DEFAULT VALUES", nil, nil},
		{"a sequence of a text is not compared", "CREATE SEQUENCE s; CREATE TABLE t (id text PRIMARY KEY DEFAULT 'A' || nextval('s')); ALTER SEQUENCE s OWNED BY t.id; INSERT INTO t VALUES ('A9')", nil, nil},
		{"a sequence that cycles is not compared", "CREATE SEQUENCE s MAXVALUE 10 CYCLE; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO t VALUES (10); SELECT setval('s', 9)", nil, nil},
		{"a sequence whose column is gone", "CREATE TABLE t (id serial, a int); ALTER SEQUENCE t_id_seq OWNED BY NONE; ALTER TABLE t DROP id; INSERT INTO t VALUES (5)", nil, nil},
		{"a sequence of a partitioned table", "CREATE TABLE t (id serial PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT; INSERT INTO t VALUES (5)", []string{"refuse sequence-behind sequence public.t_id_seq"}, nil},
		{"a sequence whose values are in an heir", "CREATE TABLE t (id serial PRIMARY KEY); CREATE TABLE h () INHERITS (t); INSERT INTO h VALUES (5)", nil, []string{"refuse sequence-behind sequence public.t_id_seq"}},
		{"an odd name", `CREATE SCHEMA "Odd ""S"; CREATE TABLE "Odd ""S"."t't" ("I d" serial PRIMARY KEY); INSERT INTO "Odd ""S"."t't" VALUES (5)`, []string{`refuse sequence-behind sequence Odd "S.t't_I d_seq`}, nil},

		{"a serial that runs out", "CREATE TABLE t (id serial PRIMARY KEY); SELECT setval('t_id_seq', 1800000000)", []string{"warn sequence-exhausting sequence public.t_id_seq"}, nil},
		{"a serial with room", "CREATE TABLE t (id serial PRIMARY KEY); SELECT setval('t_id_seq', 1700000000)", nil, nil},
		{"a wide sequence of a narrow column", "CREATE SEQUENCE s; CREATE TABLE t (id smallint DEFAULT nextval('s')); SELECT setval('s', 30000)", []string{"warn sequence-exhausting sequence public.s"}, nil},
		{"a sequence without a column", "CREATE SEQUENCE s MAXVALUE 10; SELECT setval('s', 10)", []string{"warn sequence-exhausting sequence public.s"}, nil},
		{"a sequence that goes down and runs out", "CREATE SEQUENCE s INCREMENT -1 MINVALUE -10; SELECT setval('s', -10)", []string{"warn sequence-exhausting sequence public.s"}, nil},
		{"the end of bigint", "CREATE TABLE t (id bigserial PRIMARY KEY); SELECT setval('t_id_seq', 9223372036854775807)", []string{"warn sequence-exhausting sequence public.t_id_seq"}, nil},
	}
	conn := pgtest.Session(t, pgtest.Database(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer exec(t, conn, "ROLLBACK")
			exec(t, conn, "BEGIN; "+tt.database)
			quick, err := Check(context.Background(), conn, Options{})
			require.NoError(t, err)
			assert.ElementsMatch(t, tt.quick, told(quick))
			scanned, err := Check(context.Background(), conn, Options{Scan: true})
			require.NoError(t, err)
			assert.ElementsMatch(t, append(tt.quick, tt.scanned...), told(scanned))
			for _, f := range scanned {
				assert.NotEmpty(t, f.Message)
				assert.Equal(t, f.Name == UncheckedConstraint, f.Fix == "", "there is something to do about %s", f.Name)
			}
		})
	}
}

func TestNotNullThatIsNotValidatedClaimsNothingAboutRows(t *testing.T) {
	conn := pgtest.Session(t, pgtest.Database(t))
	exec(t, conn, "CREATE TABLE c (n int); INSERT INTO c VALUES (NULL)")
	_, err := conn.Exec(context.Background(), "ALTER TABLE c ADD CONSTRAINT k NOT NULL n NOT VALID")
	if err != nil {
		require.ErrorContains(t, err, "42601", "there is no such thing before PostgreSQL 18")
		return
	}
	findings, err := Check(context.Background(), conn, Options{Scan: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"warn null-in-not-null column public.c.n", "note not-valid-constraint constraint public.c.k"}, told(findings))
}

// What a finding says to do does away with it, or can at least be run.
func TestFixesAreSQLThatRuns(t *testing.T) {
	tests := []struct {
		database string
		done     bool // the fix alone does it
	}{
		{`CREATE TABLE "t'" (a int); CREATE INDEX "i""" ON "t'" (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"i"""'::regclass`, true},
		{`CREATE TABLE t (a int); CREATE INDEX i_ccnew ON t (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i_ccnew'::regclass`, true},
		{`CREATE TABLE "T" (n int); ALTER TABLE "T" ADD CONSTRAINT "k""" CHECK (n > 0) NOT VALID`, true},
		{`CREATE DOMAIN "D" AS int; ALTER DOMAIN "D" ADD CONSTRAINT k CHECK (VALUE > 0) NOT VALID`, true},
		{`CREATE TABLE "P" (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES "P"); ALTER TABLE "P" DISABLE TRIGGER ALL`, true},
		{`CREATE TABLE "t'" ("I" serial PRIMARY KEY); INSERT INTO "t'" VALUES (5)`, true},
		{`CREATE SEQUENCE s INCREMENT -3; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); CREATE TABLE u (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO t VALUES (-7); INSERT INTO u VALUES (-9)`, true},
		{`CREATE TABLE "t'" ("I" serial PRIMARY KEY); SELECT setval('"t''_I_seq"', 2000000000)`, true},
		{`CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); SELECT setval('t_id_seq', 2000000000)`, true},
		{`CREATE TABLE "P" (id int PRIMARY KEY); CREATE TABLE "C" ("p""" int REFERENCES "P"); ALTER TABLE "C" DISABLE TRIGGER ALL; INSERT INTO "C" VALUES (7); ALTER TABLE "C" ENABLE TRIGGER ALL`, false},
		{`CREATE TABLE "C" ("N" int); INSERT INTO "C" VALUES (-1); ALTER TABLE "C" ADD CONSTRAINT k CHECK ("N" > 0) NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE conname = 'k'`, false},
		{`CREATE TABLE "C" ("N" int); INSERT INTO "C" VALUES (NULL); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = '"C"'::regclass AND attname = 'N'`, false},
	}
	conn := pgtest.Session(t, pgtest.Database(t))
	for _, tt := range tests {
		t.Run(tt.database, func(t *testing.T) {
			defer exec(t, conn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
			exec(t, conn, tt.database)
			findings, err := Check(context.Background(), conn, Options{Scan: true})
			require.NoError(t, err)
			require.Len(t, findings, 1)
			exec(t, conn, findings[0].Fix)
			left, err := Check(context.Background(), conn, Options{Scan: true})
			require.NoError(t, err)
			assert.Equal(t, tt.done, len(left) == 0, told(left))
		})
	}
}

func TestFindingsTellCountsAndNoValues(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE p (id text PRIMARY KEY); CREATE TABLE c (id int, p text REFERENCES p, n text CHECK (n <> 'secret 1')); ALTER TABLE c DISABLE TRIGGER ALL;
		INSERT INTO c SELECT g, 'secret 2', 'x' FROM generate_series(1, 3) g; ALTER TABLE c ENABLE TRIGGER ALL;
		CREATE TABLE d (n text); INSERT INTO d VALUES ('secret 3'); ALTER TABLE d ADD CHECK (n::int > 0) NOT VALID;
		CREATE TABLE e (id serial PRIMARY KEY); INSERT INTO e VALUES (424242)`)
	findings, err := Check(context.Background(), pgtest.Session(t, address), Options{Scan: true})
	require.NoError(t, err)
	var text []string
	for _, f := range findings {
		text = append(text, f.String()+f.Fix)
	}
	all := strings.Join(text, "\n")
	assert.Contains(t, all, "3 rows of public.c refer to what is not there")
	assert.Contains(t, all, "constraint public.d.d_n_check could not be checked: the server refuses the query, with SQLSTATE 22P02")
	assert.NotContains(t, all, "secret 2")
	assert.NotContains(t, all, "secret 3")
	assert.NotContains(t, all, "424242")
}

func TestNewFindingsAreThoseThatAMigrationBrought(t *testing.T) {
	f := func(name, object string, level finding.Level, message string) finding.Finding {
		return finding.Finding{Name: name, Object: object, Level: level, Message: message}
	}
	before := []finding.Finding{f(OrphanedRows, "a", finding.Warn, "3 rows"), f(InvalidIndex, "i", finding.Refuse, "")}
	after := []finding.Finding{f(OrphanedRows, "a", finding.Warn, "4 rows"), f(OrphanedRows, "b", finding.Refuse, ""), f(BrokenCheck, "a", finding.Refuse, "")}
	assert.Equal(t, after[1:], New(before, after))
	assert.Empty(t, New(after, after))
	assert.Equal(t, after, New(nil, after))
	worse := []finding.Finding{f(OrphanedRows, "a", finding.Refuse, "3 rows")}
	assert.Equal(t, worse, New(before, worse))
	assert.Empty(t, New(worse, before[:1]), "better is not new")
}

func TestSessionIsLeftAsItWas(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t VALUES (5, 0); ALTER TABLE t ADD CHECK (1 / n > 0) NOT VALID")
	conn := pgtest.Session(t, address)
	exec(t, conn, "SET search_path = pg_temp; SET row_security = on")
	for range 2 { // outside a transaction and within one
		_, err := Check(context.Background(), conn, Options{Scan: true})
		require.NoError(t, err)
		var settings string
		require.NoError(t, conn.QueryRow(context.Background(), "SELECT current_setting('search_path') || current_setting('row_security')").Scan(&settings))
		assert.Equal(t, "pg_tempon", settings)
		exec(t, conn, "BEGIN")
	}
	var locks int
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_locks WHERE relation = 'public.t'::regclass AND pid = pg_backend_pid()").Scan(&locks))
	assert.Zero(t, locks, "none is kept to the end of the caller's transaction")
}

func TestFunctionsOfTheUserAreNotTakenForTheServers(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE SCHEMA evil; CREATE FUNCTION evil.num_nulls(int) RETURNS int LANGUAGE sql AS 'SELECT 0'; CREATE FUNCTION evil.max(int) RETURNS int LANGUAGE sql AS 'SELECT 0';
		CREATE TABLE evil.t (id serial PRIMARY KEY, n int); INSERT INTO evil.t VALUES (5, NULL); UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'evil.t'::regclass AND attname = 'n'`)
	conn := pgtest.Session(t, address)
	exec(t, conn, "SET search_path = evil, pg_catalog")
	findings, err := Check(context.Background(), conn, Options{Scan: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"refuse null-in-not-null column evil.t.n", "refuse sequence-behind sequence evil.t_id_seq"}, told(findings))
}

func TestRowsThatAreHiddenAreAnError(t *testing.T) {
	address := pgtest.Database(t)
	u, err := url.Parse(address)
	require.NoError(t, err)
	role := "reader_" + strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, address, `CREATE TABLE t (id int NOT NULL); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE ROLE `+role+` LOGIN PASSWORD '`+pgtest.Password+`'; GRANT SELECT ON t TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	u.User = url.UserPassword(role, pgtest.Password)
	_, err = Check(context.Background(), pgtest.Session(t, u.String()), Options{Scan: true})
	require.ErrorContains(t, err, "check rows: of public.t")
	require.ErrorContains(t, err, "row-level security")
}

func TestCheckEndsWithItsContext(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int NOT NULL)")
	blocker := pgtest.Session(t, address)
	exec(t, blocker, "BEGIN; LOCK TABLE t")
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	conn := pgtest.Session(t, address)
	go func() {
		_, err := Check(ctx, conn, Options{Scan: true})
		ended <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	cancel(assert.AnError)
	require.ErrorIs(t, <-ended, assert.AnError)
}
