package statement

import "slices"

// known is what a file has made so far. Only what certainly is new counts: not what IF NOT EXISTS may have found, what OR
// REPLACE may have replaced, or what a condition in a DO block decides.
type known struct {
	objects []Object
	plain   []Object // columns that were added nullable and without a default: old code's rows have a null there
}

// with is what is known after one more statement.
func (k *known) with(s *Statement) *known {
	next := &known{objects: slices.Clone(k.objects), plain: slices.Clone(k.plain)}
	for _, o := range s.gone {
		same := func(other Object) bool { return other.Is(o) }
		next.objects, next.plain = slices.DeleteFunc(next.objects, same), slices.DeleteFunc(next.plain, same)
	}
	for i, o := range s.makes {
		if s.certain(i) {
			next.objects = append(next.objects, o)
		}
	}
	next.plain = append(next.plain, s.plainColumns()...)
	return next
}

// any says whether one of the objects is new, or lives in what is new.
func (k *known) any(objects []Object) bool {
	return slices.ContainsFunc(objects, func(o Object) bool {
		return slices.ContainsFunc(k.objects, func(made Object) bool {
			return made.Is(o) || made.Kind == "schema" && made.Name.Name == o.Name.Schema
		})
	})
}

// relationKinds are the kinds whose names share one space in a schema, and that ALTER TABLE takes.
var relationKinds = []string{"table", "view", "materialized view", "foreign table", "index", "sequence"}

// table says whether a table, or what else may stand for one, is new.
func (k *known) table(n Name) bool { return k.any(relations(n)) }

// relations are the objects that the name of a relation may mean.
func relations(n Name) []Object {
	list := make([]Object, len(relationKinds))
	for i, kind := range relationKinds {
		list[i] = Object{Kind: kind, Name: n}
	}
	return list
}

// column says whether a column is new although its table is not.
func (k *known) column(table Name, column string) bool {
	return k.any([]Object{columnOf(table, column)})
}

// nullable says whether a column is new and null in the rows that old code writes.
func (k *known) nullable(table Name, column string) bool {
	return slices.ContainsFunc(k.plain, columnOf(table, column).Is)
}

func columnOf(table Name, column string) Object {
	return Object{Kind: "column", Name: table, Part: column}
}
