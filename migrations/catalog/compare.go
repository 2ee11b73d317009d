package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is what happened to an object.
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Difference is an object that is not the same in two schemas.
type Difference struct {
	Object string `json:"object"` // "column public.users.email"
	Kind   Kind   `json:"kind"`
	// Before and After are definitions: of a changed object, what changed of it. Long texts are cut.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String is the difference in one line.
func (d Difference) String() string {
	text := d.Object + " " + string(d.Kind)
	switch {
	case d.Kind == Changed:
		return text + ": " + d.Before + " -> " + d.After
	case d.Before+d.After != "":
		return text + ": " + d.Before + d.After
	}
	return text
}

// Compare says how the schema after differs from the one before, by object; nothing where they are equal. It compares what
// both snapshots know. Of two major versions of the server, the queries of views are not compared: PostgreSQL 16 writes them
// otherwise than 15 (ruleutils.c, without the table where there is but one), so all would differ after an upgrade.
func Compare(before, after *Snapshot) []Difference {
	const major = 10000
	shared := map[string][]string{}
	for kind, properties := range before.Knows {
		known, both := after.Knows[kind]
		if !both {
			continue
		}
		shared[kind] = slices.DeleteFunc(slices.Clone(properties), func(p string) bool {
			return !slices.Contains(known, p) || p == query && before.Server/major != after.Server/major
		})
	}
	was, is := index(before), index(after)
	var differences []Difference
	for name, o := range was {
		properties, both := shared[o.Kind]
		if !both {
			continue
		}
		now, still := is[name]
		if !still {
			differences = append(differences, Difference{Object: name, Kind: Removed, Before: definition(o, properties)})
			continue
		}
		changed := slices.DeleteFunc(slices.Clone(properties), func(p string) bool { return o.Properties[p] == now.Properties[p] })
		if len(changed) > 0 {
			d := Difference{Object: name, Kind: Changed}
			d.Before, d.After = apart(o, now, changed)
			differences = append(differences, d)
		}
	}
	for name, o := range is {
		properties, both := shared[o.Kind]
		if _, known := was[name]; both && !known {
			differences = append(differences, Difference{Object: name, Kind: Added, After: definition(o, properties)})
		}
	}
	slices.SortFunc(differences, func(a, b Difference) int { return cmp.Compare(a.Object, b.Object) })
	return differences
}

func index(s *Snapshot) map[string]Object {
	objects := make(map[string]Object, len(s.Objects))
	for _, o := range s.Objects {
		objects[o.String()] = o
	}
	return objects
}

// cut is how many characters of a property people are shown.
const cut = 160

// definition is an object's properties in one line.
func definition(o Object, properties []string) string {
	var list []string
	for _, p := range properties {
		if value := o.Properties[p]; value != "" {
			list = append(list, show(p, value, 0))
		}
	}
	return strings.Join(list, ", ")
}

// apart are those properties of two objects that differ, a long one from shortly before where it does.
func apart(was, is Object, properties []string) (before, after string) {
	var left, right []string
	for _, p := range properties {
		a, b := was.Properties[p], is.Properties[p]
		from := 0
		if len(a) > cut || len(b) > cut {
			for from < min(len(a), len(b)) && a[from] == b[from] {
				from++
			}
			from = max(0, from-cut/4)
		}
		left, right = append(left, show(p, a, from)), append(right, show(p, b, from))
	}
	return strings.Join(left, ", "), strings.Join(right, ", ")
}

// show is a property from some byte of its value on, in one line.
func show(property, value string, from int) string {
	switch value {
	case "":
		return "no " + property
	case yes:
		return property
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(value[min(from, len(value)):], "")), " ")
	if from > 0 {
		text = "…" + text
	}
	if runes := []rune(text); len(runes) > cut {
		text = string(runes[:cut]) + "…"
	}
	return fmt.Sprintf("%s %s", property, text)
}
