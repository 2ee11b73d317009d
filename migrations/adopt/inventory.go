package adopt

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations/folder"
)

// file is one file that a runner may have applied.
type file struct {
	path   string // from the application's root
	group  string // the folder it is in, as its runner sees it
	name   string // what it is called there: 0001_kind, 20260102030405_kind
	number *int64 // what orders it there: a number, or drizzle-kit's when
	body   []byte

	place     int    // of its migration in the sequence; none where it has none
	own       bool   // the migration's own file, not one that is accepted with it
	irregular bool   // of the main folder, and no part of the sequence
	after     string // of an irregular one: the migration after which it comes by its name
	fault     error  // of an irregular one

	claims []claim
}

// none is the place of a file that is no part of the sequence.
const none = -1

// inventory is every file that evidence may be about.
type inventory struct {
	source *folder.Source
	main   string // the group of the folder itself
	files  []*file
	places [][]*file                     // those of each migration of the sequence
	keys   map[string]map[string][]*file // by group, then by every name that a runner may have written
	sums   map[string]map[string][]*file // by group, then by SHA-256
	number map[string]map[int64]*file
}

var digits = regexp.MustCompile(`^[Vv]?([0-9]+)`)

// read makes the inventory of the folders.
func (in inputs) read() (*inventory, error) {
	source, irregular, err := folder.Inspect(in.fsys, in.options)
	if err != nil {
		return nil, err
	}
	inv := &inventory{source: source, main: source.Name(), keys: map[string]map[string][]*file{}, sums: map[string]map[string][]*file{}, number: map[string]map[int64]*file{}}
	sequence := source.Migrations()
	inv.places = make([][]*file, len(sequence))
	for place, m := range sequence {
		for _, f := range m.Files {
			own := f.Name == m.File
			version := m.Version
			entry := &file{path: f.Name, group: inv.main, name: m.Name, number: &version, place: place, own: own}
			if !own {
				entry.group, entry.name, entry.number = groupOf(f.Name, in.more), nameOf(f.Name), nil
				if entry.group != inv.main { // where the number is another's
					entry.number = numberOf(f.Name)
				}
			}
			if err := inv.add(in.fsys, entry); err != nil {
				return nil, err
			}
		}
	}
	for _, i := range irregular {
		if err := inv.add(in.fsys, &file{path: i.File, group: inv.main, name: nameOf(i.File), place: none, irregular: true, after: i.Beside, fault: i.Fault}); err != nil {
			return nil, err
		}
	}
	for _, dir := range in.more {
		if err := inv.addFolder(in.fsys, path.Clean(dir)); err != nil {
			return nil, err
		}
	}
	return inv, nil
}

// addFolder adds the files of a further folder that are not in the sequence already.
func (inv *inventory) addFolder(fsys fs.FS, dir string) error {
	if dir == inv.main {
		return fmt.Errorf("%s: the folder itself, so it is no further one: name the one of the other runner", dir)
	}
	source, irregular, err := folder.Inspect(fsys, folder.Options{Dir: dir})
	if err != nil {
		return err
	}
	for _, m := range source.Migrations() {
		version := m.Version
		if known := inv.at(m.File); known != nil {
			known.name, known.number = m.Name, &version
			inv.index(known)
			continue
		}
		if err := inv.add(fsys, &file{path: m.File, group: dir, name: m.Name, number: &version, place: none}); err != nil {
			return err
		}
	}
	for _, i := range irregular {
		if inv.at(i.File) != nil {
			continue
		}
		if err := inv.add(fsys, &file{path: i.File, group: dir, name: nameOf(i.File), place: none}); err != nil {
			return err
		}
	}
	return nil
}

func (inv *inventory) at(name string) *file {
	i := slices.IndexFunc(inv.files, func(f *file) bool { return f.path == name })
	if i < 0 {
		return nil
	}
	return inv.files[i]
}

func (inv *inventory) add(fsys fs.FS, f *file) error {
	body, err := fs.ReadFile(fsys, f.path)
	if err != nil {
		return fmt.Errorf("read migration %s: %w", f.path, err)
	}
	f.body = body
	inv.files = append(inv.files, f)
	if f.place != none {
		inv.places[f.place] = append(inv.places[f.place], f)
	}
	inv.index(f)
	return nil
}

// index notes the names under which a runner may have written the file down.
func (inv *inventory) index(f *file) {
	keys := inv.keys[f.group]
	if keys == nil {
		keys = map[string][]*file{}
		inv.keys[f.group], inv.sums[f.group], inv.number[f.group] = keys, map[string][]*file{}, map[int64]*file{}
	}
	if sum, sums := sha256Hex(f.body), inv.sums[f.group]; !slices.Contains(sums[sum], f) {
		sums[sum] = append(sums[sum], f)
	}
	for _, key := range []string{f.name, nameOf(f.path)} {
		if !slices.Contains(keys[key], f) {
			keys[key] = append(keys[key], f)
		}
	}
	if f.number != nil && inv.number[f.group][*f.number] == nil {
		inv.number[f.group][*f.number] = f
	}
}

// groups are the folders, the main one first.
func (inv *inventory) groups() []string {
	list := []string{inv.main}
	for _, f := range inv.files {
		if !slices.Contains(list, f.group) {
			list = append(list, f.group)
		}
	}
	return list
}

// in are the files of a group, in the order in which its runner takes them.
func (inv *inventory) in(group string) []*file {
	return slices.DeleteFunc(slices.Clone(inv.files), func(f *file) bool { return f.group != group })
}

// find is the file of a group that a line of a record is about: by its content, by its name on whatever machine, by its
// number. nil where it is not here.
func (inv *inventory) find(group string, r record, byContent bool) *file {
	number := r.number()
	if byContent && r.Hash != nil {
		alike := inv.sums[group][strings.ToLower(*r.Hash)]
		for _, f := range alike { // two files may hold the same
			if number != nil && f.number != nil && *f.number == *number {
				return f
			}
		}
		if len(alike) > 0 {
			return alike[0]
		}
	}
	if r.Name != nil && r.State != cumulative {
		if named := inv.keys[group][nameOf(*r.Name)]; len(named) > 0 {
			return named[0]
		}
	}
	if number == nil {
		return nil
	}
	if f := inv.number[group][*number]; f != nil || !byContent {
		return f
	}
	// drizzle-kit 1.x names a folder after the second that 0.x wrote in milliseconds (drizzle-orm/src/up-migrations/pg.ts).
	return inv.number[group][asDigits(*number)]
}

// asDigits is a time in milliseconds as the digits of its second, 0 where it is none of this era.
func asDigits(milliseconds int64) int64 {
	digits, err := strconv.ParseInt(time.UnixMilli(milliseconds).UTC().Format("20060102150405"), 10, 64)
	if err != nil {
		return 0
	}
	return digits
}

// nameOf is a file's name without folders and without what files end in; of a migration that is a folder, the folder's.
func nameOf(written string) string {
	written = strings.ReplaceAll(strings.TrimSpace(written), `\`, "/")
	base := path.Base(written)
	if base == "migration.sql" {
		base = path.Base(path.Dir(written))
	}
	return strings.TrimSuffix(strings.TrimSuffix(base, ".sql"), ".up")
}

// groupOf is the folder of a file that is accepted: one of those that are looked at, or the one it is in.
func groupOf(name string, more []string) string {
	for _, dir := range more {
		if strings.HasPrefix(name, path.Clean(dir)+"/") {
			return path.Clean(dir)
		}
	}
	dir := path.Dir(name)
	if path.Base(name) == "migration.sql" {
		dir = path.Dir(dir)
	}
	return dir
}

// numberOf is what a name begins with, nil where that is no number.
func numberOf(written string) *int64 {
	match := digits.FindStringSubmatch(nameOf(written))
	if match == nil {
		return nil
	}
	number, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return nil
	}
	return &number
}
