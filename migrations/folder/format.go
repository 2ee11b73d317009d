package folder

import (
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
	// Drizzle is drizzle-kit's, in either of its layouts: meta/_journal.json beside NNNN_tag.sql (0.x), or a folder
	// YYYYMMDDHHMMSS_name with migration.sql for each migration (1.x, which removed the journal).
	Drizzle Format = "drizzle"
)

// journalFile lists the migrations of drizzle-kit 0.x in order.
const journalFile = "meta/_journal.json"

// folderFile is the migration in a folder of drizzle-kit 1.x.
const folderFile = "migration.sql"

// folderName is what drizzle-kit 1.x calls a migration's folder.
var folderName = regexp.MustCompile(`^([0-9]{14})_.+$`)

// layout reads one way of laying out migrations.
type layout func(d directory) ([]Migration, error)

// choose returns the reader for a directory. A format that was asked for is not second-guessed, except that Drizzle
// stands for both of its layouts.
func choose(d directory, format Format) (layout, error) {
	seen, err := look(d)
	if err != nil {
		return nil, err
	}
	switch format {
	case SQL:
		return readPairs, nil
	case Drizzle, Auto:
	default:
		return nil, fmt.Errorf("unknown format %q of migrations: write %q or %q, or leave it out", string(format), SQL, Drizzle)
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
	case seen.tagged:
		return nil, fmt.Errorf("%s: no %s, without which the order of drizzle-kit's migrations is unknown: commit the meta folder (or name files NNNN_name.up.sql)",
			d.name, journalFile)
	}
	return nil, fmt.Errorf("%s: no migrations: expected NNNN_name.up.sql, or drizzle-kit's %s, or its folders YYYYMMDDHHMMSS_name/%s",
		d.name, journalFile, folderFile)
}

// signs are what tells the formats apart.
type signs struct{ journal, folders, pairs, tagged bool }

func look(d directory) (signs, error) {
	var s signs
	entries, err := d.list()
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		switch {
		case e.IsDir():
			if folderName.MatchString(e.Name()) {
				s.folders = true
			}
		case source.Regex.MatchString(e.Name()):
			s.pairs = true
		case strings.HasSuffix(e.Name(), ".sql"):
			s.tagged = true
		}
	}
	_, err = fs.Stat(d.fsys, path.Join(d.name, journalFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("look for %s: %w", d.show(journalFile), err)
	}
	s.journal = err == nil
	return s, nil
}
