package rehearsal

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/folder"
)

// The users of the two shops. Where the danger is no matter of size, a small one is quicker to copy.
const (
	manyUsers = 1_000_000
	fewUsers  = 20_000
)

// shop is a database that the suite's migrations are for.
type shop struct {
	server string // its database postgres
	name   string // that all copies are made of, at version 1
	script string // which makes it
	users  int
}

// openShops starts a server and makes shops of so many users.
func openShops(t *testing.T, users ...int) []*shop {
	t.Helper()
	// Enough memory, and no checkpoint meanwhile: what is measured is what migrations do.
	c := pgtest.Start(t, map[string]string{"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"})
	text, err := os.ReadFile("testdata/suite/shop.sql")
	require.NoError(t, err)
	var shops []*shop
	for _, n := range users {
		s := &shop{server: c.URL, users: n, name: fmt.Sprintf("shop_%d", n), script: strings.ReplaceAll(string(text), ":users", strconv.Itoa(n))}
		pgtest.Exec(t, c.URL, "CREATE DATABASE "+s.name)
		address, err := pg.OnDatabase(c.URL, s.name)
		require.NoError(t, err)
		m, err := migrations.New(migrations.Options{URL: address, FS: pgtest.Files("1_shop.up.sql", s.script), Folder: folder.Options{Dir: "m"}})
		require.NoError(t, err)
		_, err = m.Up(context.Background())
		require.NoError(t, err)
		pgtest.Exec(t, address, "VACUUM ANALYZE")
		shops = append(shops, s)
	}
	return shops
}

// copy makes a database like the shop's. drop removes it.
func (s *shop) copy(t *testing.T) (address string, drop func()) {
	t.Helper()
	name := "copy_" + strings.ToLower(rand.Text())
	pgtest.Eventually(t, s.server, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '"+s.name+"')")
	how := ""
	if pgtest.Value(t, s.server, "current_setting('server_version_num')::int >= 150000") == "true" {
		how = " STRATEGY FILE_COPY"
	}
	pgtest.Exec(t, s.server, "CREATE DATABASE "+name+" TEMPLATE "+s.name+how)
	address, err := pg.OnDatabase(s.server, name)
	require.NoError(t, err)
	return address, func() { pgtest.Exec(t, s.server, "DROP DATABASE "+name+" WITH (FORCE)") }
}

// request is a statement of the running release, and the values that it comes with.
type request struct {
	sql       string
	calls     int64
	arguments func(i, users int) []any
}

// labels are the values of order_status, as the running release knows them.
var labels = []string{"new", "paid", "shipped"}

// day is when the shop is used.
var day = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// some is the i-th of several numbers between 1 and n, in no order.
func some(i, n int) int { return i*2654435761%n + 1 }

// requests are all that the running release sends. The arguments are the i-th for a shop of so many users.
var requests = []request{
	{"SELECT id, name, country, visits, referrer FROM users WHERE email = $1", 900, func(i, users int) []any { return []any{fmt.Sprintf("user%d@example.org", some(i, users))} }},
	{"SELECT id, name FROM users WHERE joined >= $1 ORDER BY joined LIMIT $2", 50, func(i, users int) []any { return []any{day.AddDate(-6, 0, 0), 10} }},
	{"UPDATE users SET visits = visits + $1, seen = $2 WHERE id = $3", 800, func(i, users int) []any { return []any{1, day, some(i, users)} }},
	{"INSERT INTO users (email, name, country, referrer, joined, seen) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id", 20, func(i, users int) []any {
		return []any{fmt.Sprintf("new%d@example.org", i), "New", "de", "campaign 1", day, day}
	}},
	{"SELECT id, status, total, due FROM orders WHERE user_id = $1 ORDER BY placed DESC LIMIT $2", 400, func(i, users int) []any { return []any{3 * some(i, users*3/10), 10} }},
	{"SELECT o.id, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE u.name = $1", 60, func(i, users int) []any { return []any{fmt.Sprintf("Name %d", some(i, users))} }},
	{"INSERT INTO orders (user_id, status, total, note, due) VALUES ($1, $2, $3, $4, $5) RETURNING id", 30, func(i, users int) []any {
		return []any{some(i, users), labels[i%3], "19.90", "leave it at the door", day}
	}},
	{"UPDATE orders SET status = $1, note = $2 WHERE id = $3", 90, func(i, users int) []any { return []any{labels[i%3], "called", some(i, users*3/10)} }},
	{"SELECT sum(amount) FROM payments WHERE order_id = $1", 100, func(i, users int) []any { return []any{some(i, users*3/10)} }},
	{"INSERT INTO payments (order_id, amount, method) VALUES ($1, $2, $3)", 30, func(i, users int) []any { return []any{some(i, users*3/10), "19.90", "card"} }},
	{"UPDATE payments SET amount = $1 WHERE id = $2", 5, func(i, users int) []any { return []any{"0.00", some(i, users*3/10)} }},
	{"INSERT INTO reviews (user_id, stars, body) VALUES ($1, $2, $3)", 10, func(i, users int) []any { return []any{some(i, 4000), i%5 + 1, "good"} }},
	{"UPDATE reviews SET body = $1 WHERE id = $2", 10, func(i, users int) []any { return []any{"better", some(i, 4000)} }},
	{"SELECT percent FROM coupons WHERE code = $1", 70, func(i, users int) []any { return []any{fmt.Sprintf("COUPON-%d", some(i, 50))} }},
	{"INSERT INTO coupons (code, percent) VALUES ($1, $2)", 2, func(i, users int) []any { return []any{fmt.Sprintf("CAMPAIGN-%d", i), 5} }},
	{"SELECT value FROM settings WHERE key = $1", 2000, func(i, users int) []any { return []any{fmt.Sprintf("setting.%d", some(i, 20))} }},
	{"UPDATE settings SET value = $1, changed = changed + $2 WHERE key = $3", 5, func(i, users int) []any { return []any{"off", 1, fmt.Sprintf("setting.%d", some(i, 20))} }},
	{"INSERT INTO wishes (user_id, product) VALUES ($1, $2)", 10, func(i, users int) []any { return []any{some(i, users), "product 1"} }},
	{"SELECT amount FROM price_list WHERE product = $1", 500, func(i, users int) []any { return []any{fmt.Sprintf("product %d", some(i, 200))} }},
	{"SELECT email, country FROM active_users WHERE id = $1", 40, func(i, users int) []any { return []any{some(i, users)} }},
	{"SELECT c.name, s.orders, s.total FROM sales s JOIN countries c ON c.code = s.country WHERE s.country = $1", 30, func(i, users int) []any {
		return []any{[]string{"de", "fr", "at", "ch", "us"}[i%5]}
	}},
	{"SELECT kind, at FROM events WHERE user_id = $1 AND at >= $2", 80, func(i, users int) []any { return []any{some(i, users), day.AddDate(0, -6, 0)} }},
	{"INSERT INTO events (user_id, kind, at) VALUES ($1, $2, $3)", 300, func(i, users int) []any { return []any{some(i, users), "click", day} }},
	{"SELECT count(*) FROM events_2024 WHERE user_id = $1 AND at >= $2 AND at < $3", 1, func(i, users int) []any {
		return []any{some(i, users), day.AddDate(-2, 0, 0), day.AddDate(-2, 0, 1)}
	}},
}

// application is the running release as the rehearsal knows it.
func (*shop) application() []corpus.Statement {
	var list []corpus.Statement
	for _, r := range requests {
		list = append(list, corpus.Statement{SQL: r.sql, Calls: r.calls, Source: "traffic"})
	}
	return list
}

// crowd is the running release at work: a session for each of its statements, which sends it again and again and gives up
// waiting for a lock after its patience. Nothing that it writes stays.
type crowd struct {
	patience time.Duration
	stop     context.CancelFunc
	group    sync.WaitGroup
	mu       sync.Mutex
	round    map[string]int           // of each statement: how often it was answered
	waited   map[string]time.Duration // the longest that it did not get a lock for, beyond its patience
}

// between is the pause between two statements of a session.
const between = 10 * time.Millisecond

func (s *shop) startCrowd(t *testing.T, address string, patience time.Duration) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{patience: patience, stop: stop, round: map[string]int{}, waited: map[string]time.Duration{}}
	for _, r := range requests {
		conn, err := pgx.Connect(context.Background(), address)
		require.NoError(t, err)
		_, err = conn.Exec(context.Background(), fmt.Sprintf("SET lock_timeout = %d", patience.Milliseconds()))
		require.NoError(t, err)
		c.group.Go(func() {
			defer conn.Close(context.Background())
			c.work(ctx, conn, s, r)
		})
	}
	c.settle()
	return c
}

// work sends a statement until the crowd goes home. A statement that was refused a lock is sent again at once; until it gets
// it, it has been waiting.
func (c *crowd) work(ctx context.Context, conn *pgx.Conn, s *shop, r request) {
	var since time.Time
	for i := 0; ctx.Err() == nil; {
		start := time.Now()
		err := s.once(conn, r, i)
		if isLockTimeout(err) {
			if since.IsZero() {
				since = start
			}
			continue
		}
		c.mu.Lock()
		if !since.IsZero() {
			c.waited[r.sql] = max(c.waited[r.sql], time.Since(since))
			since = time.Time{}
		}
		c.round[r.sql]++
		c.mu.Unlock()
		i++
		_ = pg.Pause(ctx, between)
	}
}

// settle waits until every statement has been answered once more.
func (c *crowd) settle() {
	c.mu.Lock()
	goal := map[string]int{}
	for _, r := range requests {
		goal[r.sql] = c.round[r.sql] + 2 // the next answer may be of one that was sent before
	}
	c.mu.Unlock()
	for _, r := range requests {
		for {
			c.mu.Lock()
			done := c.round[r.sql] >= goal[r.sql]
			c.mu.Unlock()
			if done {
				break
			}
			_ = pg.Pause(context.Background(), between)
		}
	}
}

// leave ends the crowd, and says who waited the longest.
func (c *crowd) leave() (longest time.Duration, sql string) {
	c.settle()
	c.stop()
	c.group.Wait()
	for s, d := range c.waited {
		if d > longest {
			longest, sql = d, s
		}
	}
	return longest, sql
}

// once sends a statement and takes back what it did.
func (s *shop) once(conn *pgx.Conn, r request, i int) error {
	ctx := context.Background()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	rows, err := tx.Query(ctx, r.sql, r.arguments(i, s.users)...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}
