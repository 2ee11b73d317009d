package statement

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Name is the name of a relation, type or routine, folded as PostgreSQL does. Schema is "" where the statement does not
// write one.
type Name struct {
	Schema string `json:"schema,omitempty"`
	Name   string `json:"name"`
}

// String is the name for people, without quotes: "public.users".
func (n Name) String() string {
	if n.Schema == "" {
		return n.Name
	}
	return n.Schema + "." + n.Name
}

// SQL is the name as SQL takes it, quoted where it must be.
func (n Name) SQL() string {
	if n.Schema == "" {
		return Quote(n.Name)
	}
	return Quote(n.Schema) + "." + Quote(n.Name)
}

// Is says whether two names may mean the same object: an unwritten schema is taken for public, where a search_path finds
// what nobody put elsewhere.
func (n Name) Is(other Name) bool {
	schema := func(s string) string {
		if s == "" {
			return "public"
		}
		return s
	}
	return n.Name == other.Name && schema(n.Schema) == schema(other.Schema)
}

// Column is a column that a statement names. Column is "*" where it names all of them.
type Column struct {
	Table  Name   `json:"table"`
	Column string `json:"column"`
}

// String is the column for people: "public.users.email".
func (c Column) String() string { return c.Table.String() + "." + c.Column }

// Object is something in a schema, or a part of it.
type Object struct {
	Kind string `json:"kind"` // as SQL calls it, in small letters: "table", "materialized view", "column", "constraint", …
	Name Name   `json:"name"`
	Part string `json:"part,omitempty"` // of what lives within Name: a column, constraint, trigger, policy, rule, label or attribute
}

// String is the object for people: "column users.email".
func (o Object) String() string {
	if o.Part == "" {
		return o.Kind + " " + o.Name.String()
	}
	return o.Kind + " " + o.Name.String() + "." + o.Part
}

// Is says whether two objects may be the same one.
func (o Object) Is(other Object) bool {
	return o.Kind == other.Kind && o.Part == other.Part && o.Name.Is(other.Name)
}

// reserved are the key words that are no names without quotes: those of pg_get_keywords() with catcode R, T and C.
var reserved = strings.Fields(`
	all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char
	character check coalesce collate collation column concurrently constraint create cross current_catalog current_date
	current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do
	else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike
	in initially inner inout int integer intersect interval into is isnull join json_array json_arrayagg json_exists
	json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading least left like
	limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset
	on only or order out outer overlaps overlay placing position precision primary real references returning right row select
	session_user setof similar smallint some substring symmetric system_user table tablesample then time timestamp to
	trailing treat trim true union unique user using values varchar variadic verbose when where window with xmlattributes
	xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`)

// Quote is a name as SQL takes it, quoted where it must be.
func Quote(name string) string {
	plain := name != "" && !slices.Contains(reserved, name)
	for i, r := range name {
		plain = plain && (r == '_' || 'a' <= r && r <= 'z' || i > 0 && ('0' <= r && r <= '9' || r == '$'))
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// literal is a text as SQL takes it.
func literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// Relation is the name of a relation in a syntax tree.
func Relation(r *pg.RangeVar) Name {
	return Name{Schema: r.GetSchemaname(), Name: r.GetRelname()}
}

// texts are the strings of a list in a syntax tree.
func texts(nodes []*pg.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.GetString_().GetSval())
	}
	return list
}

// listed is a name that a syntax tree holds as a list: catalog, schema, name.
func listed(nodes []*pg.Node) Name {
	parts := texts(nodes)
	if len(parts) == 0 {
		return Name{}
	}
	n := Name{Name: parts[len(parts)-1]}
	if len(parts) > 1 {
		n.Schema = parts[len(parts)-2]
	}
	return n
}

// named is the name in whatever a syntax tree holds it in.
func named(node *pg.Node) Name {
	switch n := node.GetNode().(type) {
	case *pg.Node_String_:
		return Name{Name: n.String_.GetSval()}
	case *pg.Node_List:
		return listed(n.List.GetItems())
	case *pg.Node_TypeName:
		return listed(n.TypeName.GetNames())
	case *pg.Node_ObjectWithArgs:
		return listed(n.ObjectWithArgs.GetObjname())
	case *pg.Node_RangeVar:
		return Relation(n.RangeVar)
	}
	return Name{}
}
