package statement_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/statement"
)

// columnTypes are types of columns, as format_type() writes them.
var columnTypes = []string{
	"smallint", "integer", "bigint", "numeric", "numeric(10)", "numeric(10,2)", "numeric(12,2)", "numeric(12,3)", "real", "double precision", "boolean",
	"text", "character varying", "character varying(50)", "character varying(100)", "character(5)", "character(9)",
	"timestamp without time zone", "timestamp(3) without time zone", "timestamp with time zone", "timestamp(3) with time zone",
	"time without time zone", "time(0) without time zone", "time with time zone", "date", "bit varying(5)", "bit varying(9)", "bit(5)",
	"uuid", "json", "jsonb", "xml", "cidr", "inet", "oid", "regclass", "bytea", "mood", "integer[]", "bigint[]", "character varying(5)[]", "character varying(9)[]", "text[]",
}

func TestWidensIsWhatPostgreSQLDoesNotRewrite(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TYPE mood AS ENUM ('a')")
	conn := pgtest.Session(t, address)
	ctx := context.Background()
	for _, zone := range []string{"UTC", "Europe/Berlin"} {
		_, err := conn.Exec(ctx, "SET timezone = '"+zone+"'")
		require.NoError(t, err)
		changed := 0
		for _, from := range columnTypes {
			for _, to := range columnTypes {
				if zone != "UTC" && !strings.HasPrefix(from, "time") {
					continue // it makes no difference
				}
				_, err := conn.Exec(ctx, "DROP TABLE IF EXISTS t; CREATE TABLE t (a "+from+"); INSERT INTO t VALUES (NULL)", pgtest.Simply)
				require.NoError(t, err)
				var was, is uint32
				require.NoError(t, conn.QueryRow(ctx, "SELECT relfilenode FROM pg_class WHERE oid = to_regclass('t')").Scan(&was))
				if _, err := conn.Exec(ctx, "ALTER TABLE t ALTER a TYPE "+to); err != nil {
					continue // there is no cast
				}
				changed++
				require.NoError(t, conn.QueryRow(ctx, "SELECT relfilenode FROM pg_class WHERE oid = to_regclass('t')").Scan(&is))
				assert.Equal(t, was == is, statement.Widens(from, to, zone == "UTC"), "%s -> %s under %s", from, to, zone)
			}
		}
		assert.Greater(t, changed, 30)
	}
}

func TestTypeTextIsFormatType(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TYPE mood AS ENUM ('a'); CREATE SCHEMA "Odd"; CREATE TYPE "Odd"."Type" AS ENUM ('a')`)
	for _, sql := range []string{
		"int", "int4", "bigint", "int8[]", "varchar", "varchar(7)", "character varying (7) []", "char", "char(3)", "bpchar", "numeric", "decimal(4, 2)", "float", "float(3)", "real",
		"bool", "timestamp", "timestamptz(3)", "timestamp (3) without time zone", "time with time zone", "timetz(2)", "interval", "bit", "bit(3)", "varbit(3)", "bit varying",
		"text", "jsonb", "mood", `"Odd"."Type"`, `"Odd"."Type"[]`, "serial", "bigserial", "pg_catalog.int4", "pg_catalog.varchar(3)", "name", `"char"`, "date", "json",
	} {
		s := parse(t, "ALTER TABLE t ADD COLUMN a "+sql)
		pgtest.Exec(t, address, "DROP TABLE IF EXISTS t; CREATE TABLE t (a "+sql+")")
		want := pgtest.Value(t, address, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1")
		definition := s.Tree().GetAlterTableStmt().GetCmds()[0].GetAlterTableCmd().GetDef().GetColumnDef()
		assert.Equal(t, want, statement.TypeText(definition.GetTypeName()), sql)
	}
	for sql, want := range map[string]string{"geometry(Point, 4326)": "geometry(point,4326)", "users.id%TYPE": "users.id%TYPE"} {
		s := parse(t, fmt.Sprintf("CREATE FUNCTION f(a %s) RETURNS int LANGUAGE sql AS ''", sql))
		parameter := s.Tree().GetCreateFunctionStmt().GetParameters()[0].GetFunctionParameter()
		assert.Equal(t, want, statement.TypeText(parameter.GetArgType()))
	}
}

func TestQuoteQuotesWhatMustBe(t *testing.T) {
	address := pgtest.Database(t)
	conn := pgtest.Session(t, address)
	ctx := context.Background()
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	for _, word := range collect[string](t, tx, "SELECT word FROM pg_get_keywords() WHERE catcode <> 'U'") {
		assert.Equal(t, `"`+word+`"`, statement.Quote(word))
	}
	for _, name := range []string{"a", "_a1$", "Ab", "1a", "a b", `a"b`, "é", "a.b", "", "name", "text"} {
		if name == "" {
			assert.Equal(t, `""`, statement.Quote(name))
			continue
		}
		var column string
		rows, err := tx.Query(ctx, "SELECT 1 AS "+statement.Quote(name))
		require.NoError(t, err)
		column = rows.FieldDescriptions()[0].Name
		rows.Close()
		assert.Equal(t, name, column)
	}
	assert.Equal(t, `app."Odd ""T"""`, statement.Name{Schema: "app", Name: `Odd "T"`}.SQL())
	assert.Equal(t, "users", statement.Quote("users"), "what need not be is not")
}

func TestVolatilityIsWhatPostgreSQLSays(t *testing.T) {
	conn := pgtest.Session(t, pgtest.Database(t))
	rows, err := conn.Query(context.Background(), `
		SELECT proname::text, CASE max(CASE provolatile WHEN 'i' THEN 1 WHEN 's' THEN 2 ELSE 3 END) WHEN 1 THEN 'i' WHEN 2 THEN 's' ELSE 'v' END
		FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
			AND prorettype::regtype::text NOT IN ('internal', 'trigger', 'event_trigger', 'cstring', 'language_handler', 'fdw_handler', 'index_am_handler', 'table_am_handler', 'tsm_handler')
			AND NOT EXISTS (SELECT FROM unnest(proargtypes) a WHERE a::regtype::text IN ('internal', 'cstring'))
		GROUP BY 1`)
	require.NoError(t, err)
	functions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Volatility string }])
	require.NoError(t, err)
	assert.Greater(t, len(functions), 1500)
	for _, f := range functions {
		assert.GreaterOrEqual(t, string(rune(statement.VolatilityOf(statement.Name{Name: f.Name}))), f.Volatility, "%s: add it to functions.txt", f.Name)
	}
	assert.Equal(t, statement.Stable, statement.VolatilityOf(statement.Name{Name: "now"}))
	assert.Equal(t, statement.Stable, statement.VolatilityOf(statement.Name{Schema: "pg_catalog", Name: "now"}))
	assert.Equal(t, statement.Unknown, statement.VolatilityOf(statement.Name{Schema: "app", Name: "now"}))
	assert.Equal(t, statement.Volatile, statement.VolatilityOf(statement.Name{Name: "uuidv7"}), "PostgreSQL 18")
}
