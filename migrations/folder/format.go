package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
)

// Format is how a folder of migrations is laid out: the values of database.format in pipeline.yaml.
type Format string

// The formats.
const (
	// Auto finds the format by looking into the folder.
	Auto Format = ""
	// SQL is golang-migrate's: NNNN_name.up.sql, and NNNN_name.down.sql where there is a way back.
	SQL Format = "sql"
	// Numbered is what runners made by hand and Flyway read: NNN_name.sql or VN__name.sql, in the order of the numbers. A way
	// back is NNN_name.down.sql.
	Numbered Format = "numbered"
	// Drizzle is drizzle-kit's, in either of its layouts: meta/_journal.json beside NNNN_tag.sql (0.x), or a folder
	// YYYYMMDDHHMMSS_name with migration.sql for each migration (1.x, which removed the journal). Prisma's folders are of the
	// second layout too.
	Drizzle Format = "drizzle"
)

// journalFile lists the migrations of drizzle-kit 0.x in order.
const journalFile = "meta/_journal.json"

// folderFile is the migration in a folder of drizzle-kit 1.x.
const folderFile = "migration.sql"

// folderName is what drizzle-kit 1.x calls a migration's folder.
var folderName = regexp.MustCompile(`^([0-9]{14})_.+$`)

// snapshotName is what drizzle-kit 0.x keeps beside its journal.
const snapshotName = "meta/[0-9]*_snapshot.json"

// breakpoint is what drizzle-kit writes between statements.
var breakpoint = []byte("--> statement-breakpoint")

// layout reads one way of laying out migrations.
type layout func(d directory) reading

// choose returns the reader for a directory. A format that was asked for is not second-guessed, except that Drizzle
// stands for both of its layouts.
func choose(d directory, format Format) (layout, error) {
	switch format {
	case SQL:
		return readPairs, nil
	case Numbered:
		return readNumbered, nil
	case Drizzle, Auto:
	default:
		return nil, fmt.Errorf("unknown format %q of migrations: write %q, %q or %q, or leave it out", string(format), SQL, Numbered, Drizzle)
	}
	seen, err := look(d)
	if err != nil {
		return nil, err
	}
	switch {
	case seen.journal && seen.folders:
		return nil, fmt.Errorf("%s: both %s and folders with %s: the upgrade to drizzle-kit 1.x is half done; finish it with `drizzle-kit up`",
			d.name, journalFile, folderFile)
	case seen.journal:
		return readJournal, nil
	case seen.folders:
		return readFolders, nil
	case format == Auto && seen.pairs:
		return readPairs, nil
	case seen.sql && (format == Drizzle || seen.drizzle):
		return nil, fmt.Errorf("%s: no %s, without which the order of drizzle-kit's migrations is unknown: commit the meta folder (or name files NNNN_name.up.sql)",
			d.name, journalFile)
	case seen.numbered:
		return readNumbered, nil
	case seen.sql:
		return nil, fmt.Errorf("%s: no file begins with a number, so their order is unknown: name them 001_name.sql, 002_name.sql …", d.name)
	}
	return nil, fmt.Errorf("%s: no migrations: expected NNNN_name.up.sql, NNN_name.sql, or drizzle-kit's %s, or its folders YYYYMMDDHHMMSS_name/%s",
		d.name, journalFile, folderFile)
}

// signs are what tells the formats apart.
type signs struct {
	journal, folders, pairs bool
	drizzle                 bool // a breakpoint or a snapshot: drizzle-kit's, with or without its journal
	numbered, sql           bool // some .sql begins with a number; there is some .sql
}

func look(d directory) (signs, error) {
	var s signs
	entries, err := d.list()
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			s.folders = s.folders || folderName.MatchString(name)
			continue
		}
		if m, err := source.Parse(name); err == nil && m.Direction == source.Up {
			s.pairs = true
			continue
		}
		if !strings.HasSuffix(name, ".sql") {
			continue
		}
		s.sql = true
		s.numbered = s.numbered || numberedName.MatchString(name)
		body, err := d.read(name)
		if err != nil {
			return s, fmt.Errorf("read migration %s: %w", d.show(name), err)
		}
		s.drizzle = s.drizzle || bytes.Contains(body, breakpoint)
	}
	snapshots, err := fs.Glob(d.fsys, path.Join(d.name, snapshotName))
	s.drizzle = s.drizzle || err == nil && len(snapshots) > 0
	_, err = fs.Stat(d.fsys, d.show(journalFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("look for %s: %w", d.show(journalFile), err)
	}
	s.journal = err == nil
	return s, nil
}
