package folder

import (
	"errors"
	"fmt"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
)

// pair is a version's files, by golang-migrate's rules.
type pair struct{ up, down *source.Migration }

// readPairs reads golang-migrate's format, with its own parser of names: what iofs takes, this takes.
func readPairs(d directory) ([]Migration, error) {
	entries, err := d.list()
	if err != nil {
		return nil, err
	}
	var faults []error
	var order []uint
	pairs := map[uint]*pair{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		m, err := source.Parse(e.Name())
		switch {
		case errors.Is(err, source.ErrParse) && !strings.HasSuffix(e.Name(), ".sql"):
			continue // a README
		case errors.Is(err, source.ErrParse):
			faults = append(faults, fmt.Errorf("%s: not a name golang-migrate runs: write NNNN_name.up.sql or NNNN_name.down.sql", d.show(e.Name())))
			continue
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: the version is no number: %w", d.show(e.Name()), err))
			continue
		case !strings.HasSuffix(e.Name(), "."+string(m.Direction)+".sql"):
			faults = append(faults, fmt.Errorf("%s: golang-migrate would run this file too: rename it, or end it in .sql", d.show(e.Name())))
			continue
		}
		p := pairs[m.Version]
		if p == nil {
			p = &pair{}
			pairs[m.Version] = p
			order = append(order, m.Version)
		}
		place := &p.up
		if m.Direction == source.Down {
			place = &p.down
		}
		if *place != nil {
			faults = append(faults, fmt.Errorf("%s: version %d is also %s: give one of them another number", d.show(m.Raw), m.Version, d.show((*place).Raw)))
			continue
		}
		*place = m
	}
	var list []Migration
	for _, version := range order {
		m, err := pairs[version].read(d)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, m)
	}
	return list, errors.Join(faults...)
}

func (p *pair) read(d directory) (Migration, error) {
	if p.up == nil {
		return Migration{}, fmt.Errorf("%s: the way back of a migration that is not here: add its .up.sql", d.show(p.down.Raw))
	}
	down := ""
	if p.down != nil {
		down = p.down.Raw
	}
	version := uint64(p.up.Version)
	if err := checkVersion(version, d.show(p.up.Raw)); err != nil {
		return Migration{}, err
	}
	return d.migration(version, strings.TrimSuffix(p.up.Raw, ".up.sql"), p.up.Raw, down)
}
