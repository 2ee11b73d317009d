package folder

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestNumberedFilesRunInOrderOfTheirNumbers(t *testing.T) {
	folder := pgtest.Files("10-later.sql", "SELECT 10", "001_init.sql", "SELECT 1; SELECT 2", "001_init.down.sql", "SELECT 0", "2 users.sql", "SELECT 2",
		"0003.sql", "SELECT 3", "V4__flyway.sql", "SELECT 4", "000_zero.sql", "SELECT 0", "20260102030405_x.sql", "SELECT 1", "5.dotted.sql", "SELECT 5",
		"006_2fa.sql", "SELECT 6", "README.md", "# notes", "archive/001_old.sql", "SELECT nothing")
	for _, format := range []Format{Auto, Numbered} {
		s, err := Open(folder, Options{Dir: "m", Format: format})
		require.NoError(t, err)
		var got []string
		for _, m := range s.Migrations() {
			got = append(got, strings.TrimSpace(fmt.Sprint(m.Version, " ", m.Name, " ", m.File, " ", m.Down)))
			assert.Equal(t, []File{{m.File, m.SHA256}}, m.Files)
		}
		assert.Equal(t, []string{"0 000_zero m/000_zero.sql", "1 001_init m/001_init.sql m/001_init.down.sql", "2 2 users m/2 users.sql", "3 0003 m/0003.sql",
			"4 V4__flyway m/V4__flyway.sql", "5 5.dotted m/5.dotted.sql", "6 006_2fa m/006_2fa.sql", "10 10-later m/10-later.sql",
			"20260102030405 20260102030405_x m/20260102030405_x.sql"}, got)
	}
}

func TestNumberedFolderNamesEveryFault(t *testing.T) {
	tests := []struct {
		name   string
		folder fstest.MapFS
		want   []string
	}{
		{"the same number twice", pgtest.Files("002_x.sql", "SELECT 1", "003_a.sql", "SELECT 1", "003_b.sql", "SELECT 1", "3_c.sql", "SELECT 1"), []string{
			`m/003_b.sql: number 3 is also that of m/003_a.sql: give the one that was not applied a number of its own, or, where it has been applied everywhere, add {file: m/003_b.sql, after: "003_a"} to database.accept`,
			`m/3_c.sql: number 3 is also that of m/003_a.sql: give the one that was not applied a number of its own, or, where it has been applied everywhere, add {file: m/3_c.sql, after: "003_a"} to database.accept`}},
		{"no number", pgtest.Files("001_a.sql", "SELECT 1", "schema.sql", "SELECT 1", "Vx__a.sql", "SELECT 1"), []string{
			`m/schema.sql: no number in front, so its place in the order is unknown: name it NNN_name.sql, move it out of the folder if it is no migration (a dump, seeds), or, where it has been applied everywhere, add {file: m/schema.sql, after: "001_a"} to database.accept`,
			`m/Vx__a.sql: no number in front, so its place in the order is unknown: name it NNN_name.sql, move it out of the folder if it is no migration (a dump, seeds), or, where it has been applied everywhere, add {file: m/Vx__a.sql, after: "001_a"} to database.accept`}},
		{"no number at all", pgtest.Files("init.sql", "SELECT 1", "users.sql", "SELECT 1"),
			[]string{"m: no file begins with a number, so their order is unknown: name them 001_name.sql, 002_name.sql …"}},
		{"several numbers", pgtest.Files("V1.2__a.sql", "SELECT 1", "V1_3__b.sql", "SELECT 1", "1.4_c.sql", "SELECT 1", "2026-01-02_d.sql", "SELECT 1"), []string{
			"m/V1.2__a.sql: its version is of several numbers: write one, such as 20260102_name.sql or V10200__name.sql",
			"m/V1_3__b.sql: its version is of several numbers: write one, such as 20260102_name.sql or V10200__name.sql",
			"m/1.4_c.sql: its version is of several numbers: write one, such as 20260102_name.sql or V10200__name.sql",
			"m/2026-01-02_d.sql: its version is of several numbers: write one, such as 20260102_name.sql or V10200__name.sql"}},
		{"what Flyway has besides", pgtest.Files("V1__a.sql", "SELECT 1", "R__views.sql", "SELECT 1", "U1__a.sql", "SELECT 1", "V2_b.sql", "SELECT 1"), []string{
			"m/R__views.sql: Flyway's repeatable migration, of which nobody knows when it last ran: write a new migration whenever it changes, and move this file out of the folder",
			"m/U1__a.sql: Flyway's way back: name it V1__a.down.sql",
			"m/V2_b.sql: after the number come two underscores: V2__name.sql"}},
		{"names that say too little", pgtest.Files("1st.sql", "SELECT 1", "99999999999999999999_a.sql", "SELECT 1", "2_b.down.sql", "SELECT 1", "3_c.verify.sql", "SELECT 1"), []string{
			"m/1st.sql: after the number comes an underscore: 1_name.sql",
			"m/99999999999999999999_a.sql: the number is outside 0 to 9223372036854775807",
			"m/2_b.down.sql: the way back of a migration that is not here: restore the migration, or remove the file",
			"m/3_c.verify.sql: the check of a migration that is not here: restore the migration, or remove the file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.folder, Options{Dir: "m"})
			require.Error(t, err)
			assert.ElementsMatch(t, tt.want, strings.Split(err.Error(), "\n"))
		})
	}
	_, err := Open(pgtest.Files("1_a.up.sql", "SELECT 1", "2_b.sql", "SELECT 1"), Options{Dir: "m", Format: Numbered})
	assert.EqualError(t, err, "m/1_a.up.sql: a pair of golang-migrate's among numbered files: name it 1_a.sql, or all of them NNN_name.up.sql")
	_, err = Open(pgtest.Files("1_a.sql", "SELECT 1"), Options{Dir: "m", Format: "numberd"})
	assert.EqualError(t, err, `unknown format "numberd" of migrations: write "sql", "numbered" or "drizzle", or leave it out`)
}

func TestFilesThatHoldTheWayBackAreRefused(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"of goose", "-- +goose Up\nCREATE TABLE t ();\n\n-- +goose Down\nDROP TABLE t;\n", "m/1_a.sql:4: what follows is the way back, and would run right after the way forward: move it to m/1_a.down.sql"},
		{"of dbmate", "-- migrate:up\nCREATE TABLE t ();\n-- migrate:down transaction:false\nDROP TABLE t;\n", "m/1_a.sql:3: what follows is the way back, and would run right after the way forward: move it to m/1_a.down.sql"},
		{"of sql-migrate", "-- +migrate Up\r\nCREATE TABLE t ();\r\n-- +migrate Down\r\nDROP TABLE t;\r\n", "m/1_a.sql:3: what follows is the way back, and would run right after the way forward: move it to m/1_a.down.sql"},
		{"of node-pg-migrate", "-- Up Migration\nCREATE TABLE t ();\n-- Down Migration\nDROP TABLE t;\n", "m/1_a.sql:3: what follows is the way back, and would run right after the way forward: move it to m/1_a.down.sql"},
		{"of tern", "CREATE TABLE t ();\n---- create above / drop below ----\nDROP TABLE t;\n", "m/1_a.sql:2: what follows is the way back, and would run right after the way forward: move it to m/1_a.down.sql"},
		{"but not where nothing follows", "-- +goose Up\nCREATE TABLE t ();\n-- +goose Down\n-- nothing\n", ""},
		{"nor where a comment speaks of it", "-- Down migration is in another file\nCREATE TABLE t ();\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(pgtest.Files("1_a.sql", tt.body), Options{Dir: "m"})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			assert.EqualError(t, err, tt.want)
		})
	}
}

// Whatever a numbered folder holds, every file of it is in the sequence, or named as irregular, or in the error.
func TestNoFileOfANumberedFolderIsPassedOver(t *testing.T) {
	parts := [][]string{{"", "V", "0", "R__", "x"}, {"1", "2", "03", "10", ""}, {"_a", "__b", "-c", ".d", "", "_a.down", "_a.verify", ".1"}}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		files := map[string]bool{"1_first.sql": true}
		for range r.IntN(8) {
			name := ""
			for _, p := range parts {
				name += p[r.IntN(len(p))]
			}
			files[name+".sql"] = true
		}
		var pairs []string
		for f := range files {
			pairs = append(pairs, f, "SELECT 1")
		}
		s, irregular, err := Inspect(pgtest.Files(pairs...), Options{Dir: "m", Format: Numbered})
		seen := map[string]bool{}
		if err != nil {
			_, all := Open(pgtest.Files(pairs...), Options{Dir: "m", Format: Numbered})
			for _, line := range strings.Split(all.Error(), "\n") {
				file, _, _ := strings.Cut(strings.TrimPrefix(line, "m/"), ":")
				seen[file] = true
			}
			for f := range seen {
				require.True(t, files[f], "seed %d: a fault of %s, which is not there", seed, f)
			}
			continue
		}
		for _, m := range s.Migrations() {
			for _, f := range []string{m.File, m.Down, m.Verify} {
				seen[strings.TrimPrefix(f, "m/")] = true
			}
		}
		for _, i := range irregular {
			file := strings.TrimPrefix(i.File, "m/")
			seen[file], seen[beside(file, downFile)], seen[beside(file, verifyFile)] = true, true, true
		}
		for f := range files {
			require.True(t, seen[f], "seed %d: %s is passed over", seed, f)
		}
	}
}
