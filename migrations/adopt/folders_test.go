package adopt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/folder"
)

// twoFolders is drizzle-kit's, and one that a runner made by hand has applied.
func twoFolders(more ...string) fstest.MapFS {
	return with(journal("0000_a", "0001_b", "0002_c"), append([]string{"server/migrations/001_init.sql", sql("init"), "server/migrations/002_more.sql", sql("more")}, more...)...)
}

func TestTwoFoldersAppliedByTwoRunnersAreTakenOver(t *testing.T) {
	drizzle := drizzleTable + drizzleRow(sql("0000_a"), jan(1)) + drizzleRow(sql("0001_b"), jan(2))
	const hand = "a runner made by hand, no hash stored"
	tests := []story{
		{name: "in the order of the times that both stored", setup: drizzle + handTable + "INSERT INTO schema_migrations VALUES ('002_more.sql', '2026-01-01 12:00Z'), ('001_init.sql', '2025-12-31 12:00Z')", files: twoFolders(), more: []string{"server/migrations"},
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "1767398400000 m/0002_c.sql: pending",
				"- server/migrations/001_init.sql: applied " + hand, "- server/migrations/002_more.sql: applied " + hand},
			says:    []string{"refuse not-accepted", "note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/001_init.sql, after: ""}`, `{file: server/migrations/002_more.sql, after: "0000_a"}`}, version: jan(2)},
		{name: "never after a migration that is pending", setup: drizzle + handTable + "INSERT INTO schema_migrations VALUES ('001_init.sql', '2026-02-01'), ('002_more.sql', '2026-01-15')", files: twoFolders(), more: []string{"server/migrations/"},
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "1767398400000 m/0002_c.sql: pending",
				"- server/migrations/001_init.sql: applied " + hand, "- server/migrations/002_more.sql: applied " + hand},
			says:    []string{"refuse not-accepted", "note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/002_more.sql, after: "0001_b"}`, `{file: server/migrations/001_init.sql, after: "0001_b"}`}, version: jan(2)},
		{name: "once they are accepted, also without naming the folder", setup: drizzle + handTable + handRows("001_init.sql", "002_more.sql"), files: twoFolders(),
			accept: []folder.Accept{{File: "server/migrations/001_init.sql"}, {File: "server/migrations/002_more.sql", After: "0001_b"}},
			want: []string{"1767225600000 server/migrations/001_init.sql: applied " + hand, "1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal",
				"1767312000000 server/migrations/002_more.sql: applied " + hand, "1767398400000 m/0002_c.sql: pending"},
			says:    []string{"note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/001_init.sql, after: ""}`, `{file: server/migrations/002_more.sql, after: "0001_b"}`}, version: jan(2)},
		{name: "but not a file that nobody applied", setup: drizzle + handTable + handRows("001_init.sql"), files: twoFolders(), more: []string{"server/migrations"}, accept: []folder.Accept{{File: "server/migrations/001_init.sql"}},
			want: []string{"1767225600000 server/migrations/001_init.sql: applied " + hand, "1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal",
				"1767398400000 m/0002_c.sql: pending", "- server/migrations/002_more.sql: out-of-order"},
			says:    []string{"refuse out-of-order server/migrations/002_more.sql", "note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/001_init.sql, after: ""}`}, version: jan(2)},
		{name: "but not with a migration that is pending", setup: drizzle + handTable + handRows("001_init.sql", "002_more.sql"), files: twoFolders(),
			accept: []folder.Accept{{File: "server/migrations/001_init.sql"}, {File: "server/migrations/002_more.sql", After: "0002_c"}},
			want: []string{"1767225600000 server/migrations/001_init.sql: applied " + hand, "1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal",
				"1767398400000 m/0002_c.sql: pending", "1767398400000 server/migrations/002_more.sql: half-applied " + hand},
			says:    []string{"refuse half-applied server/migrations/002_more.sql", "note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/001_init.sql, after: ""}`, `{file: server/migrations/002_more.sql, after: "0002_c"}`}, version: jan(2)},
		{name: "but not where the folder itself was never applied", setup: handTable + handRows("001_init.sql", "002_more.sql"), files: twoFolders(), more: []string{"server/migrations"},
			want: []string{"1767225600000 m/0000_a.sql: pending", "1767312000000 m/0001_b.sql: pending", "1767398400000 m/0002_c.sql: pending",
				"- server/migrations/001_init.sql: applied " + hand, "- server/migrations/002_more.sql: applied " + hand},
			says: []string{"refuse nothing-to-follow server/migrations/001_init.sql", "note order-unproven", "note pending"}, version: -1},
		{name: "where both are drizzle-kit's, each with a table of its own", files: with(journal("0000_a"), "server/meta/_journal.json", pgtest.Journal("0 1767229200000 0000_x"), "server/0000_x.sql", sql("x")), more: []string{"server"},
			setup: drizzleTable + drizzleRow(sql("0000_a"), jan(1)) + "CREATE TABLE server_drizzle (id serial, hash text, created_at bigint); INSERT INTO server_drizzle (hash, created_at) VALUES ('" + folder.Hash([]byte(sql("x"))) + "', 1767229200000)",
			want:  []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "- server/0000_x.sql: applied drizzle-orm, hash equal"},
			says:  []string{"refuse not-accepted", "note order-unproven"}, propose: []string{`{file: server/0000_x.sql, after: "0000_a"}`}, version: jan(1)},
		{name: "where one runner applied both", setup: handTable + handRows("001_a.sql", "002_b.sql", "001_x.sql", "gone.sql"), files: with(pgtest.Files("001_a.sql", sql("a"), "002_b.sql", sql("b")), "server/001_x.sql", sql("x")), more: []string{"server"},
			want: []string{"1 m/001_a.sql: applied " + hand, "2 m/002_b.sql: applied " + hand, "- server/001_x.sql: applied " + hand, "- gone.sql: missing a runner made by hand, in public.schema_migrations"},
			says: []string{"refuse not-accepted", "refuse missing table public.schema_migrations", "note order-unproven"}, propose: []string{`{file: server/001_x.sql, after: "002_b"}`}, version: 2},
		{name: "where one runner applied as many of both", setup: handTable + handRows("001_a.sql", "001_x.sql"), files: with(pgtest.Files("001_a.sql", sql("a")), "server/001_x.sql", sql("x")), more: []string{"server"},
			want: []string{"1 m/001_a.sql: applied " + hand, "- server/001_x.sql: applied " + hand},
			says: []string{"refuse not-accepted", "note order-unproven"}, propose: []string{`{file: server/001_x.sql, after: "001_a"}`}, version: 1},
		{name: "by names where no times are stored", setup: drizzle + "CREATE TABLE migrations (name text); INSERT INTO migrations VALUES ('001_init.sql'), ('002_more.sql'); CREATE TABLE more_migrations (name text); INSERT INTO more_migrations VALUES ('0000_x')",
			files: with(twoFolders(), "m/0000_x.sql", sql("x")), more: []string{"server/migrations"},
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "1767398400000 m/0002_c.sql: pending",
				"- m/0000_x.sql: applied " + hand, "- server/migrations/001_init.sql: applied " + hand, "- server/migrations/002_more.sql: applied " + hand},
			says:    []string{"refuse not-accepted", "note order-unproven", "note pending"},
			propose: []string{`{file: server/migrations/001_init.sql, after: ""}`, `{file: server/migrations/002_more.sql, after: ""}`, `{file: m/0000_x.sql, after: "0000_a"}`}, version: jan(2)},
		{name: "where a folder of the other one is accepted", setup: drizzle + `CREATE TABLE _prisma_migrations (migration_name text, checksum text, finished_at timestamptz, rolled_back_at timestamptz, started_at timestamptz, id text);
				INSERT INTO _prisma_migrations VALUES ('20260101000000_x', '` + folder.Hash([]byte("SELECT 1")) + `', '2026-01-01 06:00Z')`,
			files: with(journal("0000_a", "0001_b"), "prisma/migrations/20260101000000_x/migration.sql", "SELECT 1"), accept: []folder.Accept{{File: "prisma/migrations/20260101000000_x/migration.sql", After: "0000_a"}},
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767225600000 prisma/migrations/20260101000000_x/migration.sql: applied Prisma, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal"},
			says: []string{"note order-unproven"}, propose: []string{`{file: prisma/migrations/20260101000000_x/migration.sql, after: "0000_a"}`}, version: jan(2)},
		{name: "unless a table may be about either", setup: handTable + handRows("001_a.sql"), files: with(pgtest.Files("001_a.sql", "SELECT 1"), "server/001_a.sql", "SELECT 1"), more: []string{"server"},
			want: []string{"1 m/001_a.sql: pending", "- server/001_a.sql: out-of-order"},
			says: []string{"refuse ambiguous-evidence table public.schema_migrations", "refuse out-of-order server/001_a.sql", "note pending"}, version: -1},
		{name: "where one runner went on in the table of another schema", setup: drizzle + "CREATE SCHEMA app; CREATE TABLE app.__drizzle_migrations (LIKE drizzle.__drizzle_migrations INCLUDING ALL); INSERT INTO app.__drizzle_migrations (hash, created_at) VALUES ('" +
			folder.Hash([]byte(sql("0002_c"))) + "', " + "1767398400000)", files: journal("0000_a", "0001_b", "0002_c"),
			want:    []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "1767398400000 m/0002_c.sql: applied drizzle-orm, hash equal"},
			version: jan(3)},
	}
	tell(t, tests)
}

// Whatever the times are that two runners stored: with what is proposed, the plan is not refused, and each runner's files
// are in the order in which it applied them.
func TestProposalsKeepTheOrderOfEachRunner(t *testing.T) {
	address := pgtest.Database(t)
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		var names, setup, hand []string
		for i := range 1 + r.IntN(4) {
			names = append(names, fmt.Sprintf("%04d_m", i))
			setup = append(setup, drizzleRow(sql(names[i]), jan(int64(i+1))))
		}
		files := journal(names...)
		at := time.UnixMilli(jan(0))
		for i, number := range r.Perm(1 + r.IntN(6)) { // in whatever order
			at = at.Add(time.Duration(r.IntN(40)) * time.Hour)
			name := fmt.Sprintf("server/%03d_s%d.sql", number, i)
			hand = append(hand, name)
			with(files, name, sql(fmt.Sprintf("s%d", i)))
			setup = append(setup, fmt.Sprintf("INSERT INTO schema_migrations VALUES ('%s', '%s');", path.Base(name), at.UTC().Format(time.RFC3339)))
		}
		pgtest.Exec(t, address, empty+drizzleTable+"CREATE TABLE schema_migrations (filename text, applied_at timestamptz, id serial);"+strings.Join(setup, ""))
		proposed := look(t, address, files, nil, "server")
		p := look(t, address, files, proposed.Accept, "server")
		require.False(t, p.Refused(), "seed %d: %s", seed, p.Text())
		require.Equal(t, jan(int64(len(names))), p.Version, "seed %d", seed)
		var ran []string
		for _, f := range p.Files {
			require.Equal(t, Applied, f.Verdict, "seed %d", seed)
			if strings.HasPrefix(f.File, "server/") {
				ran = append(ran, f.File)
			}
		}
		require.Equal(t, hand, ran, "seed %d", seed)
	}
}

func TestFoldersThatCannotBeReadAreErrors(t *testing.T) {
	conn := session(t, pgtest.Database(t))
	for _, tt := range []struct {
		name  string
		files fstest.MapFS
		more  []string
		want  string
	}{
		{"the folder", pgtest.Files("1_a.sql", "COMMIT"), nil, "m/1_a.sql:1:1: a migration must not control transactions: the file runs in one, together with its version; remove the statement"},
		{"a further one", pgtest.Files("1_a.sql", "SELECT 1"), []string{"nowhere"}, "nowhere: no such directory of migrations: open nowhere: file does not exist"},
		{"the folder as a further one", pgtest.Files("1_a.sql", "SELECT 1"), []string{"m/"}, "m: the folder itself, so it is no further one: name the one of the other runner"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Look(context.Background(), conn, tt.files, folder.Options{Dir: "m"}, tt.more)
			assert.EqualError(t, err, tt.want)
		})
	}
}

// What people read of the three cases that they meet.
func TestPlanForPeople(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1))+drizzleRow(sql("0001_b"), jan(2))+drizzleRow("SELECT 1", jan(3))+handTable+handRows("001_init.sql", "002_more.sql", "009_gone.sql"))
	files := with(twoFolders(), "m/0001_x.sql", "SELECT 1", "m/0001_b.sql", "-- edited\n"+sql("0001_b"), "server/migrations/003_new.sql", "SELECT 1")
	refused := look(t, address, files, nil, "server/migrations")
	golden(t, "refused.txt", refused.Text())
	golden(t, "refused.yaml", refused.YAML())

	address = pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1))+drizzleRow(sql("0001_b"), jan(2))+handTable+handRows("001_init.sql", "002_more.sql"))
	proposed := look(t, address, twoFolders(), nil, "server/migrations")
	accepted := look(t, address, twoFolders(), proposed.Accept, "server/migrations")
	golden(t, "accepted.txt", accepted.Text())
	conn := session(t, address)
	p, err := Look(context.Background(), conn, twoFolders(), folder.Options{Dir: "m", Accept: proposed.Accept}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Apply(context.Background(), conn, Who{Run: "run"}))
	golden(t, "again.txt", look(t, address, twoFolders(), proposed.Accept).Text())
	assert.Empty(t, look(t, pgtest.Database(t), journal("0000_a"), nil).YAML())
}
