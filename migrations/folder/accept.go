package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Accept gives a file a place in the sequence that its folder's format does not give it: one with another's number, one
// that the journal does not list, one of another folder that another runner has applied.
type Accept struct {
	File  string `json:"file" yaml:"file"`   // as errors show it: its path from the application's root
	After string `json:"after" yaml:"after"` // the name of the migration that it runs with, after it; "" is before all others
}

// plainPath is what YAML takes without quotes.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_./-]*$`)

// String is the entry as pipeline.yaml takes it.
func (a Accept) String() string {
	file := a.File
	if !plainPath.MatchString(file) {
		file = strconv.Quote(file)
	}
	return fmt.Sprintf("{file: %s, after: %q}", file, a.After)
}

// Irregular is a file that is no part of a folder's sequence, so it would never run. Open refuses a folder that has one,
// until it is accepted.
type Irregular struct {
	File   string // its path from the application's root
	Beside string // the name of the migration after which it comes by its name or number; "" where none does
	Fault  error  // with what to do
}

// irregular is a file with its fault; what ends the fault is how it is accepted.
func (d directory) irregular(name, after, format string, args ...any) Irregular {
	i := Irregular{File: d.show(name), Beside: after}
	i.Fault = fmt.Errorf("%s: %s, or, where it has been applied everywhere, add %s to database.accept", i.File, fmt.Sprintf(format, args...), Accept{i.File, after})
	return i
}

// attach gives the accepted files their places. It trusts nothing that a person wrote.
func attach(fsys fs.FS, list []Migration, accepted []Accept) error {
	if len(list) == 0 {
		return nil // there are no places, and the folder is refused
	}
	var faults []error
	places := map[string]*Migration{}
	for i := range list {
		places[list[i].Name] = &list[i]
	}
	first, seen := []string{}, map[string]bool{}
	for _, a := range accepted {
		m, found := places[a.After]
		why := refuse(fsys, a.File)
		switch {
		case why != "":
		case seen[a.File]:
			why = "listed twice: remove one of the entries"
		case slices.ContainsFunc(list, func(m Migration) bool { return m.File == a.File }):
			why = regular
		case a.After != "" && !found:
			why = fmt.Sprintf(`after: no migration is named %q: write a name such as %q, or "" to run before all others`, a.After, nearest(list, a.After))
		}
		seen[a.File] = true
		switch {
		case why != "":
			faults = append(faults, fmt.Errorf("database.accept: %s: %s", a.File, why))
		case a.After == "":
			first = append(first, a.File)
		default:
			m.up = append(m.up, a.File)
		}
	}
	list[0].up = append(first, list[0].up...)
	return errors.Join(faults...)
}

// regular is why a file is not to be accepted.
const regular = "a part of the sequence anyway: remove the entry"

// refuse says why a file cannot be accepted, by itself.
func refuse(fsys fs.FS, file string) string {
	switch {
	case !fs.ValidPath(file) || strings.ContainsAny(file, "\r\n\\"):
		return "no path within the application: write it relative to pipeline.yaml, as in migrations/003_name.sql"
	case path.Ext(file) != ".sql":
		return "no SQL: a migration ends in .sql"
	case isBeside(file):
		return "the way back or the check of a migration: accept the migration itself"
	case !exists(fsys, file):
		return "no such file: restore it, or remove the entry"
	}
	return ""
}

// isBeside says whether a name is that of a down or verify file.
func isBeside(file string) bool {
	for _, what := range []string{downFile, verifyFile} {
		if strings.HasSuffix(file, "."+what+".sql") || path.Base(file) == what+".sql" {
			return true
		}
	}
	return false
}

// nearest is the name that was probably meant: people write files where names are asked for.
func nearest(list []Migration, wrong string) string {
	wrong = stem(path.Base(wrong))
	for _, m := range list {
		if strings.HasPrefix(m.Name, wrong) || strings.HasPrefix(wrong, m.Name) || path.Base(path.Dir(m.File)) == wrong {
			return m.Name
		}
	}
	return list[len(list)-1].Name
}
