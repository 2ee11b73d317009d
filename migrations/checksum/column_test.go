package checksum

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// sums are the tables of a database, by name.
func sums(t testing.TB, address string) map[string]Table {
	t.Helper()
	tables, err := Tables(context.Background(), session(t, address))
	require.NoError(t, err)
	byName := map[string]Table{}
	for _, table := range tables {
		byName[table.Table] = table
	}
	return byName
}

func TestSumTellsValuesApart(t *testing.T) {
	tests := []struct{ name, columns, one, other string }{
		{"bigints whose halves are exchanged", "bigint", "1", "4294967296"},
		{"bigints of other signs", "bigint", "-1", "0"},
		{"null and zero", "bigint", "NULL", "0"},
		{"numbers of other signs", "numeric", "5", "-5"},
		{"numbers of other scales", "numeric", "5", "5.00"},
		{"not a number and infinity", "numeric", "'NaN'", "0"},
		{"zero and minus zero", "float8", "'-0'", "0"},
		{"zero and minus zero in four bytes", "float4", "'-0'", "0"},
		{"floats that differ in the last bit", "float8", "0.1", "0.1::float8 + 1.4e-17"},
		{"moments one wrap of 32 bits apart", "timestamptz", "'2000-01-01 00:00:00.000001Z'", "'2000-01-01 01:11:34.967296Z'"},
		{"timestamps one wrap of 32 bits apart", "timestamp", "'2000-01-01 00:00:00.000001'", "'2000-01-01 01:11:34.967296'"},
		{"times one wrap of 32 bits apart", "time", "'00:00:00.000001'", "'01:11:34.967296'"},
		{"infinity and minus infinity", "date", "'infinity'", "'-infinity'"},
		{"days", "date", "'2026-11-25'", "'2026-11-26'"},
		{"intervals that are equal but not the same", "interval", "'1 day'", "'24 hours'"},
		{"enum's labels", "mood", "'sad'", "'ok'"},
		{"texts that a collation holds equal", "text COLLATE nocase", "'a'", "'A'"},
		{"texts that citext holds equal", "public.citext", "'a'", "'A'"},
		{"texts that citext holds equal, in a domain", "email", "'a'", "'A'"},
		{"a null and an empty text", "text", "NULL", "''"},
		{"a null and an empty text of a type without a hash", "tsvector", "NULL", "''"},
		{"blanks at the end that bpchar ignores", "bpchar", "'a'", "'a '"},
		{"arrays of other dimensions", "int[]", "'{1,2}'", "'{{1},{2}}'"},
		{"arrays of other bounds", "int[]", "'{1,2}'", "'[0:1]={1,2}'"},
		{"null and text in arrays", "text[]", "'{NULL}'", "'{\"NULL\"}'"},
		{"nested arrays in jsonb", "jsonb", "'[[1],2]'", "'[[1,2]]'"},
		{"scales in jsonb", "jsonb", "'1'", "'1.0'"},
		{"blanks in json", "json", "'{}'", "'{ }'"},
		{"xml", "xml", "'<a/>'", "'<a></a>'"},
		{"a null and a row of nulls", "pair", "NULL", "ROW(NULL, NULL)"},
		{"rows", "pair", "ROW(1, NULL)", "ROW(NULL, 1)"},
		{"a byte", "bytea", `'\x00'`, `'\x01'`},
		{"no byte and a zero", "bytea", `''`, `'\x00'`},
		{"booleans", "boolean", "true", "false"},
		{"uuids", "uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"},
		{"addresses with another mask", "inet", "'10.0.0.1/8'", "'10.0.0.1/16'"},
		{"columns that exchanged their values", "int, v2 int", "1, 2", "2, 1"},
		{"columns of equal values", "int, v2 int", "1, 1", "2, 2"},
		{"columns of nulls and of equal values", "text, v2 text", "NULL, NULL", "'a', 'a'"},
		{"a bigint that is the place of another column", "bigint, v2 int", "2, 1", "NULL, NULL"},
		{"numbers of rows", "int", "1), (1", "1"},
		{"pairs of equal rows", "int", "1), (1), (2), (2", "3), (3), (4), (4"},
		{"rows that exchanged their values", "int, v2 text", "1, 'a'), (2, 'b'), (3, 'c", "2, 'a'), (1, 'b'), (3, 'c"},
	}
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN email AS citext;
		CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	for i, tt := range tests {
		pgtest.Exec(t, address, fmt.Sprintf(`CREATE SCHEMA one%[1]d; CREATE TABLE one%[1]d.t (v %[2]s); INSERT INTO one%[1]d.t VALUES (%[3]s);
			CREATE SCHEMA other%[1]d; CREATE TABLE other%[1]d.t (v %[2]s); INSERT INTO other%[1]d.t VALUES (%[4]s);
			CREATE SCHEMA same%[1]d; CREATE TABLE same%[1]d.t (v %[2]s); INSERT INTO same%[1]d.t VALUES (%[3]s)`, i, tt.columns, quoted(tt.one), quoted(tt.other)))
	}
	got := sums(t, address)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			one, other, same := got[fmt.Sprintf("one%d.t", i)], got[fmt.Sprintf("other%d.t", i)], got[fmt.Sprintf("same%d.t", i)]
			assert.NotEqual(t, one.Checksum, other.Checksum)
			assert.Equal(t, one.Checksum, same.Checksum)
		})
	}
}

// quoted closes a quote that was left open, so that several rows can be written.
func quoted(values string) string {
	if strings.Count(values, "'")%2 == 1 {
		return values + "'"
	}
	return values
}

func TestSumIsOfWhatIsWrittenNotOfHowItIsStored(t *testing.T) {
	address := pgtest.Database(t)
	// The oids of the labels differ, and so does the storage of the texts.
	pgtest.Exec(t, address, `
		CREATE SCHEMA a; CREATE SCHEMA b;
		CREATE TYPE a.mood AS ENUM ('sad', 'ok'); CREATE TYPE b.mood AS ENUM ('new', 'ok'); ALTER TYPE b.mood RENAME VALUE 'new' TO 'sad';
		CREATE DOMAIN b.age AS int CHECK (value > 0); CREATE DOMAIN b.young AS b.age;
		CREATE TABLE a.t (gone int, m a.mood, n int, long text, back real); ALTER TABLE a.t DROP gone;
		CREATE TABLE b.t (back real, n b.young, long varchar, m b.mood); ALTER TABLE b.t ALTER long SET STORAGE EXTERNAL;
		INSERT INTO a.t SELECT CASE WHEN g % 2 = 0 THEN 'sad' ELSE 'ok' END::a.mood, g, repeat('long ', 1000 + g), g / 7.0 FROM generate_series(1, 50) g;
		INSERT INTO b.t SELECT back, n, long, m::text::b.mood FROM a.t ORDER BY n DESC; ANALYZE`)
	got := sums(t, address)
	assert.Equal(t, got["a.t"].Checksum, got["b.t"].Checksum)
	assert.NotEqual(t, "0", got["a.t"].Checksum)
}

// The law of the sum: it is a function of the rows as a bag and of the columns by name, and nothing else.
func TestSumDependsNeitherOnTheOrderOfRowsNorOfColumns(t *testing.T) {
	address := pgtest.Database(t)
	conn := session(t, address)
	_, err := conn.Exec(context.Background(), "SET search_path = public", pgtest.Simply)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	types := []string{"bigint", "int", "text", "numeric", "timestamptz", "jsonb", "boolean", "date"}
	value := map[string]func() string{
		"bigint": func() string { return fmt.Sprint(random.Int64N(9) << (32 * random.IntN(2))) }, "int": func() string { return fmt.Sprint(random.IntN(5)) },
		"text": func() string { return fmt.Sprint(random.IntN(5)) }, "numeric": func() string { return fmt.Sprintf("%.*f", random.IntN(3), random.Float64()) },
		"timestamptz": func() string { return fmt.Sprintf("2026-01-0%d", 1+random.IntN(5)) }, "jsonb": func() string { return fmt.Sprintf("[%d]", random.IntN(5)) },
		"boolean": func() string { return fmt.Sprint(random.IntN(2) == 0) }, "date": func() string { return fmt.Sprintf("2026-01-0%d", 1+random.IntN(5)) },
	}
	for round := range 40 {
		columns := make([]string, 1+random.IntN(5))
		rows := make([][]string, 1+random.IntN(6))
		for c := range columns {
			columns[c] = types[random.IntN(len(types))]
			for r := range rows {
				cell := "NULL"
				if random.IntN(5) > 0 {
					cell = pg.Literal(value[columns[c]]())
				}
				rows[r] = append(rows[r], cell)
			}
		}
		create := func(name string) {
			order := random.Perm(len(columns))
			var list, names []string
			for _, c := range order {
				list = append(list, fmt.Sprintf("c%d %s", c, columns[c]))
				names = append(names, fmt.Sprintf("c%d", c))
			}
			sql := fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s);", name, name, strings.Join(list, ", "))
			for _, r := range random.Perm(len(rows)) {
				var cells []string
				for _, c := range order {
					cells = append(cells, rows[r][c])
				}
				sql += fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s);", name, strings.Join(names, ", "), strings.Join(cells, ", "))
			}
			_, err := conn.Exec(context.Background(), sql, pgtest.Simply)
			require.NoError(t, err)
		}
		create("a")
		create("b")
		got, err := Tables(context.Background(), conn)
		require.NoError(t, err)
		require.Equal(t, got[0].Checksum, got[1].Checksum, "round %d: %v %v", round, columns, rows)
		was := got[0].Checksum

		// Another row, another sum.
		_, err = conn.Exec(context.Background(), "INSERT INTO b SELECT * FROM b LIMIT 1", pgtest.Simply)
		require.NoError(t, err)
		got, err = Tables(context.Background(), conn)
		require.NoError(t, err)
		require.NotEqual(t, was, got[1].Checksum, "round %d", round)
	}
}

// The sums are those of PostgreSQL 13, 15, 17 and 18 on x86-64. A server that gives others must not be compared with them.
func TestSumsAreTheSameOnEveryServer(t *testing.T) {
	address := pgtest.Database(t)
	tests := []struct{ columns, values, sum string }{
		{"bigint", "(1), (-1), (4294967296), (NULL)", "-6468894635348125600"},
		{"int", "(1), (-1), (NULL)", "8480760981907700515"},
		{"smallint", "(1), (-1), (NULL)", "8480760981907700515"},
		{"boolean", "(true), (false), (NULL)", "21349932012240149921"},
		{"text", "(''), ('ä'), ('a long text of more than twelve bytes'), (NULL)", "2038061707972001089"},
		{"uuid", "('8c4f1d0a-5b3e-7f96-a2d1-c0b9e8f7a6d5')", "3984875281836895789"},
		{"timestamptz", "('2026-11-25 14:00:00.123456+05:45'), ('infinity'), (NULL)", "-483263554084073743"},
		{"timestamp", "('2026-11-25 14:00:00.123456'), (NULL)", "8392013207155411973"},
		{"time", "('14:00:00.123456'), (NULL)", "1105342167050494556"},
		{"date", "('2026-11-25'), ('4700-01-01 BC'), (NULL)", "-14875932014302257951"},
		{"bytea", `('\x00ff'), (''), (NULL)`, "-7357315145943684782"},
		{"float8", "(1.5), ('NaN'), ('-0'), ('-Infinity'), (NULL)", "-212755443255576146"},
		{"real", "(1.5), ('NaN'), ('-0'), (NULL)", "-1807287164238639276"},
		{"numeric", "(1.50), ('NaN'), (-1e40), (NULL)", "15442366359412126296"},
		{"jsonb", `('{"b": [1, 2.0, null], "a": "ä"}'), (NULL)`, "4751908952092706872"},
		{"interval", "('1 year 2 days -3.5 seconds'), (NULL)", "7207654966535100473"},
		{"int[]", "('{1,NULL}'), (NULL)", "8627883629109246840"},
		{"inet", "('10.1.2.3/8'), ('::1')", "859988087486643019"},
	}
	for i, tt := range tests {
		pgtest.Exec(t, address, fmt.Sprintf("CREATE TABLE t%d (v %s); INSERT INTO t%d VALUES %s", i, tt.columns, i, tt.values))
	}
	got := sums(t, address)
	for i, tt := range tests {
		t.Run(tt.columns, func(t *testing.T) { assert.Equal(t, tt.sum, got[fmt.Sprintf("public.t%d", i)].Checksum) })
	}
}

func TestTableOfAsManyColumnsAsThereCanBe(t *testing.T) {
	address := pgtest.Database(t)
	columns := make([]string, 1600)
	for i := range columns {
		columns[i] = fmt.Sprintf("c%d %s", i, []string{"boolean", "jsonb", "numeric", "text", "bigint"}[i%5])
	}
	pgtest.Exec(t, address, "CREATE TABLE wide ("+strings.Join(columns, ", ")+"); INSERT INTO wide (c0) VALUES (true)")
	was := sums(t, address)["public.wide"]
	pgtest.Exec(t, address, "UPDATE wide SET c1599 = 1")
	assert.NotEqual(t, was.Checksum, sums(t, address)["public.wide"].Checksum)
}
