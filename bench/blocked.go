package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// accountRows are as many as it takes for what scans the table to take much longer than a busy machine's processors make
// anybody wait.
const accountRows = 10_000_000

// accounts are a table of rows of 100 bytes, and one that it could refer to.
const accounts = `
	CREATE TABLE public.owners (id bigint PRIMARY KEY, name text NOT NULL);
	INSERT INTO public.owners SELECT g, 'owner ' || g FROM generate_series(1, %[2]d) g;
	CREATE TABLE public.accounts (id bigint PRIMARY KEY, owner bigint NOT NULL, balance bigint NOT NULL, email text, opened timestamptz NOT NULL);
	INSERT INTO public.accounts SELECT g, 1 + (g::bigint * 7919) %% %[2]d, g %% 1000, md5(g::text) || '@example.org', '2024-01-01'::timestamptz + g * interval '1 s' FROM generate_series(1, %[1]d) g`

// change is one change of the schema: as it is written without a thought, which keeps others out for as long as it works,
// and as the pipeline's rules advise, in files.
type change struct {
	name  string
	naive string
	safe  []string
	undo  string
	bar   float64 // of what the naive one makes others wait; 0 where there is no safer form
}

const blockedBar = 0.05

var changes = []change{
	{
		name: "add a column", naive: "ALTER TABLE public.accounts ADD COLUMN kind text NOT NULL DEFAULT 'plain'",
		safe: []string{"ALTER TABLE public.accounts ADD COLUMN kind text NOT NULL DEFAULT 'plain'"},
		undo: "ALTER TABLE public.accounts DROP COLUMN IF EXISTS kind",
	}, {
		name: "add an index", naive: "CREATE INDEX accounts_email ON public.accounts (email)",
		safe: []string{"CREATE INDEX CONCURRENTLY accounts_email ON public.accounts (email)"},
		undo: "DROP INDEX IF EXISTS public.accounts_email", bar: blockedBar,
	}, {
		name: "add a foreign key", naive: "ALTER TABLE public.accounts ADD CONSTRAINT accounts_owner FOREIGN KEY (owner) REFERENCES public.owners",
		safe: []string{
			"ALTER TABLE public.accounts ADD CONSTRAINT accounts_owner FOREIGN KEY (owner) REFERENCES public.owners NOT VALID",
			"ALTER TABLE public.accounts VALIDATE CONSTRAINT accounts_owner",
		},
		undo: "ALTER TABLE public.accounts DROP CONSTRAINT IF EXISTS accounts_owner", bar: blockedBar,
	}, {
		name: "make a column NOT NULL", naive: "ALTER TABLE public.accounts ALTER COLUMN email SET NOT NULL",
		safe: []string{
			"ALTER TABLE public.accounts ADD CONSTRAINT accounts_email_there CHECK (email IS NOT NULL) NOT VALID",
			"ALTER TABLE public.accounts VALIDATE CONSTRAINT accounts_email_there",
			"ALTER TABLE public.accounts ALTER COLUMN email SET NOT NULL; ALTER TABLE public.accounts DROP CONSTRAINT accounts_email_there",
		},
		undo: "ALTER TABLE public.accounts ALTER COLUMN email DROP NOT NULL, DROP CONSTRAINT IF EXISTS accounts_email_there", bar: blockedBar,
	}, {
		// What everybody waits on this machine when nothing is in the way.
		name: "change nothing", naive: "SELECT pg_sleep(5)", safe: []string{"SELECT pg_sleep(5)"}, undo: "SELECT 1",
	},
}

// migrator is one way to apply a change.
type migrator struct {
	name string
	up   func(context.Context, string, change) error
}

var (
	oursSafe = migrator{"ours", func(ctx context.Context, address string, c change) error {
		_, err := ours(ctx, address, files(c.safe...))
		return err
	}}
	theirsNaive = migrator{"golang-migrate", func(ctx context.Context, address string, c change) error {
		return theirs(ctx, address, files(c.naive))
	}}
	psqlNaive = migrator{"psql", func(ctx context.Context, address string, c change) error {
		return psql(ctx, address, files(c.naive))
	}}
)

// impact is what one run made others wait, in milliseconds, and how long it took.
type impact struct {
	read, write, probed99, pgbench, pgbench99 []float64 // the longest, and the longest of 99 of 100
	seconds                                   []float64
}

func (i *impact) probed() []float64 {
	var worst []float64
	for n := range i.read {
		worst = append(worst, max(i.read[n], i.write[n]))
	}
	return worst
}

// blocked measures how long readers and writers of a table wait while its schema is changed.
func blocked(ctx context.Context, s size) ([]Measure, error) {
	rows := s.of(accountRows)
	server, err := start(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	address, err := server.CreateDatabase(ctx, "bench")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: filling a table of %d rows\n", rows)
	for _, sql := range []string{fmt.Sprintf(accounts, rows, max(1, rows/10)), "VACUUM ANALYZE"} {
		if err := execute(ctx, address, sql); err != nil {
			return nil, err
		}
	}
	var measures []Measure
	for _, c := range changes {
		compared, err := compare(ctx, address, rows, s.runs, c)
		if err != nil {
			return measures, err
		}
		measures = append(measures, compared...)
	}
	behind, err := behindReader(ctx, address, rows, s.runs)
	return append(measures, behind...), err
}

// compare applies a change by each migrator in turn.
func compare(ctx context.Context, address string, rows, runs int, c change) ([]Measure, error) {
	sides := []migrator{theirsNaive, oursSafe, psqlNaive}
	found := make([]impact, len(sides))
	for run := range runs {
		for i := range sides {
			i = (i + run) % len(sides) // none is always the first
			if err := found[i].measure(ctx, address, rows, c, sides[i], nil); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.name, sides[i].name, err)
			}
			fmt.Fprintf(os.Stderr, "bench: %s, %s: %.1f s, probes waited %s ms at most, pgbench %s ms\n", c.name, sides[i].name,
				last(found[i].seconds), number(last(found[i].probed())), number(last(found[i].pgbench)))
		}
	}
	stock, own, hand := &found[0], &found[1], &found[2]
	judged := func(name string, own, stock []float64) Measure {
		if c.bar == 0 {
			return reported(name, "ms", own, stock)
		}
		return runsAgainst(name, "ms", own, stock, c.bar)
	}
	return []Measure{
		judged(c.name+": longest wait of a probe", own.probed(), stock.probed()),
		judged(c.name+": longest wait of a probe, against psql", own.probed(), hand.probed()),
		judged(c.name+": longest transaction of pgbench", own.pgbench, stock.pgbench),
		reported(c.name+": longest wait of a reading probe", "ms", own.read, stock.read),
		reported(c.name+": longest wait of a writing probe", "ms", own.write, stock.write),
		reported(c.name+": wait of a probe, 99 of 100", "ms", own.probed99, stock.probed99),
		reported(c.name+": transaction of pgbench, 99 of 100", "ms", own.pgbench99, stock.pgbench99),
		reported(c.name+": the migration", "s", own.seconds, stock.seconds),
	}, nil
}

func last(values []float64) float64 { return values[len(values)-1] }

// measure applies a change once, under load, and takes it back. meanwhile, where there is one, is begun before.
func (i *impact) measure(ctx context.Context, address string, rows int, c change, by migrator, meanwhile func(context.Context, string) (end func() error, err error)) (err error) {
	// What an earlier run left to write is not this one's.
	if err := execute(ctx, address, "CHECKPOINT"); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil { // otherwise golang-migrate may still be at work
			err = errors.Join(err, execute(ctx, address, c.undo+";"+forget()))
		}
	}()
	l, err := startLoad(ctx, address, rows)
	if err != nil {
		return err
	}
	p, err := startProbes(ctx, address)
	if err != nil {
		_, _ = l.stop()
		return err
	}
	start, end, err := applied(ctx, address, c, by, meanwhile)
	seconds := end.Sub(start).Seconds()
	if short := leastWatched - end.Sub(start); short > 0 {
		err = errors.Join(err, pg.Pause(ctx, short))
		end = start.Add(leastWatched)
	}
	reads, writes, probed := p.stop()
	err = errors.Join(err, probed, pg.Pause(ctx, drained))
	transactions, stopped := l.stop()
	if err = errors.Join(err, stopped); err != nil {
		return err
	}
	reads, writes, transactions = within(reads, start, end), within(writes, start, end), within(transactions, start, end)
	if len(reads) == 0 || len(writes) == 0 || len(transactions) == 0 {
		return fmt.Errorf("nobody asked while it ran: %d reads, %d writes, %d transactions of pgbench", len(reads), len(writes), len(transactions))
	}
	i.read = append(i.read, quantile(lengths(reads), 1))
	i.write = append(i.write, quantile(lengths(writes), 1))
	i.probed99 = append(i.probed99, quantile(append(asked(reads), asked(writes)...), 0.99))
	i.pgbench = append(i.pgbench, quantile(lengths(transactions), 1))
	i.pgbench99 = append(i.pgbench99, quantile(lengths(transactions), 0.99))
	i.seconds = append(i.seconds, seconds)
	return nil
}

// leastWatched is how long probes and pgbench are looked at: a change may be over before pgbench asks for the next time.
const leastWatched = 500 * time.Millisecond

func applied(ctx context.Context, address string, c change, by migrator, meanwhile func(context.Context, string) (func() error, error)) (start, end time.Time, err error) {
	finish := func() error { return nil }
	if meanwhile != nil {
		if finish, err = meanwhile(ctx, address); err != nil {
			return start, end, err
		}
	}
	start = time.Now()
	err = by.up(ctx, address, c)
	end = time.Now()
	return start, end, errors.Join(err, finish())
}

// readerFor is how long a transaction has read the table when the change comes, and then goes on.
const readerFor = 10 * time.Second

// behindReader measures what a change that takes a moment makes others wait when a long transaction has read the table:
// it waits for that one, and everybody for it.
func behindReader(ctx context.Context, address string, rows, runs int) ([]Measure, error) {
	sides := []migrator{theirsNaive, oursSafe}
	found := make([]impact, len(sides))
	for run := range runs {
		for i := range sides {
			i = (i + run) % len(sides)
			if err := found[i].measure(ctx, address, rows, changes[0], sides[i], longReader); err != nil {
				return nil, fmt.Errorf("behind a long transaction, %s: %w", sides[i].name, err)
			}
			fmt.Fprintf(os.Stderr, "bench: behind a long transaction, %s: %.1f s, probes waited %s ms at most, pgbench %s ms\n", sides[i].name,
				last(found[i].seconds), number(last(found[i].probed())), number(last(found[i].pgbench)))
		}
	}
	stock, own := &found[0], &found[1]
	name := fmt.Sprintf("add a column behind a transaction of %s: ", readerFor)
	return []Measure{
		reported(name+"longest wait of a probe", "ms", own.probed(), stock.probed()),
		reported(name+"longest transaction of pgbench", "ms", own.pgbench, stock.pgbench),
		reported(name+"the migration", "s", own.seconds, stock.seconds),
	}, nil
}

// longReader begins a transaction that has read the table and stays open.
func longReader(ctx context.Context, address string) (finish func() error, err error) {
	conn, err := pg.ConnectAs(ctx, address, "bench-report")
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "BEGIN; SELECT owner FROM public.accounts LIMIT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
		pg.HangUp(ctx, conn)
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		defer pg.HangUp(ctx, conn)
		err := pg.Pause(ctx, readerFor)
		if err == nil {
			_, err = conn.Exec(ctx, "COMMIT")
		}
		ended <- err
	}()
	return func() error { return <-ended }, nil
}
