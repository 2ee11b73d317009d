package statement_test

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

var restrict = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

// dump is the schema as pg_dump writes it, without the key that it draws by lot.
func dump(t testing.TB, address string) string {
	t.Helper()
	out, err := exec.Command(pgtest.Binary(t, "pg_dump"), "-s", "-d", address).Output()
	require.NoError(t, err)
	return restrict.ReplaceAllString(string(out), "")
}

func TestInverseLeavesTheSchemaAsItWas(t *testing.T) {
	address, _ := scratch(t)
	before := dump(t, address)
	for sql, want := range map[string]string{
		"CREATE TABLE z (id bigserial PRIMARY KEY, p bigint REFERENCES p (id))": "DROP TABLE z",
		`CREATE TABLE app."Odd ""Z""" (a int)`:                                  `DROP TABLE app."Odd ""Z"""`,
		"CREATE TABLE z AS SELECT * FROM t":                                     "DROP TABLE z",
		"CREATE TABLE z PARTITION OF parts FOR VALUES IN (9)":                   "DROP TABLE z",
		"CREATE INDEX z ON t (b)":                                               "DROP INDEX z",
		"CREATE UNIQUE INDEX CONCURRENTLY z ON public.t (b)":                    "DROP INDEX CONCURRENTLY public.z",
		"CREATE VIEW app.z AS SELECT 1 AS a":                                    "DROP VIEW app.z",
		"CREATE MATERIALIZED VIEW z AS SELECT 1 AS a":                           "DROP MATERIALIZED VIEW z",
		"CREATE SEQUENCE z":                                                     "DROP SEQUENCE z",
		"CREATE TYPE z AS ENUM ('a')":                                           "DROP TYPE z",
		"CREATE TYPE z AS (a int)":                                              "DROP TYPE z",
		"CREATE TYPE z AS RANGE (subtype = float8)":                             "DROP TYPE z",
		"CREATE DOMAIN z AS int CHECK (VALUE > 0)":                              "DROP DOMAIN z",
		"CREATE SCHEMA z":                                                       "DROP SCHEMA z",
		"CREATE EXTENSION pg_stat_statements":                                   "DROP EXTENSION pg_stat_statements",
		"CREATE FUNCTION z(a int, OUT b text, VARIADIC c numeric(3)[] DEFAULT '{}') LANGUAGE sql AS 'SELECT ''x'''":                  "DROP FUNCTION z(integer, VARIADIC numeric(3)[])",
		`CREATE FUNCTION z("Odd" character varying(3), b timestamp with time zone) RETURNS TABLE (d int) LANGUAGE sql AS 'SELECT 1'`: "DROP FUNCTION z(character varying(3), timestamp with time zone)",
		"CREATE PROCEDURE z(a int, INOUT b mood) LANGUAGE sql AS 'SELECT b'":                                                         "DROP PROCEDURE z(integer, INOUT mood)",
		"CREATE TRIGGER z BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()":                                                      "DROP TRIGGER z ON t",
		"CREATE POLICY z ON t USING (true)":                      "DROP POLICY z ON t",
		"CREATE RULE z AS ON DELETE TO public.t DO ALSO NOTHING": "DROP RULE z ON public.t",
		"CREATE STATISTICS z ON a, c FROM t":                     "DROP STATISTICS z",
		"CREATE PUBLICATION z FOR TABLE t":                       "DROP PUBLICATION z",
		`ALTER TABLE t ADD COLUMN "Z" int DEFAULT 3, ADD CONSTRAINT u UNIQUE ("Z"), ALTER c SET NOT NULL, VALIDATE CONSTRAINT a_check`: `ALTER TABLE t ALTER COLUMN c DROP NOT NULL, DROP CONSTRAINT u, DROP COLUMN "Z"`,
		"ALTER TABLE ONLY t ADD CONSTRAINT z FOREIGN KEY (c) REFERENCES p (id)":                                                        "ALTER TABLE ONLY t DROP CONSTRAINT z",
		"ALTER TABLE IF EXISTS t ADD COLUMN z int":                                                                                     "ALTER TABLE IF EXISTS t DROP COLUMN z",
		"ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY":                                                                       "ALTER TABLE t ALTER COLUMN a DROP IDENTITY",
		"ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY":                                                            "ALTER TABLE t NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
		"ALTER TABLE public.t RENAME TO z":                                                                                             "ALTER TABLE public.z RENAME TO t",
		"ALTER TABLE t RENAME a TO z":                                                                                                  "ALTER TABLE t RENAME COLUMN z TO a",
		"ALTER VIEW v RENAME COLUMN a TO z":                                                                                            "ALTER VIEW v RENAME COLUMN z TO a",
		"ALTER TABLE t RENAME CONSTRAINT a_check TO z":                                                                                 "ALTER TABLE t RENAME CONSTRAINT z TO a_check",
		"ALTER INDEX t_a RENAME TO z":                                                                                                  "ALTER INDEX z RENAME TO t_a",
		"ALTER SEQUENCE s RENAME TO z":                                                                                                 "ALTER SEQUENCE z RENAME TO s",
		"ALTER VIEW v RENAME TO z":                                                                                                     "ALTER VIEW z RENAME TO v",
		"ALTER MATERIALIZED VIEW m RENAME TO z":                                                                                        "ALTER MATERIALIZED VIEW z RENAME TO m",
		"ALTER TYPE mood RENAME TO z":                                                                                                  "ALTER TYPE z RENAME TO mood",
		`ALTER TYPE mood RENAME VALUE 'sad' TO 'it''s \ z'`:                                                                            `ALTER TYPE mood RENAME VALUE E'it''s \\ z' TO 'sad'`,
		"ALTER TYPE pair RENAME ATTRIBUTE a TO z":                                                                                      "ALTER TYPE pair RENAME ATTRIBUTE z TO a",
		"ALTER DOMAIN dom RENAME TO z":                                                                                                 "ALTER DOMAIN z RENAME TO dom",
		"ALTER DOMAIN dom ADD CONSTRAINT z CHECK (VALUE > 1) NOT VALID":                                                                "ALTER DOMAIN dom DROP CONSTRAINT z",
		"ALTER DOMAIN dom SET NOT NULL":                                                                                                "ALTER DOMAIN dom DROP NOT NULL",
		"ALTER SCHEMA app RENAME TO z":                                                                                                 "ALTER SCHEMA z RENAME TO app",
		"ALTER TRIGGER g ON t RENAME TO z":                                                                                             "ALTER TRIGGER z ON t RENAME TO g",
		"ALTER POLICY y ON t RENAME TO z":                                                                                              "ALTER POLICY z ON t RENAME TO y",
		"ALTER TABLE public.t SET SCHEMA app":                                                                                          "ALTER TABLE app.t SET SCHEMA public",
		"ALTER TYPE public.mood SET SCHEMA app":                                                                                        "ALTER TYPE app.mood SET SCHEMA public",
		"SET lock_timeout = '1s'":                                                                                                      "",
		"ANALYZE t":                                                                                                                    "",
		"SELECT count(*) FROM t":                                                                                                       "",
		"ALTER TABLE t VALIDATE CONSTRAINT a_check":                                                                                    "",
	} {
		t.Run(sql, func(t *testing.T) {
			inverse, ok := parse(t, sql).Inverse()
			require.True(t, ok)
			assert.Equal(t, want, inverse)
			pgtest.Exec(t, address, sql)
			if inverse != "" {
				pgtest.Exec(t, address, inverse)
			}
			assert.Equal(t, before, dump(t, address))
		})
	}
}

func TestWhatDependsOnWhatWasThereHasNoInverse(t *testing.T) {
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS t (a int)", "CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE INDEX ON t (a)", "CREATE INDEX IF NOT EXISTS i ON t (a)", "CREATE EXTENSION IF NOT EXISTS citext", "CREATE SCHEMA s CREATE TABLE t (a int)",
		"ALTER TABLE t ADD COLUMN IF NOT EXISTS a int", "ALTER TABLE t ADD UNIQUE (a)", "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a)",
		"ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i", "ALTER TABLE t ADD COLUMN a int, DROP COLUMN b", "ALTER TABLE t ALTER a SET DEFAULT 1",
		"ALTER TABLE t ALTER a TYPE text", "ALTER TABLE t ALTER a DROP NOT NULL", "ALTER TABLE IF EXISTS t RENAME TO u", "ALTER TABLE t SET SCHEMA app",
		"ALTER FUNCTION f(int) RENAME TO g", "ALTER TYPE mood ADD VALUE 'x'", "DROP TABLE t", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "TRUNCATE t",
		"SELECT setval('s', 1)", "SELECT own()", "DO $$ BEGIN NULL; END $$", "GRANT SELECT ON t TO app", "COMMENT ON TABLE t IS 'x'", "REFRESH MATERIALIZED VIEW m",
	} {
		_, ok := parse(t, sql).Inverse()
		assert.False(t, ok, sql)
	}
}
