package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

func TestSourceReadsEveryFormat(t *testing.T) {
	tests := []struct {
		name   string
		folder fstest.MapFS
		format Format
		want   []string // version name file down statements
	}{
		{"pairs", pgtest.Files("0001_a.up.sql", "SELECT 1; SELECT 2", "0001_a.down.sql", "SELECT 3", "10_b_c.up.sql", "SELECT 1", "2_x.up.sql", "VACUUM", "README.md", "hello"), Auto,
			[]string{"1 0001_a m/0001_a.up.sql m/0001_a.down.sql", "2 2_x m/2_x.up.sql ", "10 10_b_c m/10_b_c.up.sql "}},
		{"drizzle with a journal", pgtest.Files("meta/_journal.json", pgtest.Journal("0 100 0000_a", "1 200 0001_b"), "meta/0000_snapshot.json", "{}", "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1", "0001_b.down.sql", "SELECT 2"), Auto,
			[]string{"100 0000_a m/0000_a.sql ", "200 0001_b m/0001_b.sql m/0001_b.down.sql"}},
		{"drizzle with folders", pgtest.Files("20260102030405_a/migration.sql", "SELECT 1", "20260102030405_a/snapshot.json", "{}", "20260102030406_b/migration.sql", "SELECT 1", "20260102030406_b/down.sql", "SELECT 1", "notes/x.md", ""), Drizzle,
			[]string{"20260102030405 20260102030405_a m/20260102030405_a/migration.sql ", "20260102030406 20260102030406_b m/20260102030406_b/migration.sql m/20260102030406_b/down.sql"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(tt.folder, Options{Dir: "m", Format: tt.format})
			require.NoError(t, err)
			var got []string
			for _, m := range s.Migrations() {
				got = append(got, strings.Join([]string{fmt.Sprint(m.Version), m.Name, m.File, m.Down}, " "))
				assert.Len(t, m.SHA256, 64)
				assert.Positive(t, m.Statements)
				assert.Equal(t, m.Name != "2_x", m.Transactional)
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestSourceNamesEveryFault(t *testing.T) {
	drizzle := func(entries []string, more ...string) fstest.MapFS {
		return pgtest.Files(append([]string{"meta/_journal.json", pgtest.Journal(entries...)}, more...)...)
	}
	const a, b = "0 100 0000_a", "1 200 0001_b"
	tests := []struct {
		name   string
		folder fstest.MapFS
		want   []string // the lines of the error
	}{
		{"an entry without a file", drizzle([]string{a, b}, "0000_a.sql", "SELECT 1"),
			[]string{"m/meta/_journal.json:6: no file m/0001_b.sql: restore it, or remove the entry if it was never applied"}},
		{"files without an entry", drizzle([]string{a}, "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1", "0002_c.down.sql", "SELECT 1"),
			[]string{`m/0001_b.sql: not in m/meta/_journal.json, so it would never run: make migrations with drizzle-kit generate, or, where it has been applied everywhere, add {file: m/0001_b.sql, after: "0000_a"} to database.accept`,
				"m/0002_c.down.sql: the way back of a migration that is not here: restore the migration, or remove the file"}},
		{"the same idx twice", drizzle([]string{a, "0 200 0001_b"}, "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1"),
			[]string{`m/meta/_journal.json:6: idx 0 of "0001_b" is also that of "0000_a" in line 5: number the entries 0, 1, 2 … (drizzle-orm goes by when alone, so nothing else changes)`}},
		{"the same when twice", drizzle([]string{a, "1 100 0001_b"}, "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1"),
			[]string{`m/meta/_journal.json:6: when 100 of "0001_b" is also that of "0000_a" in line 5: generate it anew on top, or, where it has been applied everywhere, remove the entry and add {file: m/0001_b.sql, after: "0000_a"} to database.accept`}},
		{"an entry older than the one before", drizzle([]string{a, "1 99 0001_b"}, "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1"),
			[]string{`m/meta/_journal.json:6: when 99 of "0001_b" is before 100 of "0000_a": a database that has the latter would never get the former; generate it anew on top, or, where it has been applied everywhere, remove the entry and add {file: m/0001_b.sql, after: "0000_a"} to database.accept`}},
		{"no time", drizzle([]string{"0 0 0000_a"}, "0000_a.sql", "SELECT 1"), []string{`m/meta/_journal.json:5: when 0 of "0000_a" is no time in milliseconds: take the file from git, or generate the migration anew`}},
		{"a tag that leads elsewhere", drizzle([]string{"0 100 ../../etc/x"}), []string{`m/meta/_journal.json:5: tag "../../etc/x" is no file name`}},
		{"no entries", drizzle(nil), []string{"m/meta/_journal.json: no migrations: its list of entries is empty or missing"}},
		{"a journal that is no JSON", pgtest.Files("meta/_journal.json", "{\n  \"entries\": [\n    {\"idx\": 0,,\n"),
			[]string{"m/meta/_journal.json:3:15: invalid character ',' looking for beginning of object key string; take the file from git, or make it anew with drizzle-kit generate"}},
		{"a journal that ends early", pgtest.Files("meta/_journal.json", "{\n  \"entries\": ["),
			[]string{"m/meta/_journal.json:2:14: unexpected end of JSON input; take the file from git, or make it anew with drizzle-kit generate"}},
		{"merge conflicts in the journal", pgtest.Files("meta/_journal.json", "{\n<<<<<<< HEAD\n"),
			[]string{"m/meta/_journal.json:2:1: invalid character '<' looking for beginning of object key string; take the file from git, or make it anew with drizzle-kit generate"}},
		{"a journal of another shape", pgtest.Files("meta/_journal.json", "{\n  \"entries\": {}\n}"),
			[]string{"m/meta/_journal.json:2:15: { where [ is expected; take the file from git, or make it anew with drizzle-kit generate"}},
		{"a time that is no number", pgtest.Files("meta/_journal.json", "{\"entries\": [\n  {\"when\": \"x\"}]}"),
			[]string{"m/meta/_journal.json:2:16: json: cannot unmarshal string into Go struct field entry.when of type int64; take the file from git, or make it anew with drizzle-kit generate"}},
		{"a journal of another database", pgtest.Files("meta/_journal.json", "{\"dialect\": \"mysql\", \"entries\": []}"),
			[]string{`m/meta/_journal.json:1:20: dialect is "mysql", but only postgresql can be migrated; take the file from git, or make it anew with drizzle-kit generate`}},
		{"no journal, seen by a breakpoint", pgtest.Files("0000_a.sql", "SELECT 1;--> statement-breakpoint\nSELECT 2"),
			[]string{"m: no meta/_journal.json, without which the order of drizzle-kit's migrations is unknown: commit the meta folder (or name files NNNN_name.up.sql)"}},
		{"no journal, seen by a snapshot", pgtest.Files("0000_a.sql", "SELECT 1", "meta/0000_snapshot.json", "{}"),
			[]string{"m: no meta/_journal.json, without which the order of drizzle-kit's migrations is unknown: commit the meta folder (or name files NNNN_name.up.sql)"}},
		{"both layouts of drizzle", drizzle([]string{a}, "0000_a.sql", "SELECT 1", "20260102030405_a/migration.sql", "SELECT 1"),
			[]string{"m: both meta/_journal.json and folders with migration.sql: the upgrade to drizzle-kit 1.x is half done; finish it with `drizzle-kit up`"}},
		{"nothing at all", pgtest.Files("README.md", ""),
			[]string{"m: no migrations: expected NNNN_name.up.sql, NNN_name.sql, or drizzle-kit's meta/_journal.json, or its folders YYYYMMDDHHMMSS_name/migration.sql"}},
		{"folders", pgtest.Files("20260102030405_a/snapshot.json", "{}", "20260102030406_b/migration.sql", "SELECT 1", "20260102030406_c/migration.sql", "SELECT 1", "later_d/migration.sql", "SELECT 1", "e.sql", "SELECT 1"),
			[]string{"m/20260102030405_a: no migration.sql in it: restore it, or remove the folder if it was never applied",
				"m/20260102030406_c/migration.sql: made in the same second as m/20260102030406_b/migration.sql: give the one that was not applied another time, or, where it has been applied everywhere, add {file: m/20260102030406_c/migration.sql, after: \"20260102030406_b\"} to database.accept",
				"m/e.sql: not in a folder of its own, so it would never run: make migrations with drizzle-kit generate, or, where it has been applied everywhere, add {file: m/e.sql, after: \"20260102030406_c\"} to database.accept",
				"m/later_d/migration.sql: the folder's name does not begin with the 14 digits of a time: rename it, or, where it has been applied everywhere, add {file: m/later_d/migration.sql, after: \"\"} to database.accept"}},
		{"pairs", pgtest.Files("1_a.up.sql", "SELECT 1", "01_b.up.sql", "SELECT 1", "2_c.down.sql", "SELECT 1", "3_d.sql", "SELECT 1", "5_g.up.sql", "SELECT 1", "5_g.down.sql", "SELECT 1", "5_h.down.sql", "SELECT 1", "6_i.verify.sql", "SELECT 1", "9223372036854775808_j.up.sql", "SELECT 1", "4_e.up.sql.bak", "SELECT 1", "0_f.up.sql", "SELECT 1", "99999999999999999999_g.up.sql", "SELECT 1"),
			[]string{`m/1_a.up.sql: version 1 is also m/01_b.up.sql: give the one that was not applied another number, or, where it has been applied everywhere, add {file: m/1_a.up.sql, after: "01_b"} to database.accept`,
				`m/3_d.sql: not a name golang-migrate runs: write NNNN_name.up.sql or NNNN_name.down.sql, or, where it has been applied everywhere, add {file: m/3_d.sql, after: "1_a"} to database.accept`,
				"m/5_h.down.sql: version 5 goes back by m/5_g.down.sql too: remove one of them",
				"m/6_i.verify.sql: the check of a migration that is not here: restore the migration, or remove the file",
				"m/9223372036854775808_j.up.sql: the version is outside 0 to 9223372036854775807",
				"m/4_e.up.sql.bak: golang-migrate would run this file too: rename it, or end it in .sql",
				`m/99999999999999999999_g.up.sql: the version is no number: strconv.ParseUint: parsing "99999999999999999999": value out of range`,
				"m/2_c.down.sql: the way back of a migration that is not here: add its .up.sql"}},
		{"what cannot run", pgtest.Files(
			"1_a.up.sql", "-- Custom SQL migration file, put your code below! --",
			"2_b.up.sql", "SELECT 1;\nCOMMIT;",
			"3_c.up.sql", "COPY t FROM stdin;",
			"4_d.up.sql", "SELECT 1;\n\\connect other",
			"5_e.up.sql", "\xff\xfeS\x00E\x00",
			"6_f.up.sql", "SELECT 'caf\xe9'",
			"7_g.up.sql", "SELECT 1", "7_g.down.sql", "ROLLBACK",
			"8_h.up.sql", "DISCARD ALL",
			"9_i.up.sql", "SAVEPOINT s; ROLLBACK TO SAVEPOINT s",
		), []string{"m/1_a.up.sql: the migration has no statement: write one or remove the migration",
			"m/2_b.up.sql:2:1: a migration must not control transactions: the file runs in one, together with its version; remove the statement",
			"m/3_c.up.sql:1:1: COPY from or to the client needs psql: write INSERT",
			"m/4_d.up.sql:2:1: a command of psql, which only psql knows: remove the line",
			"m/5_e.up.sql:1:4: a NUL byte: is the file UTF-16? Save it as UTF-8",
			"m/6_f.up.sql:1:12: not UTF-8: save the file as UTF-8",
			"m/7_g.down.sql:1:1: a migration must not control transactions: the file runs in one, together with its version; remove the statement",
			"m/8_h.up.sql:1:1: DISCARD ALL would release the lock that keeps other migrations out: remove the statement"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.folder, Options{Dir: "m"})
			require.Error(t, err)
			assert.ElementsMatch(t, tt.want, strings.Split(err.Error(), "\n"))
		})
	}
}

func TestSourceAgreesWithTheEnginesOwn(t *testing.T) {
	folder := pgtest.Files("1_a.up.sql", "SELECT 1", "1_a.down.sql", "SELECT 2", "3_c.up.sql", "SELECT 3", "20_d.up.sql", "SELECT 4")
	theirs, err := iofs.New(folder, "m")
	require.NoError(t, err)
	ours, err := Open(folder, Options{Dir: "m", Format: SQL})
	require.NoError(t, err)
	same := func(what string, v uint, f func(source.Driver) (any, error)) {
		want, wantErr := f(theirs)
		got, gotErr := f(ours)
		assert.Equal(t, want, got, "%s %d", what, v)
		assert.Equal(t, errors.Is(wantErr, fs.ErrNotExist), errors.Is(gotErr, fs.ErrNotExist), "%s %d", what, v)
	}
	body := func(r io.ReadCloser, _ string, err error) (any, error) {
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	same("first", 0, func(d source.Driver) (any, error) { return d.First() })
	for v := range uint(22) {
		same("previous of", v, func(d source.Driver) (any, error) { return d.Prev(v) })
		same("next of", v, func(d source.Driver) (any, error) { return d.Next(v) })
		same("up", v, func(d source.Driver) (any, error) { return body(d.ReadUp(v)) })
		same("down", v, func(d source.Driver) (any, error) { return body(d.ReadDown(v)) })
	}
	_, err = ours.Open("")
	require.Error(t, err)
	require.NoError(t, ours.Close())
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(pgtest.Journal("0 100 0000_a", "1 200 0001_b")))
	f.Add([]byte(`{"entries": [`))
	f.Add([]byte(`{"entries": [{"idx": 1e3}]} x`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, at, err := parseJournal(body)
		if err != nil {
			if line, column := script.LineColumn(string(body), int(at)); line < 1 || column < 1 || line > strings.Count(string(body), "\n")+1 {
				t.Fatalf("an error at %d:%d", line, column)
			}
			return
		}
		last := 1
		for _, e := range entries {
			if e.line < last {
				t.Fatalf("line %d after %d", e.line, last)
			}
			last = e.line
		}
	})
}
