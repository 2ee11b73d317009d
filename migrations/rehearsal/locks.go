package rehearsal

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
)

// lockHeld is a lock on a table, or, where it has no mode, on rows of one, and when it was held.
type lockHeld struct {
	evidence.Lock
	span
}

// locksQuery lists the locks that sessions hold on the user's relations. One on an index that keeps everybody out is one on its
// table, for whoever plans a query of a table looks at all of its indexes; weaker ones come with the table's own.
const locksQuery = `SELECT k.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), l.mode
	FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class k ON k.oid = l.relation
		LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = k.oid
		JOIN pg_catalog.pg_class c ON c.oid = coalesce(i.indrelid, k.oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f')
		AND (i.indexrelid IS NULL OR l.mode = 'AccessExclusiveLock')
		AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relname <> ALL ($1)
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND `

// held are the locks of a session's own open transaction on what was there before it; for what was not nobody waits.
func held(ctx context.Context, conn *pgx.Conn, before map[uint32]bool) ([]evidence.Lock, error) {
	rows, err := conn.Query(ctx, locksQuery+"l.pid = pg_catalog.pg_backend_pid()", history.Names)
	if err != nil {
		return nil, err
	}
	modes := map[string]string{}
	var oid uint32
	var name, mode string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &mode}, func() error {
		if before[oid] && evidence.Strength(mode) > evidence.Strength(modes[name]) {
			modes[name] = mode
		}
		return nil
	})
	return sortedLocks(modes), err
}

func sortedLocks(modes map[string]string) []evidence.Lock {
	list := []evidence.Lock{}
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		list = append(list, evidence.Lock{Relation: name, Mode: modes[name]})
	}
	return list
}

// relations are the oids of all there is.
func relations(ctx context.Context, conn *pgx.Conn) (map[uint32]bool, error) {
	rows, err := conn.Query(ctx, "SELECT oid FROM pg_catalog.pg_class")
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	all := map[uint32]bool{}
	for _, oid := range list {
		all[oid] = true
	}
	return all, err
}

// lockWatch is how often the locks of a statement that leaves none behind are looked at.
const lockWatch = 5 * time.Millisecond

// watchLocks tells when locks were seen for the first and the last time. It looks from one session at the locks of others until
// it is called to end: of the one with a process id, or of all others of the database (0). What a transaction has just made it
// does not see.
func watchLocks(ctx context.Context, conn *pgx.Conn, pid uint32) (end func() []lockHeld) {
	watching, stop := context.WithCancel(ctx)
	seen := map[evidence.Lock]span{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			start := time.Now()
			rows, err := conn.Query(context.WithoutCancel(ctx), locksQuery+"l.pid <> pg_catalog.pg_backend_pid() AND $2 IN (0, l.pid)", history.Names, int64(pid))
			if err != nil {
				return
			}
			var oid uint32
			var l evidence.Lock
			_, _ = pgx.ForEachRow(rows, []any{&oid, &l.Relation, &l.Mode}, func() error {
				was, before := seen[l]
				if !before {
					was.start = start
				}
				seen[l] = span{was.start, time.Now()}
				return nil
			})
			if pg.Pause(watching, lockWatch) != nil {
				return
			}
		}
	}()
	return func() []lockHeld {
		stop()
		<-done
		var list []lockHeld
		for l, s := range seen {
			list = append(list, lockHeld{l, s})
		}
		return list
	}
}

// strongest keeps one lock for each relation.
func strongest(list []lockHeld) []evidence.Lock {
	modes := map[string]string{}
	for _, s := range list {
		if evidence.Strength(s.Mode) > evidence.Strength(modes[s.Relation]) {
			modes[s.Relation] = s.Mode
		}
	}
	return sortedLocks(modes)
}

// stronger are the locks that were not held before, or not as strong.
func stronger(before, after []evidence.Lock) []evidence.Lock {
	list := []evidence.Lock{}
	for _, l := range after {
		i := slices.IndexFunc(before, func(o evidence.Lock) bool { return o.Relation == l.Relation })
		if i < 0 || evidence.Strength(before[i].Mode) < evidence.Strength(l.Mode) {
			list = append(list, l)
		}
	}
	return list
}

// keeps is whom a lock on a table keeps out, for as long as it is held: readers by the strongest alone, writers by all that
// conflict with ROW EXCLUSIVE (PostgreSQL 13.3, "Table-Level Locks").
func (l lockHeld) keeps() []wait {
	var list []wait
	if evidence.Strength(l.Mode) >= evidence.Strength("AccessExclusiveLock") {
		list = append(list, wait{l.Relation, reading, l.span})
	}
	if evidence.Strength(l.Mode) >= evidence.Strength("ShareLock") {
		list = append(list, wait{l.Relation, writing, l.span})
	}
	return list
}
