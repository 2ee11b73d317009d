package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing/fstest"
	"time"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

const gigabyteBar = 2.5

// The rows of a shop that make a database of 1 GB.
const (
	shopCustomers = 700_000
	shopOrders    = 2_500_000
	shopItems     = 3_500_000
)

// shopSchema is what the running release has, in its first migration.
const shopSchema = `
CREATE EXTENSION pg_stat_statements;
CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text, created_at timestamptz NOT NULL, profile jsonb);
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, placed_at timestamptz NOT NULL, status text NOT NULL, total numeric(12,2) NOT NULL, note text);
CREATE TABLE items (id bigint PRIMARY KEY, "order" bigint NOT NULL, sku text NOT NULL, amount int NOT NULL, price numeric(10,2) NOT NULL);
CREATE INDEX orders_customer ON orders (customer);
CREATE INDEX orders_placed_at ON orders (placed_at);
CREATE INDEX items_order ON items ("order");
CREATE INDEX customers_created_at ON customers (created_at);
ALTER TABLE items ADD FOREIGN KEY ("order") REFERENCES orders;`

const shopRows = `
INSERT INTO customers SELECT g, 'user' || g || '@example.' || (ARRAY['com','org','net'])[1 + g %% 3], 'Name ' || md5(g::text), '2024-01-01'::timestamptz + g * interval '37 seconds',
	jsonb_build_object('lang', (ARRAY['en','de','fr'])[1 + g %% 3], 'plan', g %% 5, 'tags', jsonb_build_array(md5((g*7)::text), g %% 100)) FROM generate_series(1, %[1]d) g;
INSERT INTO orders SELECT g, 1 + (g::bigint * 7919) %% %[1]d, '2024-01-01'::timestamptz + g * interval '11 seconds', (ARRAY['new','paid','sent','done'])[1 + g %% 4], (g %% 100000) / 100.0,
	CASE WHEN g %% 3 = 0 THEN md5(g::text) || ' left at the door, ' || md5((g+1)::text) END FROM generate_series(1, %[2]d) g;
INSERT INTO items SELECT g, 1 + (g::bigint * 104729) %% %[2]d, 'SKU-' || (g %% 20000), g %% 9 + 1, (g %% 5000) / 100.0 FROM generate_series(1, %[3]d) g;`

// shopPending are the migrations of the next release. The backfill changes a tenth of the customers.
func shopPending(customers int) fstest.MapFS {
	fsys := files(shopSchema,
		"ALTER TABLE customers ADD COLUMN language text",
		"CREATE INDEX CONCURRENTLY orders_status ON orders (status)",
		"ALTER TABLE orders ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer) REFERENCES customers NOT VALID",
		fmt.Sprintf("-- deploy: backfill public.customers by id batch 5000 pause 0s\n-- deploy: changes public.customers.language\n"+
			"UPDATE public.customers SET language = profile->>'lang' WHERE language IS NULL AND id > %d AND id BETWEEN $1 AND $2;", customers-customers/10),
	)
	for i, down := range []string{"ALTER TABLE customers DROP COLUMN language", "DROP INDEX orders_status", "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey", "SELECT 1"} {
		fsys[fmt.Sprintf("%s/%04d_change.down.sql", directory, i+2)] = &fstest.MapFile{Data: []byte(down + ";\n")}
	}
	return fsys
}

// shopTraffic is what the running release sends: it is in the database's own record, of which a rehearsal reads it.
var shopTraffic = []struct{ sql, argument string }{
	{"SELECT id, email, name FROM customers WHERE email = $1", "user%d@example.com"},
	{"SELECT count(*) FROM customers WHERE created_at > $1", "2024-02-%02d"},
	{"SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = $1", "%d"},
	{"SELECT id, status, total FROM orders WHERE customer = $1 ORDER BY placed_at DESC LIMIT 20", "%d"},
	{`SELECT sum(amount * price) FROM items WHERE "order" = $1`, "%d"},
	{"UPDATE orders SET status = 'paid' WHERE id = $1 AND status = 'new'", "%d"},
	{"UPDATE customers SET name = name WHERE email = $1", "user%d@example.com"},
	{"DELETE FROM items WHERE id = 0 AND sku = $1", "SKU-%d"},
}

// gigabyteRehearsed compares a backup, its proof and the rehearsal of a release's migrations with what people do who make
// backups: pg_dump and pg_restore, as they are by default.
func gigabyteRehearsed(ctx context.Context, s size) ([]Measure, error) {
	customers, orders, items := s.of(shopCustomers), s.of(shopOrders), s.of(shopItems)
	server, err := start(ctx, map[string]string{"shared_preload_libraries": "pg_stat_statements"})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	address, err := server.CreateDatabase(ctx, "shop")
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "bench: filling a database")
	if _, err := ours(ctx, address, files(shopSchema)); err != nil {
		return nil, err
	}
	for _, sql := range []string{fmt.Sprintf(shopRows, customers, orders, items), "VACUUM ANALYZE", "SELECT pg_stat_statements_reset()", "CHECKPOINT"} {
		if err := execute(ctx, address, sql); err != nil {
			return nil, err
		}
	}
	if err := traffic(ctx, address); err != nil {
		return nil, err
	}
	bytes, err := ask[int64](ctx, address, "SELECT pg_database_size(current_database())")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: the database has %.2f GB\n", float64(bytes)/1e9)
	pending := shopPending(customers)
	var plain, backedUp, rehearsed, whole []float64
	for run := range s.runs {
		for _, side := range []bool{run%2 == 0, run%2 != 0} {
			if side {
				dump, restore, err := dumpAndRestore(ctx, address)
				if err != nil {
					return nil, err
				}
				plain = append(plain, dump+restore)
				fmt.Fprintf(os.Stderr, "bench: pg_dump %.1f s, pg_restore %.1f s\n", dump, restore)
				continue
			}
			begun := time.Now()
			report, err := rehearseOn(ctx, address, pending)
			if err != nil {
				return nil, err
			}
			whole = append(whole, time.Since(begun).Seconds())
			backedUp, rehearsed = append(backedUp, report.Backup.Duration.Seconds()), append(rehearsed, report.Elapsed.Seconds())
			fmt.Fprintf(os.Stderr, "bench: backup and proof %.1f s, rehearsal %.1f s, all %.1f s\n", last(backedUp), last(rehearsed), last(whole))
		}
	}
	name := fmt.Sprintf("%.2f GB, pg_dump and pg_restore alone / ", float64(bytes)/1e9)
	return []Measure{
		runsAgainst(name+"backup, proof and rehearsal", "s", whole, plain, gigabyteBar),
		reported(name+"backup and proof", "s", backedUp, plain),
		reported(name+"rehearsal", "s", rehearsed, plain),
	}, nil
}

// traffic sends what the running release does, a few times.
func traffic(ctx context.Context, address string) error {
	conn, err := pg.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	for n := range 20 {
		for _, sent := range shopTraffic {
			if _, err := conn.Exec(ctx, sent.sql, fmt.Sprintf(sent.argument, n+1)); err != nil {
				return fmt.Errorf("%s: %w", sent.sql, pg.Ended(ctx, err))
			}
		}
	}
	return nil
}

// dumpAndRestore is pg_dump -Fc into a file, and pg_restore of it into an empty database of a server as the pipeline has for
// its proofs, which is quicker than Debian's: it does not flush. Its start is not counted.
func dumpAndRestore(ctx context.Context, address string) (dump, restore float64, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "dump")
	begun := time.Now()
	if err := runTool(ctx, address, "pg_dump", "-Fc", "--file", file); err != nil {
		return 0, 0, err
	}
	dump = time.Since(begun).Seconds()
	other, err := host.StartPostgres(ctx, "", host.PostgresOptions{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements"}})
	if err != nil {
		return 0, 0, err
	}
	defer other.Close()
	target, err := other.CreateDatabase(ctx, "shop")
	if err != nil {
		return 0, 0, err
	}
	begun = time.Now()
	err = runTool(ctx, target, "pg_restore", "--dbname", "shop", file)
	return dump, time.Since(begun).Seconds(), err
}

// rehearseOn is what pipeline migrate rehearse does. It tells how long its parts took, and what it found.
func rehearseOn(ctx context.Context, address string, files fs.FS) (*rehearsal.Report, error) {
	begun := time.Now()
	stage := database.Stage{
		Files: files, Config: &config.Database{Migrations: directory}, URL: address, Dumper: host.Dumper{}, Cluster: host.Cluster{},
		Release: "v2", Running: "v1", Actor: "bench", Tool: "bench",
		Notice: func(what string) { fmt.Fprintf(os.Stderr, "bench:   %6.1f s %s\n", time.Since(begun).Seconds(), what) },
	}
	report, err := stage.Rehearse(ctx)
	if err != nil {
		return nil, err
	}
	levels := map[finding.Level]int{}
	for _, f := range report.Findings {
		levels[f.Level]++
	}
	fmt.Fprintf(os.Stderr, "bench:   %s, with %d statements of the running release; the way back: %s; findings:", report.Verdict, report.Copy.Statements, report.RoundTrip.Verdict)
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		fmt.Fprintf(os.Stderr, " %d %v", levels[level], level)
	}
	fmt.Fprintln(os.Stderr)
	if report.Verdict != rehearsal.Proven {
		return nil, fmt.Errorf("the rehearsal refuses: %v", report.Reasons)
	}
	return report, nil
}
