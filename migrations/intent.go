package migrations

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/script"
)

// intent is what the history keeps of a file that runs statement by statement: a fingerprint of the statements that are
// done, and how to find out whether the next one, which cannot be committed together with its place, came to its end.
type intent struct {
	Prefix  string   `json:"prefix"`            // sha256 of the statements done
	Makes   string   `json:"makes,omitempty"`   // name of the index that is being made
	Of      string   `json:"of,omitempty"`      // its table
	Before  []uint32 `json:"before,omitempty"`  // oids of the indexes that the table had, or of the invalid ones of the database
	Drops   string   `json:"drops,omitempty"`   // name of the index that is being dropped
	Detach  string   `json:"detach,omitempty"`  // partition that is being detached
	From    string   `json:"from,omitempty"`    // … from this table
	Exists  string   `json:"exists,omitempty"`  // query that answers true when the statement is done
	Reindex bool     `json:"reindex,omitempty"` // leaves invalid indexes when it is interrupted

	old bool // an earlier run was at it
}

func (i intent) encode() string {
	text, _ := json.Marshal(i) // strings and numbers
	return string(text)
}

// prefix is the intent of nothing, after the first n statements.
func prefix(s *script.Script, n int) intent {
	var done strings.Builder
	for i := range n {
		done.WriteString(s.SQL(i))
		done.WriteByte(0)
	}
	return intent{Prefix: folder.Hash([]byte(done.String()))}
}

// resumes checks that the statements an earlier run has done are those of the file now, and returns what it was about to do.
func (d *driver) resumes(s *script.Script) (was intent, err error) {
	if err := json.Unmarshal([]byte(d.entry.Intent), &was); err != nil {
		return was, fmt.Errorf("read history of %s: %w", d.entry.Name, err)
	}
	if d.entry.Done > len(s.Statements) || prefix(s, d.entry.Done).Prefix != was.Prefix {
		return was, fmt.Errorf("%s: an earlier run has done its first %d statements, and they are not the same any more: %w; undo that edit: what is done is not done again",
			s.File, d.entry.Done, ErrDirty)
	}
	was.old = true
	return was, nil
}

// vague is an intent that says nothing of the next statement.
func (i intent) vague() bool {
	return i.Of == "" && i.Drops == "" && i.Detach == "" && i.Exists == "" && !i.Reindex
}

// The statements that cannot be committed together with their place, with the names they give.
const sqlName = `((?:"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*))?)`

var (
	createIndex = regexp.MustCompile(`(?is)^create\s+(?:unique\s+)?index\s+concurrently\s+(?:(?:if\s+not\s+exists\s+)?` + sqlName + `\s+)?on\s+(?:only\s+)?` + sqlName)
	dropIndex   = regexp.MustCompile(`(?is)^drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?` + sqlName + `\s*(?:cascade|restrict)?$`)
	detach      = regexp.MustCompile(`(?is)^alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?` + sqlName + `\s+detach\s+partition\s+` + sqlName + `\s+concurrently$`)
	makesOrEnds = regexp.MustCompile(`(?is)^(create|drop)\s+(database|tablespace|subscription)\s+(?:if\s+exists\s+)?` + sqlName)
)

// catalogs are where things that makesOrEnds names are listed.
var catalogs = map[string][2]string{
	"database": {"pg_catalog.pg_database", "datname"}, "tablespace": {"pg_catalog.pg_tablespace", "spcname"},
	"subscription": {"pg_catalog.pg_subscription", "subname"},
}

// planAlone is what a statement is about to do, or what an earlier run was about to do with it.
func (d *driver) planAlone(s *script.Script, i int) (intent, error) {
	if d.task.resume != nil && i == d.task.resume.Done {
		if was, err := d.resumes(s); err != nil || !was.vague() {
			return was, err
		}
	}
	plan := prefix(s, i)
	sql := s.Plain(i)
	switch {
	case createIndex.MatchString(sql):
		m := createIndex.FindStringSubmatch(sql)
		plan.Makes, plan.Of = m[1], m[2]
		before, err := d.indexesOf(plan.Of)
		if err != nil {
			return plan, err
		}
		for oid := range before {
			plan.Before = append(plan.Before, oid)
		}
	case dropIndex.MatchString(sql):
		plan.Drops = dropIndex.FindStringSubmatch(sql)[1]
	case detach.MatchString(sql):
		m := detach.FindStringSubmatch(sql)
		plan.From, plan.Detach = m[1], m[2]
	case makesOrEnds.MatchString(sql):
		m := makesOrEnds.FindStringSubmatch(sql)
		catalog := catalogs[strings.ToLower(m[2])]
		not := ""
		if strings.EqualFold(m[1], "drop") {
			not = "NOT "
		}
		// parse_ident folds the name as the statement itself does.
		plan.Exists = fmt.Sprintf("SELECT %sEXISTS (SELECT FROM %s WHERE %s = (pg_catalog.parse_ident($1))[1])", not, catalog[0], catalog[1])
		plan.Makes = m[3]
	case s.Statements[i].Begins("REINDEX"):
		plan.Reindex = true
		invalid, err := d.invalidIndexes()
		if err != nil {
			return plan, err
		}
		for oid := range invalid {
			plan.Before = append(plan.Before, oid)
		}
	}
	return plan, nil
}

// settle finds out whether the statement is done, and removes what an unfinished one left. It is asked before a statement
// that an earlier run was at, and after one that failed; before a fresh one it finds nothing.
func (i intent) settle(d *driver) (done bool, err error) {
	switch {
	case i.Exists != "":
		if !i.old {
			return false, nil // it may be there from before, which PostgreSQL tells better
		}
		err = d.conn.QueryRow(d.ctx, i.Exists, i.Makes).Scan(&done)
	case i.Of != "":
		return i.settleIndex(d)
	case i.Drops != "":
		if i.old {
			err = d.conn.QueryRow(d.ctx, "SELECT to_regclass($1) IS NULL", i.Drops).Scan(&done)
		}
	case i.Detach != "":
		return i.settleDetach(d)
	case i.Reindex:
		err = i.dropNew(d, d.invalidIndexes)
	}
	return done, err
}

// index is one of a table's.
type index struct {
	name  string
	valid bool
}

// settleIndex looks at the indexes that the table has got since. A build that failed leaves its index behind, invalid: it
// costs every write and makes the next attempt fail with "already exists", or, with IF NOT EXISTS, succeed without an
// index. So it is dropped.
func (i intent) settleIndex(d *driver) (done bool, err error) {
	now, err := d.indexesOf(i.Of)
	if err != nil {
		return false, err
	}
	for oid, ix := range now {
		done = done || ix.valid && !i.had(oid)
	}
	return done, i.dropNew(d, func() (map[uint32]string, error) {
		invalid := map[uint32]string{}
		for oid, ix := range now {
			if !ix.valid {
				invalid[oid] = ix.name
			}
		}
		return invalid, nil
	})
}

// confirm refuses an index that was there before, invalid: IF NOT EXISTS takes it for the one that was asked for.
func (i intent) confirm(d *driver) error {
	if i.Of == "" || i.Makes == "" {
		return nil
	}
	var invalid bool
	err := d.conn.QueryRow(d.ctx, `SELECT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
		WHERE x.indrelid = to_regclass($1)::oid AND c.relname = (parse_ident($2))[1] AND NOT x.indisvalid)`, i.Of, i.Makes).Scan(&invalid)
	if err == nil && invalid {
		err = fmt.Errorf("index %s exists, but an earlier build of it failed and left it invalid: DROP INDEX CONCURRENTLY %[1]s, then run again", i.Makes)
	}
	return err
}

func (i intent) had(oid uint32) bool {
	for _, old := range i.Before {
		if old == oid {
			return true
		}
	}
	return false
}

// dropNew removes the invalid indexes that were not there before.
func (i intent) dropNew(d *driver, invalid func() (map[uint32]string, error)) error {
	now, err := invalid()
	if err != nil {
		return fmt.Errorf("look for an invalid index: %w", err)
	}
	for oid, name := range now {
		if i.had(oid) {
			continue
		}
		if _, err := d.conn.Exec(d.ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+name); err != nil {
			return fmt.Errorf("the invalid index %s is left: drop it: %w", name, err)
		}
	}
	return nil
}

// settleDetach ends a detachment that was interrupted between its two transactions.
func (i intent) settleDetach(d *driver) (done bool, err error) {
	var pending bool
	err = d.conn.QueryRow(d.ctx, `SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass($1)::oid AND inhparent = to_regclass($2)::oid`,
		i.Detach, i.From).Scan(&pending)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return i.old, nil
	case err != nil || !pending:
		return false, err
	}
	_, err = d.conn.Exec(d.ctx, "ALTER TABLE "+i.From+" DETACH PARTITION "+i.Detach+" FINALIZE")
	return err == nil, err
}

// building are the indexes that other sessions are at: they are theirs, and not left behind.
const building = "SELECT index_relid FROM pg_stat_progress_create_index WHERE pid <> pg_backend_pid()"

// indexesOf are a table's indexes, by oid, but for those that others are building.
func (d *driver) indexesOf(table string) (map[uint32]index, error) {
	rows, err := d.conn.Query(d.ctx, `
		SELECT i.indexrelid, format('%I.%I', n.nspname, c.relname), i.indisvalid
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE i.indrelid = to_regclass($1)::oid AND i.indexrelid NOT IN (`+building+`)`, table)
	if err != nil {
		return nil, err
	}
	indexes := map[uint32]index{}
	var oid uint32
	var ix index
	_, err = pgx.ForEachRow(rows, []any{&oid, &ix.name, &ix.valid}, func() error {
		indexes[oid] = ix
		return nil
	})
	return indexes, err
}

// invalidIndexes are the indexes of the database whose build has not been finished.
func (d *driver) invalidIndexes() (map[uint32]string, error) {
	rows, err := d.conn.Query(d.ctx, `
		SELECT i.indexrelid, format('%I.%I', n.nspname, c.relname)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT i.indisvalid AND c.relkind = 'i' AND i.indexrelid NOT IN (`+building+`)`)
	if err != nil {
		return nil, err
	}
	indexes := map[uint32]string{}
	var oid uint32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name}, func() error {
		indexes[oid] = name
		return nil
	})
	return indexes, err
}
