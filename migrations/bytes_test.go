package migrations

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// A connection that ends within a message: after any number of bytes, in either direction. What kill_test.go tries between
// messages of every kind of migration is tried here at every byte of two small ones.

func byteFolder() fstest.MapFS {
	return pgtest.Files(
		"1_tables.up.sql", "CREATE TABLE log (what text); CREATE TABLE t (a int)",
		"2_change.up.sql", "CREATE TABLE u (); INSERT INTO log VALUES ('2')",
		"3_index.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)",
	)
}

const (
	// byteStart undoes migrations 2 and 3.
	byteStart = `DROP TABLE IF EXISTS u; DROP INDEX IF EXISTS i; DELETE FROM log; DELETE FROM deploy_catalog;
		DELETE FROM deploy_migrations WHERE version > 1; UPDATE schema_migrations SET version = 1, dirty = false`
	// byteState is what is there, what the version says, and what the history does.
	byteState = `SELECT concat_ws(', ',
			CASE WHEN to_regclass('u') IS NOT NULL THEN 'u' END, (SELECT string_agg(what, '') FROM log),
			(SELECT 'i ' || CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END FROM pg_index WHERE indrelid = 't'::regclass),
			'at ' || (SELECT version || CASE WHEN dirty THEN ' dirty' ELSE '' END FROM schema_migrations),
			(SELECT string_agg(version || ' ' || status, ', ' ORDER BY version)
				FROM (SELECT DISTINCT ON (version) version, status FROM deploy_migrations WHERE version > 1 ORDER BY version, id DESC) last))`
	byteEnd = "u, 2, i valid, at 3, 2 applied, 3 applied"
)

// byteStates are the states that a run may leave, by what they begin with: nothing; the first file; the second one as well.
// A run that could not say how it ended left it "running", and an index whose build was cut is taken away by the next run.
var byteStates = []string{
	"at 1", "at 1, 2 running", "at 1, 2 failed",
	"u, 2, at 2, 2 applied", "u, 2, at 2, 2 applied, 3 running", "u, 2, at 2, 2 applied, 3 failed",
	"u, 2, at 3 dirty, 2 applied, 3 running", "u, 2, at 3 dirty, 2 applied, 3 failed",
	"u, 2, i invalid, at 3 dirty, 2 applied, 3 running", "u, 2, i invalid, at 3 dirty, 2 applied, 3 failed",
	"u, 2, i valid, at 3 dirty, 2 applied, 3 running", "u, 2, i valid, at 3 dirty, 2 applied, 3 failed",
	byteEnd,
}

// point is a place to cut at.
type point struct {
	way   pgtest.Way
	after int
}

// every is how often the next run is tried after a state that others have been tried after: what it does follows from the state.
const every = 20

func TestConnectionCutWithinAMessage(t *testing.T) {
	t.Parallel()
	setup := func() string {
		address := pgtest.Database(t)
		_, err := migrator(t, address, byteFolder()).UpTo(context.Background(), 1)
		require.NoError(t, err)
		return address
	}
	points, all := pointsOf(t, setup())
	c := &cutter{t: t, points: points, states: map[string]int{}, start: time.Now()}
	c.end, _ = t.Deadline()
	var group sync.WaitGroup
	for range 2 {
		address := setup()
		group.Go(func() { c.work(address, pgtest.Session(t, address)) })
	}
	group.Wait()
	require.Greater(t, len(c.states), 5, "the points are where something happens")
	t.Logf("%d of %d bytes tried, %s", c.tried, all, c)
	if c.tried < len(points) {
		t.Errorf("%d of %d points could not be tried before the -timeout", len(points)-c.tried, len(points))
	}
}

// cutter tries points, by several workers.
type cutter struct {
	t      *testing.T
	points []point

	start, end time.Time // end is that of the test binary, zero where it has none

	mu                        sync.Mutex
	next                      int
	tried, cuts, wrong, again int
	states                    map[string]int // how often each was left
}

func (c *cutter) String() string {
	return fmt.Sprintf("%d of them cut a run, schema between states: %d, next runs: %d, %s; states: %v",
		c.cuts, c.wrong, c.again, time.Since(c.start).Round(time.Second), c.states)
}

func (c *cutter) work(address string, conn *pgx.Conn) {
	for {
		c.mu.Lock()
		i := c.next
		c.next++
		done := i >= len(c.points) || c.wrong > 10 || !c.end.IsZero() && time.Until(c.end) < time.Minute
		if i%5000 == 4999 {
			c.t.Logf("%d tried: %s", c.tried, c)
		}
		c.mu.Unlock()
		if done {
			return
		}
		if i%500 == 499 { // the server does not do it, and each point makes and drops
			_, err := conn.Exec(context.Background(), "VACUUM")
			assert.NoError(c.t, err)
		}
		if err := c.cut(address, conn, c.points[i]); err != nil {
			c.mu.Lock()
			c.wrong++
			c.mu.Unlock()
			c.t.Errorf("byte %d %s: %v", c.points[i].after, c.points[i].way, err)
		}
	}
}

// cut runs a migrator whose connection is cut, looks, and runs another one. The error is what is wrong.
func (c *cutter) cut(address string, conn *pgx.Conn, p point) error {
	ctx := context.Background()
	if _, err := conn.Exec(ctx, byteStart, pgtest.Simply); err != nil {
		return err
	}
	wire := pgtest.NewWire(c.t, address, p.way, p.after)
	outcome, failure := migrator(c.t, wire.URL(c.t, address), byteFolder()).Up(ctx)
	wire.Close()
	state, err := left(conn)
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(byteStates, state):
		return fmt.Errorf("leaves what is neither before nor after: %s (the run said: %w)", state, failure)
	case !wire.WasCut() && failure != nil:
		return fmt.Errorf("was not cut, and failed: %w", failure)
	case failure == nil && state != byteEnd:
		return fmt.Errorf("says that it succeeded, and leaves %s", state)
	case failure != nil && strings.Contains(failure.Error(), "horse"):
		return fmt.Errorf("shows the password: %w", failure)
	}
	for _, a := range outcome.Applied {
		if !strings.Contains(state, fmt.Sprintf("%d applied", a.Version)) {
			return fmt.Errorf("says that it applied %d, and leaves %s", a.Version, state)
		}
	}
	if !c.count(state, wire.WasCut()) {
		return nil
	}
	if _, err := migrator(c.t, address, byteFolder()).Up(ctx); err != nil {
		return fmt.Errorf("left %s, and the next run does not go on: %w", state, err)
	}
	if now, err := left(conn); err != nil || now != byteEnd {
		return fmt.Errorf("left %s, and the next run ends elsewhere: %s %w", state, now, err)
	}
	return nil
}

// count says whether the next run shall be tried.
func (c *cutter) count(state string, cut bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.states[state]
	c.states[state]++
	c.tried++
	if cut {
		c.cuts++
	}
	if n > 5 && n%every != 0 {
		return false
	}
	c.again++
	return true
}

// left is the state that a run has left, when nobody is at work any more.
func left(conn *pgx.Conn) (state string, err error) {
	ctx := context.Background()
	for alone := false; !alone; {
		if err := conn.QueryRow(ctx, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()").Scan(&alone); err != nil {
			return "", err
		}
		if err := pg.Pause(ctx, time.Millisecond); err != nil {
			return "", err
		}
	}
	err = conn.QueryRow(ctx, byteState).Scan(&state)
	return state, err
}

// pointsOf are the points to try, those that matter most first. Of a run that is not cut, they are all; or, between the first
// BEGIN and the last COMMIT, every byte of the short messages that change something and of the short answers to them (COMMIT and
// its answer are), some of the long ones, and the ends of the others.
func pointsOf(t *testing.T, address string) (points []point, all int) {
	t.Helper()
	wire := pgtest.NewWire(t, address, pgtest.ToServer, -1)
	_, err := migrator(t, wire.URL(t, address), byteFolder()).Up(context.Background())
	require.NoError(t, err)
	wire.Close()
	said, answered, turns := wire.Sent(pgtest.ToServer), wire.Sent(pgtest.ToClient), wire.Turns()
	all = len(said) + len(answered)
	turns = append(turns, pgtest.Turn{ToServer: len(said), ToClient: len(answered)})
	seen := map[point]bool{}
	add := func(way pgtest.Way, from, to, step int) {
		for n := from; n < to; n += step {
			if p := (point{way, n}); !seen[p] {
				seen[p] = true
				points = append(points, p)
			}
		}
	}
	between := false
	for i, from := range turns[:len(turns)-1] {
		to := turns[i+1]
		message := said[from.ToServer:to.ToServer]
		between = between || bytes.Contains(message, []byte("BEGIN ISOLATION LEVEL READ COMMITTED"))
		between = between && !bytes.Contains(message, []byte("BEGIN ISOLATION LEVEL REPEATABLE READ"))
		if !between {
			continue
		}
		for _, part := range []struct {
			way      pgtest.Way
			from, to int
		}{{pgtest.ToServer, from.ToServer, to.ToServer}, {pgtest.ToClient, from.ToClient, to.ToClient}} {
			size := part.to - part.from
			switch {
			case changes(message) && size <= short:
				add(part.way, part.from, part.to, 1)
			case changes(message):
				add(part.way, part.from, part.to, long)
			}
			add(part.way, part.from, part.to, max(size-1, 1))
		}
	}
	if pgtest.Exhaustive() {
		important := len(points)
		add(pgtest.ToServer, 0, len(said), 1)
		add(pgtest.ToClient, 0, len(answered), 1)
		rest := points[important:] // in any order, so that what is tried when the time is up is a fair part of it
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(rest), func(i, k int) { rest[i], rest[k] = rest[k], rest[i] })
	}
	return points, all
}

// short is up to how many bytes of a message every one is tried, and long is at which distance in longer ones: any byte within
// a message leaves its receiver in want of the rest, so there the exhaustive test finds what the others do.
const short, long = 40, 97

// changes says whether a message does more than read.
func changes(message []byte) bool {
	for _, word := range []string{"INSERT INTO", "UPDATE ", "DELETE FROM", "COMMIT", "CREATE "} {
		if bytes.Contains(message, []byte(word)) {
			return true
		}
	}
	return false
}
