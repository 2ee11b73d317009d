package rehearsal

import (
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
)

// alone are kinds of objects that stand for themselves. What belongs to a table, such as an index, goes with it, and what of
// the data is gone the comparison of the data tells.
var alone = []string{
	"view", "materialized view", "foreign table", "function", "procedure", "aggregate", "window function", "domain", "composite type", "enum",
	"range", "base type", "sequence", "collation", "text search configuration", "event trigger",
}

// attachedKinds are those of objects that live in a table and may be gone without it.
var attachedKinds = []string{"trigger", "policy", "rule", "constraint"}

// removals finds what the migrations remove without a word: CASCADE takes with it all that depends on an object, also what
// nobody remembers. What a file names, be it in a comment, somebody has thought of.
func (r *run) removals() {
	before, after := byName(r.before), byName(r.after)
	for _, o := range r.before.Objects {
		if _, still := after[o.String()]; still || r.mentioned(o.Name) {
			continue
		}
		f := finding.Finding{Name: "undeclared-removal", Level: finding.Refuse, Basis: finding.Measured, Object: o.String(),
			Message: o.String() + " is gone, and no migration names it: something that it depends on was dropped with CASCADE",
			Fix:     "drop it by its name, make it again, or name it in a comment of the migration"}
		switch table, _ := split(o.Name); {
		case slices.Contains(alone, o.Kind) && o.Properties["owned by"] == "":
		case !slices.Contains(attachedKinds, o.Kind) || gone(table, before, after):
			continue
		case o.Kind == "constraint":
			other := references.FindStringSubmatch(o.Properties["definition"])
			if other == nil {
				continue // one of the table's own: it goes with a column
			}
			if gone(other[1], before, after) {
				f.Level = finding.Warn // it has nothing left to refer to
			}
		}
		r.found(r.cascading(f))
	}
	for _, o := range r.after.Objects {
		if was, old := before[o.String()]; old && o.Properties["persistence"] != was.Properties["persistence"] && o.Properties["persistence"] != "" {
			r.found(finding.Finding{Name: "unlogged", Level: finding.Refuse, Basis: finding.Measured, Object: o.String(),
				Message: o.String() + " is unlogged now: after a crash of the server, and on every replica, it is empty",
				Fix:     "leave it logged; keep what may be lost in a table of its own"})
		}
	}
}

// references finds the table in the definition of a foreign key.
var references = regexp.MustCompile(`^FOREIGN KEY .* REFERENCES ((?:"(?:[^"]|"")+"|[^\s"(]+)+)\(`)

func byName(s *catalog.Snapshot) map[string]catalog.Object {
	objects := map[string]catalog.Object{}
	for _, o := range s.Objects {
		objects[o.String()] = o
	}
	return objects
}

// gone says whether a relation was there and is not any more.
func gone(name string, before, after map[string]catalog.Object) bool {
	for _, kind := range []string{"table", "partitioned table", "view", "materialized view", "foreign table"} {
		_, was := before[kind+" "+name]
		_, is := after[kind+" "+name]
		if was {
			return !is
		}
	}
	return false
}

// parts are those of a name as the catalog gives it, before the arguments of a function.
var parts = regexp.MustCompile(`"(?:[^"]|"")+"|[^."(]+|\(.*`)

// split takes the last part off a name.
func split(name string) (rest, last string) {
	at := parts.FindAllStringIndex(name, -1)
	if len(at) < 2 {
		return "", name
	}
	if name[at[len(at)-1][0]] == '(' {
		at = at[:len(at)-1]
	}
	end := at[len(at)-1]
	return strings.TrimSuffix(name[:end[0]], "."), name[end[0]:end[1]]
}

// mentioned says whether a pending migration names an object, or the schema that it removes with it.
func (r *run) mentioned(name string) bool {
	rest, last := split(name)
	if last = strings.ReplaceAll(strings.Trim(last, `"`), `""`, `"`); last == "" {
		return false
	}
	word := regexp.MustCompile(`(?i)(?:^|[^\pL\pN_$])` + regexp.QuoteMeta(last) + `(?:$|[^\pL\pN_$])`)
	for _, m := range r.Pending {
		if s, err := r.Source.Script(m, folder.Up); err == nil && word.MatchString(s.Source) {
			return true
		}
		for _, s := range r.parsed[m.Version] {
			for _, o := range s.Removes() {
				if o.Kind == "schema" && (rest == o.Name.Name || strings.HasPrefix(rest, o.Name.Name+".")) {
					return true
				}
			}
		}
	}
	return false
}

// cascading puts a finding into the first statement that says CASCADE.
func (r *run) cascading(f finding.Finding) finding.Finding {
	for _, m := range r.Pending {
		s, err := r.Source.Script(m, folder.Up)
		if err != nil {
			continue
		}
		for i, statement := range s.Statements {
			if statement.Has("CASCADE") {
				f = place(m, f)
				f.File, f.Line = s.Place(i)
				f.Statement = i + 1
				return f
			}
		}
	}
	return f
}
