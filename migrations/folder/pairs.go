package folder

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
)

// readPairs reads golang-migrate's format, with its own parser of names: what iofs takes, this takes.
func readPairs(d directory) reading {
	entries, err := d.list()
	if err != nil {
		return reading{faults: []error{err}}
	}
	var r reading
	var same, back ups
	var plain, names []string
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		m, err := source.Parse(e.Name())
		switch {
		case errors.Is(err, source.ErrParse) && !strings.HasSuffix(e.Name(), ".sql"): // a README
		case errors.Is(err, source.ErrParse):
			plain = append(plain, e.Name())
		case err != nil:
			r.faults = append(r.faults, fmt.Errorf("%s: the version is no number: %w", d.show(e.Name()), err))
		case !strings.HasSuffix(e.Name(), "."+string(m.Direction)+".sql"):
			r.faults = append(r.faults, fmt.Errorf("%s: golang-migrate would run this file too: rename it, or end it in .sql", d.show(e.Name())))
		case m.Version > math.MaxInt64:
			r.faults = append(r.faults, fmt.Errorf("%s: the version is outside 0 to %d", d.show(e.Name()), math.MaxInt64))
		case m.Direction == source.Up:
			same.add(int64(m.Version), m.Raw)
			names = append(names, stem(m.Raw))
		default:
			back.add(int64(m.Version), m.Raw)
		}
	}
	for _, version := range same.order {
		regular, others := same.choose(d, version)
		if regular != "" {
			r.migrations = append(r.migrations, d.migration(version, stem(regular), regular, back.of(version, same.files[version], regular)))
		}
		for _, up := range others {
			r.irregular = append(r.irregular, d.irregular(up, stem(regular), "version %d is also %s: give the one that was not applied another number", version, d.show(regular)))
		}
	}
	r.faults = append(r.faults, back.faults(d, same)...)
	for _, f := range plain {
		switch {
		case slices.ContainsFunc(names, func(name string) bool { return f == beside(name+".sql", verifyFile) }), d.accepts(f), d.besideAccepted(f):
		case d.orphan(f) != nil:
			r.faults = append(r.faults, d.orphan(f))
		default:
			r.irregular = append(r.irregular, d.irregular(f, before(names, f), "not a name golang-migrate runs: write NNNN_name.up.sql or NNNN_name.down.sql"))
		}
	}
	return r
}

// of is the way back of an up file: the one of its own name or, as golang-migrate reads pairs, of its version alone.
func (u *ups) of(version int64, same []string, up string) string {
	own := beside(up, downFile)
	if files := u.files[version]; len(same) == 1 && len(files) == 1 {
		return files[0]
	}
	return own
}

// faults are of ways back that belong to no migration.
func (u *ups) faults(d directory, same ups) []error {
	var faults []error
	for _, version := range u.order {
		ups, downs := same.files[version], u.files[version]
		for i, down := range downs {
			switch {
			case d.besideAccepted(down):
			case len(ups) == 0:
				faults = append(faults, fmt.Errorf("%s: the way back of a migration that is not here: add its .up.sql", d.show(down)))
			case len(ups) == 1 && i > 0, len(ups) > 1 && !slices.ContainsFunc(ups, func(up string) bool { return beside(up, downFile) == down }):
				faults = append(faults, fmt.Errorf("%s: version %d goes back by %s too: remove one of them", d.show(down), version, d.show(downs[0])))
			}
		}
	}
	return faults
}
