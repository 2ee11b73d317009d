package folder

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// numberedName is what begins with a number: 001_init.sql, 2-users.sql, 0003.sql, V4__flyway.sql.
var numberedName = regexp.MustCompile(`^([Vv]?)([0-9]+)(.*)\.sql$`)

var (
	// severalNumbers follows the first of a date's numbers (2026-01-02) or of a version's (1.2, and V1_2 to Flyway).
	severalNumbers       = regexp.MustCompile(`^(?:\.[0-9]|[-_.][0-9]{2}[-_.][0-9]{2}(?:[^0-9]|$))`)
	severalFlywayNumbers = regexp.MustCompile(`^[._][0-9]`)
	flywayOther          = regexp.MustCompile(`^([RU])[0-9._]*__`)
)

// readNumbered reads files that are run in the order of the numbers they begin with, whatever the numbers' widths. Gaps
// are allowed.
func readNumbered(d directory) reading {
	files, err := d.sqlFiles()
	if err != nil {
		return reading{faults: []error{err}}
	}
	var r reading
	var same ups
	var plain, names []string
	claimed := claims{}
	for _, f := range files {
		if isBeside(f) {
			continue
		}
		version, err := d.number(f)
		switch {
		case err != nil:
			r.faults = append(r.faults, err)
		case version < 0:
			plain = append(plain, f)
		default:
			same.add(version, f)
			names = append(names, stem(f))
		}
		claimed.add(f)
	}
	for _, f := range plain {
		if !d.accepts(f) {
			r.irregular = append(r.irregular, d.irregular(f, before(names, f),
				"no number in front, so its place in the order is unknown: name it NNN_name.sql, move it out of the folder if it is no migration (a dump, seeds)"))
		}
	}
	for _, version := range same.order {
		regular, others := same.choose(d, version)
		if regular != "" {
			r.migrations = append(r.migrations, d.migration(version, stem(regular), regular, beside(regular, downFile)))
		}
		for _, up := range others {
			r.irregular = append(r.irregular, d.irregular(up, stem(regular), "number %d is also that of %s: give the one that was not applied a number of its own", version, d.show(regular)))
		}
	}
	for _, f := range files {
		if !claimed[f] {
			r.faults = append(r.faults, d.orphan(f))
		}
	}
	return r
}

// number is what a file begins with, -1 where it begins with none.
func (d directory) number(file string) (int64, error) {
	fault := func(format string, args ...any) (int64, error) {
		return 0, fmt.Errorf("%s: %s", d.show(file), fmt.Sprintf(format, args...))
	}
	if kind := flywayOther.FindStringSubmatch(file); kind != nil {
		if kind[1] == "U" {
			return fault("Flyway's way back: name it V%s", beside(strings.TrimPrefix(file, "U"), downFile))
		}
		return fault("Flyway's repeatable migration, of which nobody knows when it last ran: write a new migration whenever it changes, and move this file out of the folder")
	}
	match := numberedName.FindStringSubmatch(file)
	if match == nil {
		return -1, nil
	}
	flyway, digits, rest := match[1] != "", match[2], match[3]
	several := severalNumbers
	if flyway {
		several = severalFlywayNumbers
	}
	switch {
	case several.MatchString(rest):
		return fault("its version is of several numbers: write one, such as 20260102_name.sql or V10200__name.sql")
	case strings.HasSuffix(rest, ".up"):
		return fault("a pair of golang-migrate's among numbered files: name it %s, or all of them NNN_name.up.sql", stem(file)+".sql")
	case flyway && rest != "" && !strings.HasPrefix(rest, "__"):
		return fault("after the number come two underscores: V%s__name.sql", digits)
	case rest != "" && !strings.ContainsAny(rest[:1], "_-. "):
		return fault("after the number comes an underscore: %s_name.sql", digits)
	}
	version, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return fault("the number is outside 0 to 9223372036854775807")
	}
	return version, nil
}

// ups are the up files of a folder by their versions, in the order in which the folder lists them.
type ups struct {
	order []int64
	files map[int64][]string
}

func (u *ups) add(version int64, file string) {
	if u.files == nil {
		u.files = map[int64][]string{}
	}
	if u.files[version] == nil {
		u.order = append(u.order, version)
	}
	u.files[version] = append(u.files[version], file)
}

// choose is which of the files with one version is the version's own, and which are in the way. Those that are given a
// place by hand are neither, unless there is nothing to choose from.
func (u *ups) choose(d directory, version int64) (regular string, others []string) {
	files := u.files[version]
	if len(files) == 1 {
		return files[0], nil
	}
	files = slices.DeleteFunc(slices.Clone(files), d.accepts)
	if len(files) == 0 {
		return "", nil
	}
	return files[0], files[1:]
}
