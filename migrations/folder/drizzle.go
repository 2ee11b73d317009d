package folder

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// readJournal reads drizzle-kit 0.x: the journal says which files there are and in which order; the version is the
// entry's time, which drizzle-orm compares with the last one applied (drizzle-orm/src/pg-core/dialect.ts).
func readJournal(d directory) ([]Migration, error) {
	entries, err := d.journal()
	if err != nil {
		return nil, err
	}
	files, err := d.sqlFiles()
	if err != nil {
		return nil, err
	}
	faults := order(d, entries)
	var list []Migration
	for _, e := range entries {
		up, down := e.Tag+".sql", e.Tag+".down.sql"
		if e.Tag == "" || strings.ContainsAny(e.Tag, `/\`) {
			faults = append(faults, e.fault(d, "tag %q is no file name", e.Tag))
			continue
		}
		if !d.has(up) {
			faults = append(faults, e.fault(d, "no file %s: restore it, or remove the entry if it was never applied", d.show(up)))
			continue
		}
		files = claim(claim(files, up), down)
		if err := checkVersion(e.When, d.show(journalFile)+":"+strconv.Itoa(e.line)); err != nil {
			faults = append(faults, err)
			continue
		}
		m, err := d.migration(e.When, e.Tag, up, down)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, m)
	}
	for _, f := range files {
		faults = append(faults, fmt.Errorf("%s: not in %s, so it would never run: make migrations with drizzle-kit generate", d.show(f), d.show(journalFile)))
	}
	return list, errors.Join(faults...)
}

// order finds entries that drizzle-orm would skip or run twice: an entry not younger than the one before it is silently
// never applied to a database that has the one before.
func order(d directory, entries []entry) []error {
	var faults []error
	indexes, times := map[int]entry{}, map[uint64]entry{}
	for i, e := range entries {
		if first, twice := indexes[e.Index]; twice {
			faults = append(faults, e.fault(d, "idx %d of %q is also that of %q in line %d", e.Index, e.Tag, first.Tag, first.line))
		} else {
			indexes[e.Index] = e
		}
		first, twice := times[e.When]
		switch {
		case twice:
			faults = append(faults, e.fault(d, "when %d of %q is also that of %q in line %d", e.When, e.Tag, first.Tag, first.line))
		case i > 0 && e.When < entries[i-1].When:
			faults = append(faults, e.fault(d, "when %d of %q is before %d of %q: a database that has the latter would never get the former; generate it anew on top",
				e.When, e.Tag, entries[i-1].When, entries[i-1].Tag))
		}
		times[e.When] = e
	}
	return faults
}

// readFolders reads drizzle-kit 1.x: a folder each, named after the second it was made in, which is the version.
func readFolders(d directory) ([]Migration, error) {
	entries, err := d.list()
	if err != nil {
		return nil, err
	}
	var list []Migration
	var faults []error
	seen := map[uint64]string{}
	for _, e := range entries {
		if !e.IsDir() {
			if strings.HasSuffix(e.Name(), ".sql") {
				faults = append(faults, fmt.Errorf("%s: not in a folder of its own, so it would never run", d.show(e.Name())))
			}
			continue
		}
		up := e.Name() + "/" + folderFile
		match := folderName.FindStringSubmatch(e.Name())
		if match == nil {
			if d.has(up) {
				faults = append(faults, fmt.Errorf("%s: the folder's name does not begin with the 14 digits of a time", d.show(up)))
			}
			continue
		}
		if !d.has(up) {
			faults = append(faults, fmt.Errorf("%s: no %s in it", d.show(e.Name()), folderFile))
			continue
		}
		version, _ := strconv.ParseUint(match[1], 10, 64) // 14 digits
		if other, twice := seen[version]; twice {
			faults = append(faults, fmt.Errorf("%s: made in the same second as %s: give one of them another time", d.show(e.Name()), d.show(other)))
			continue
		}
		seen[version] = e.Name()
		if err := checkVersion(version, d.show(e.Name())); err != nil {
			faults = append(faults, err)
			continue
		}
		m, err := d.migration(version, e.Name(), up, e.Name()+"/down.sql")
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, m)
	}
	return list, errors.Join(faults...)
}

func (d directory) sqlFiles() ([]string, error) {
	entries, err := d.list()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".sql") {
			files = append(files, e.Name())
		}
	}
	return files, nil
}
