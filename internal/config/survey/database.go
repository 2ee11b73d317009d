package survey

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The formats of migrations.
const (
	Drizzle  = "drizzle"
	SQL      = "sql"
	Numbered = "numbered"
)

// DrizzleJournal is the list of migrations in a drizzle-kit folder.
const DrizzleJournal = "meta/_journal.json"

// How the formats name what they hold: golang-migrate the way up, drizzle-kit 1.x a folder, runners made by hand a file.
var (
	upMigration       = regexp.MustCompile(`^[0-9]+_.*\.up\.sql$`)
	drizzleFolder     = regexp.MustCompile(`^[0-9]{14}_`)
	numberedMigration = regexp.MustCompile(`^(V)?[0-9]+.*\.sql$`)
)

// MigrationFormat says which kind of migrations a directory holds, "" for none.
func MigrationFormat(tree fs.FS, dir string) string {
	if exists(tree, path.Join(dir, DrizzleJournal)) {
		return Drizzle
	}
	entries, err := fs.ReadDir(tree, path.Clean(dir))
	if err != nil {
		return ""
	}
	found := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir() && drizzleFolder.MatchString(name) && exists(tree, path.Join(dir, name, "migration.sql")):
			return Drizzle
		case upMigration.MatchString(name):
			return SQL
		case numberedMigration.MatchString(name) && !strings.HasSuffix(name, ".down.sql"):
			found = Numbered
		}
	}
	return found
}

// Migrations is a directory of migrations.
type Migrations struct {
	Dir    string
	Format string
	Why    string // what told of it
}

var (
	drizzleOut     = regexp.MustCompile(`\bout["']?\s*:\s*["'` + "`" + `]([^"'` + "`" + `]+)`)
	drizzleDialect = regexp.MustCompile(`\bdialect["']?\s*:\s*["'` + "`" + `]([a-z]+)`)
	drizzleConfig  = regexp.MustCompile(`^drizzle\.config\.(ts|mts|js|mjs|cjs|json)$`)
)

// Migrations finds the application's PostgreSQL migrations; nil for none. Notes tell of what was seen and not taken.
func (r *Repository) Migrations() (*Migrations, []string) {
	var found []Migrations
	var notes []string
	add := func(m Migrations) {
		if !slices.ContainsFunc(found, func(f Migrations) bool { return f.Dir == m.Dir }) {
			found = append(found, m)
		}
	}
	for _, f := range r.files {
		dir, base := path.Dir(f), path.Base(f)
		switch {
		case drizzleConfig.MatchString(base):
			text := r.Source(f)
			if m := drizzleDialect.FindStringSubmatch(text); m != nil && m[1] != "postgresql" {
				notes = append(notes, fmt.Sprintf("%s is for %s: only PostgreSQL is migrated", f, m[1]))
				continue
			}
			out := "drizzle" // drizzle-kit's default
			if m := drizzleOut.FindStringSubmatch(text); m != nil {
				out = m[1]
			}
			folder := path.Join(dir, out)
			if !exists(r.tree, path.Join(folder, DrizzleJournal)) {
				notes = append(notes, fmt.Sprintf("%s writes migrations to %s, where none are: run npx drizzle-kit generate, commit the folder and add it as database.migrations", f, folder))
				continue
			}
			add(Migrations{folder, Drizzle, "out in " + f})
		case base == "alembic.ini":
			notes = append(notes, f+": Alembic's migrations are not supported yet; write them as 001_name.up.sql files, or go on running them yourself")
		case base == "schema.prisma":
			notes = append(notes, f+": Prisma's migrations are not supported yet; write them as 001_name.up.sql files, or go on running them yourself")
		}
	}
	for _, f := range r.files { // after the configuration, which says why
		switch dir := path.Dir(f); {
		case upMigration.MatchString(path.Base(f)):
			add(Migrations{dir, SQL, path.Base(f)})
		case strings.HasSuffix("/"+f, "/"+DrizzleJournal) && r.postgresJournal(f):
			add(Migrations{path.Dir(dir), Drizzle, DrizzleJournal})
		}
	}
	if len(found) == 0 {
		return nil, notes
	}
	slices.SortStableFunc(found, func(a, b Migrations) int {
		return cmp.Compare(strings.Count(a.Dir, "/"), strings.Count(b.Dir, "/"))
	})
	for _, other := range found[1:] {
		notes = append(notes, fmt.Sprintf("%s holds migrations too; one database is migrated, by %s", other.Dir, found[0].Dir))
	}
	return &found[0], notes
}

func (r *Repository) postgresJournal(file string) bool {
	var journal struct {
		Dialect string `json:"dialect"`
	}
	return json.Unmarshal([]byte(r.Source(file)), &journal) == nil && strings.HasPrefix(journal.Dialect, "p")
}

// Reads returns the way from a package to a directory outside it that its sources or tests name, "" where they do not.
func (r *Repository) Reads(p Package, dir string) string {
	if inside(dir, p.Dir) {
		return ""
	}
	named := regexp.MustCompile(`["'` + "`" + `/]` + regexp.QuoteMeta(path.Base(dir)) + `["'` + "`" + `/]`)
	for _, f := range r.sources(p, true, p.extensions()...) {
		if named.MatchString(r.Source(f)) {
			return relative(p.Dir, dir)
		}
	}
	return ""
}
