package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/migrations/backup"
)

// gigabyte makes a database of about 1 GB, 6 of 10 of which are tables and the rest indexes: a shop's customers, orders and
// items.
const gigabyte = `
	CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text, created_at timestamptz NOT NULL, profile jsonb);
	INSERT INTO customers SELECT g, 'user' || g || '@example.' || (ARRAY['com','org','net'])[1 + g % 3], 'Name ' || md5(g::text), '2024-01-01'::timestamptz + g * interval '37 seconds',
		jsonb_build_object('lang', (ARRAY['en','de','fr'])[1 + g % 3], 'plan', g % 5, 'tags', jsonb_build_array(md5((g*7)::text), g % 100)) FROM generate_series(1, 700000) g;
	CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, placed_at timestamptz NOT NULL, status text NOT NULL, total numeric(12,2) NOT NULL, note text);
	INSERT INTO orders SELECT g, 1 + (g::bigint * 7919) % 700000, '2024-01-01'::timestamptz + g * interval '11 seconds', (ARRAY['new','paid','sent','done'])[1 + g % 4], (g % 100000) / 100.0,
		CASE WHEN g % 3 = 0 THEN md5(g::text) || ' left at the door, ' || md5((g+1)::text) END FROM generate_series(1, 2500000) g;
	CREATE TABLE items (id bigint PRIMARY KEY, "order" bigint NOT NULL, sku text NOT NULL, amount int NOT NULL, price numeric(10,2) NOT NULL);
	INSERT INTO items SELECT g, 1 + (g::bigint * 104729) % 2500000, 'SKU-' || (g % 20000), g % 9 + 1, (g % 5000) / 100.0 FROM generate_series(1, 3500000) g;
	CREATE INDEX ON orders (customer); CREATE INDEX ON orders (placed_at); CREATE INDEX ON items ("order"); CREATE INDEX ON customers (created_at);
	ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers; ALTER TABLE items ADD FOREIGN KEY ("order") REFERENCES orders;`

// BenchmarkBackupOfAGigabyte compares a proven backup with pg_dump --format=custom and pg_restore as they are by default, which
// prove nothing. It reports the seconds of each rung, the last three of which are climbed at once, and how many times as long
// as the two programs the whole takes.
func BenchmarkBackupOfAGigabyte(b *testing.B) {
	// Not the fast settings: those a server has by default, but for fsync, in both.
	s, err := StartPostgres(b.Context(), "", PostgresOptions{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	url, err := s.CreateDatabase(b.Context(), "big")
	require.NoError(b, err)
	conn, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), gigabyte, pgx.QueryExecModeSimpleProtocol)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), "VACUUM ANALYZE")
	require.NoError(b, err)
	require.NoError(b, conn.Close(b.Context()))
	bin := clients()[0]
	dir := b.TempDir()
	plain := func(b *testing.B) time.Duration {
		start := time.Now()
		file := filepath.Join(dir, "plain")
		require.NoError(b, process.Run(b.Context(), process.Spec{Args: []string{bin.path("pg_dump"), "--format=custom", "--file", file, "--dbname", url}, Env: bin.env(), Stderr: os.Stderr}))
		dumped := time.Since(start)
		other, err := StartPostgres(b.Context(), "", PostgresOptions{})
		require.NoError(b, err)
		defer other.Close()
		target, err := other.CreateDatabase(b.Context(), "big")
		require.NoError(b, err)
		start = time.Now()
		require.NoError(b, process.Run(b.Context(), process.Spec{Args: []string{bin.path("pg_restore"), "--dbname", target, file}, Env: bin.env(), Stderr: os.Stderr}))
		restored := time.Since(start)
		b.ReportMetric(dumped.Seconds(), "s/pg_dump")
		b.ReportMetric(restored.Seconds(), "s/pg_restore")
		return dumped + restored
	}
	identity, err := age.GenerateX25519Identity()
	require.NoError(b, err)
	for name, recipients := range map[string][]string{"plain": nil, "encrypted": {identity.Recipient().String()}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				usual := plain(b)
				made, err := backup.Make(b.Context(), backup.Options{URL: url, Dumper: Dumper{}, Cluster: Cluster{}, Dir: b.TempDir(), Temp: dir, Recipients: recipients})
				require.NoError(b, err)
				for _, r := range made.Proof {
					b.ReportMetric(r.Duration.Seconds(), "s/"+r.Name)
				}
				b.ReportMetric(made.Duration.Seconds(), "s/whole")
				b.ReportMetric(float64(made.Bytes)/1e6, "MB")
				b.ReportMetric(made.Duration.Seconds()/usual.Seconds(), "times")
			}
		})
	}
}
