package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// manyMigrations is enough for the cost of a migration to show over that of connecting.
const manyMigrations = 500

// BenchmarkUp compares our driver, evidence included, with the one that comes with golang-migrate, on the same folder.
func BenchmarkUp(b *testing.B) {
	folder := fstest.MapFS{}
	for i := 1; i <= manyMigrations; i++ {
		folder[fmt.Sprintf("m/%04d_empty.up.sql", i)] = &fstest.MapFile{Data: []byte("SELECT 1;\n")}
	}
	b.Run("ours", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			m := migrator(b, pgtest.Database(b), folder)
			b.StartTimer()
			outcome, err := m.Up(context.Background())
			require.NoError(b, err)
			require.Len(b, outcome.Applied, manyMigrations)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*manyMigrations), "µs/migration")
	})
	b.Run("stock", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			address := pgtest.Database(b)
			b.StartTimer()
			m := stockMigrate(b, address, folder)
			require.NoError(b, m.Up())
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*manyMigrations), "µs/migration")
	})
}

// stockMigrate is golang-migrate as it comes.
func stockMigrate(t testing.TB, address string, folder fstest.MapFS) *migrate.Migrate {
	t.Helper()
	src, err := iofs.New(folder, "m")
	require.NoError(t, err)
	db, err := sql.Open("pgx/v5", address)
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	driver, err := stock.WithInstance(db, &stock.Config{DatabaseName: u.Path[1:]})
	require.NoError(t, err)
	m, err := migrate.NewWithInstance("iofs", src, "postgres", driver)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = m.Close() })
	return m
}

func TestStockMigrateAndOursKeepEachOtherOutAndReadEachOther(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "SELECT pg_sleep(1)")
	theirs := stockMigrate(t, address, folder)
	ended := make(chan error, 1)
	go func() { ended <- theirs.Up() }()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')")
	var notices []string
	folder["m/3_c.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE c ()")}
	outcome, err := migrator(t, address, folder, func(o *Options) { o.Notice = func(n string) { notices = append(notices, n) } }).Up(context.Background())
	require.NoError(t, err)
	require.NoError(t, <-ended)
	require.NotEmpty(t, notices, "it waited for the stock driver")
	require.EqualValues(t, 2, outcome.From)
	require.Len(t, outcome.Applied, 1)

	version, dirty, err := theirs.Version()
	require.NoError(t, err)
	require.EqualValues(t, 3, version)
	require.False(t, dirty)

	folder["m/4_d.up.sql"] = &fstest.MapFile{Data: []byte("SELECT 1/0")}
	require.Error(t, stockMigrate(t, address, folder).Up())
	_, err = migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrDirty, "what the stock driver left")
}
