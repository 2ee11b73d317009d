package folder

import (
	"fmt"
	"strconv"
	"strings"
)

// readJournal reads drizzle-kit 0.x: the journal says which files there are and in which order; the version is the
// entry's time, which drizzle-orm compares with the last one applied (drizzle-orm/src/pg-core/dialect.ts).
func readJournal(d directory) reading {
	entries, err := d.journal()
	if err != nil {
		return reading{faults: []error{err}}
	}
	files, err := d.sqlFiles()
	if err != nil {
		return reading{faults: []error{err}}
	}
	r := reading{faults: order(d, entries)}
	var tags []string
	claimed := claims{}
	for _, e := range entries {
		up := e.Tag + ".sql"
		switch {
		case e.Tag == "" || strings.ContainsAny(e.Tag, `/\`):
			r.faults = append(r.faults, e.fault(d, "tag %q is no file name", e.Tag))
			continue
		case !d.has(up):
			r.faults = append(r.faults, e.fault(d, "no file %s: restore it, or remove the entry if it was never applied", d.show(up)))
			continue
		}
		claimed.add(up)
		tags = append(tags, e.Tag)
		if e.When <= 0 {
			r.faults = append(r.faults, e.fault(d, "when %d of %q is no time in milliseconds: take the file from git, or generate the migration anew", e.When, e.Tag))
			continue
		}
		r.migrations = append(r.migrations, d.migration(e.When, e.Tag, up, beside(up, downFile)))
	}
	for _, f := range files {
		if isBeside(f) || claimed[f] {
			continue
		}
		claimed.add(f)
		if d.accepts(f) {
			continue
		}
		r.irregular = append(r.irregular, d.irregular(f, before(tags, f), "not in %s, so it would never run: make migrations with drizzle-kit generate", d.show(journalFile)))
	}
	for _, f := range files {
		if !claimed[f] {
			r.faults = append(r.faults, d.orphan(f))
		}
	}
	return r
}

// before is the last of the names that sorts before a file.
func before(names []string, file string) string {
	last := ""
	for _, name := range names {
		if name < stem(file) && name > last {
			last = name
		}
	}
	return last
}

// order finds entries that drizzle-orm would skip or run twice: an entry not younger than the one before it is silently
// never applied to a database that has the one before.
func order(d directory, entries []entry) []error {
	var faults []error
	indexes, times := map[int]entry{}, map[int64]entry{}
	for i, e := range entries {
		if first, twice := indexes[e.Index]; twice {
			faults = append(faults, e.fault(d, "idx %d of %q is also that of %q in line %d: number the entries 0, 1, 2 … (drizzle-orm goes by when alone, so nothing else changes)",
				e.Index, e.Tag, first.Tag, first.line))
		} else {
			indexes[e.Index] = e
		}
		first, twice := times[e.When]
		switch {
		case twice:
			faults = append(faults, e.fault(d, "when %d of %q is also that of %q in line %d: generate it anew on top, or, where it has been applied everywhere, remove the entry and add %s to database.accept",
				e.When, e.Tag, first.Tag, first.line, Accept{d.show(e.Tag + ".sql"), first.Tag}))
		case i > 0 && e.When < entries[i-1].When:
			faults = append(faults, e.fault(d, "when %d of %q is before %d of %q: a database that has the latter would never get the former; generate it anew on top, "+
				"or, where it has been applied everywhere, remove the entry and add %s to database.accept",
				e.When, e.Tag, entries[i-1].When, entries[i-1].Tag, Accept{d.show(e.Tag + ".sql"), entries[i-1].Tag}))
		}
		times[e.When] = e
	}
	return faults
}

// readFolders reads drizzle-kit 1.x: a folder each, named after the second it was made in, which is the version.
func readFolders(d directory) reading {
	var r reading
	entries, err := d.list()
	if err != nil {
		return reading{faults: []error{err}}
	}
	var same ups
	var files, names []string
	for _, e := range entries {
		if !e.IsDir() {
			if strings.HasSuffix(e.Name(), ".sql") {
				files = append(files, e.Name())
			}
			continue
		}
		up := e.Name() + "/" + folderFile
		match := folderName.FindStringSubmatch(e.Name())
		switch {
		case match == nil && d.has(up) && !d.accepts(up):
			r.irregular = append(r.irregular, d.irregular(up, "", "the folder's name does not begin with the 14 digits of a time: rename it"))
		case match == nil:
		case !d.has(up):
			r.faults = append(r.faults, fmt.Errorf("%s: no %s in it: restore it, or remove the folder if it was never applied", d.show(e.Name()), folderFile))
		default:
			version, _ := strconv.ParseInt(match[1], 10, 64) // 14 digits
			same.add(version, up)
			names = append(names, e.Name())
		}
	}
	for _, f := range files {
		if !d.accepts(f) {
			r.irregular = append(r.irregular, d.irregular(f, before(names, f), "not in a folder of its own, so it would never run: make migrations with drizzle-kit generate"))
		}
	}
	name := func(up string) string { return strings.TrimSuffix(up, "/"+folderFile) }
	for _, version := range same.order {
		regular, others := same.choose(d, version)
		if regular != "" {
			r.migrations = append(r.migrations, d.migration(version, name(regular), regular, beside(regular, downFile)))
		}
		for _, up := range others {
			r.irregular = append(r.irregular, d.irregular(up, name(regular), "made in the same second as %s: give the one that was not applied another time", d.show(regular)))
		}
	}
	return r
}
