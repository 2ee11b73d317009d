// Package evidence tells what a transaction did to a database: which tables were written anew, which locks are held, how
// much write-ahead log there is. It compares two looks at the catalog and needs no privilege beyond a user's own.
package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// Query is asked before and after a file, in its transaction: how much write-ahead log there is, and which files
// hold the tables. A table whose file has another number has been rewritten; that, unlike a rule about statements, is
// right for every version and setting (timestamp to timestamptz rewrites unless TimeZone is UTC), and needs no superuser,
// unlike an event trigger. What each statement does is measured in migrations/server_facts_test.go.
const Query = `
	SELECT pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn;
	SELECT c.oid, c.relkind, c.relfilenode, coalesce(t.relfilenode, 0), pg_catalog.format('%I.%I', n.nspname, c.relname)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
	WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		AND c.relname <> ALL ('{schema_migrations,deploy_schema_migrations,deploy_migrations,deploy_releases,deploy_catalog,deploy_backfills}');`

// LocksQuery lists the locks this session holds, before it commits.
const LocksQuery = `
	SELECT l.relation, l.mode FROM pg_catalog.pg_locks l
	WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted;`

// strength orders lock modes by what they keep out (PostgreSQL 13.3, "Table-Level Locks").
var strength = []string{
	"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock",
	"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
}

// Strength orders lock modes by what they keep out: 0 for none, 8 for AccessExclusiveLock.
func Strength(mode string) int { return slices.Index(strength, mode) + 1 }

// relation is a table or the like, by its oid, as it was at one moment.
type relation struct {
	name        string
	table       bool // it has rows of its own
	file, toast string
}

// moment is what Query answered.
type moment struct {
	wal       int64
	relations map[string]relation
}

// readMoment finds the answers to Query among the results of a longer text: the two before what follows it.
func readMoment(results []*pgconn.Result) (moment, error) {
	m := moment{relations: map[string]relation{}}
	if len(results) < 2 || len(results[0].Rows) != 1 {
		return m, fmt.Errorf("read evidence: %d results", len(results))
	}
	wal, err := strconv.ParseInt(string(results[0].Rows[0][0]), 10, 64)
	if err != nil {
		return m, fmt.Errorf("read position of write-ahead log: %w", err)
	}
	m.wal = wal
	for _, row := range results[1].Rows {
		kind := string(row[1])
		m.relations[string(row[0])] = relation{
			name: string(row[4]), table: kind == "r" || kind == "m", file: string(row[2]), toast: string(row[3]),
		}
	}
	return m, nil
}

// answers are the results of queries, among those of SET, RESET and BEGIN.
func answers(results []*pgconn.Result) []*pgconn.Result {
	return slices.DeleteFunc(slices.Clone(results), func(r *pgconn.Result) bool { return !r.CommandTag.Select() })
}

// Evidence is what was seen.
type Evidence struct {
	Locks    []Lock   `json:"locks"`     // the strongest lock taken on each relation that existed before
	Rewrites []string `json:"rewrites"`  // tables whose file was written anew
	WALBytes int64    `json:"wal_bytes"` // write-ahead log written, by all sessions
}

// Lock is a lock mode held on a relation until commit, as pg_locks names it.
type Lock struct {
	Relation string `json:"relation"`
	Mode     string `json:"mode"`
}

// Compare reads the answers to Query from before and after, the latter followed by those to LocksQuery where locks are to
// be told.
func Compare(before, after []*pgconn.Result) (Evidence, error) {
	e := Evidence{Locks: []Lock{}, Rewrites: []string{}}
	before, after = answers(before), answers(after)
	was, err := readMoment(before)
	if err != nil {
		return e, err
	}
	is, err := readMoment(after)
	if err != nil {
		return e, err
	}
	e.WALBytes = is.wal - was.wal
	e.Rewrites = rewrites(was, is)
	if len(after) > 2 {
		e.Locks = strongest(was, after[2])
	}
	return e, nil
}

// rewrites are the tables whose rows, or whose large values, moved into a new file.
func rewrites(was, is moment) []string {
	list := []string{}
	for oid, old := range was.relations {
		now, still := is.relations[oid]
		if !still || !old.table {
			continue
		}
		if now.file != old.file || old.toast != "0" && now.toast != "0" && now.toast != old.toast {
			list = append(list, old.name)
		}
	}
	slices.Sort(list)
	return list
}

// strongest keeps one lock for each relation that was there before: nobody waits for one that was not. Indexes are left
// out, for their locks come with the table's.
func strongest(was moment, held *pgconn.Result) []Lock {
	modes := map[string]int{}
	for _, row := range held.Rows {
		old, known := was.relations[string(row[0])]
		if !known {
			continue
		}
		modes[old.name] = max(modes[old.name], slices.Index(strength, string(row[1])))
	}
	locks := []Lock{}
	for name, mode := range modes {
		locks = append(locks, Lock{Relation: name, Mode: strength[mode]})
	}
	slices.SortFunc(locks, func(a, b Lock) int { return cmp.Compare(a.Relation, b.Relation) })
	return locks
}
