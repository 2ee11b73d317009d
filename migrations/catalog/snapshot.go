// Package catalog reads the schema of a database as sorted data, so that two of them can be compared: before a migration and
// after it was taken back, as it was left and as it is found, made by migrations and grown over years. It sees what a schema
// means, not how it came about: no oids, no order of columns, no text of dumps. It writes nothing and reads no rows of tables.
package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
)

// Snapshot is a schema at one moment. It can be kept as JSON, also in a jsonb column, and compared later with one that another
// version of this package or of the server made: Knows says what was looked at.
//
// Left out are system schemas, members of extensions, temporary objects and the pipeline's own tables; contents, statistics
// and the values of sequences; tablespaces, roles, databases and their settings, languages, conversions, subscriptions,
// security labels, user mappings; and what a server computes when it loads the schema.
type Snapshot struct {
	Server int `json:"server"` // the server's version as a number: 150018
	// Knows are the kinds of objects, and of each the properties, that the snapshot would hold if they were there.
	Knows   map[string][]string `json:"knows"`
	Objects []Object            `json:"objects"` // by kind and name
	// Order is that of the columns of tables, which is information and no part of the comparison: adding a column again puts
	// it last.
	Order map[string][]string `json:"order"`
}

// Object is a part of a schema.
type Object struct {
	Kind string `json:"kind"` // "column"
	Name string `json:"name"` // "public.users.email", quoted as SQL takes it
	// Properties are what is not as by default.
	Properties map[string]string `json:"properties,omitempty"`
}

func (o Object) String() string { return o.Kind + " " + o.Name }

func (o Object) compare(p Object) int {
	return cmp.Or(cmp.Compare(o.Kind, p.Kind), cmp.Compare(o.Name, p.Name))
}

// SHA256 is the hash, in hexadecimal, of the snapshot's canonical JSON without what is no part of a comparison. Two snapshots
// that know the same have the same hash when, and only when, Compare finds no difference.
func (s *Snapshot) SHA256() string {
	compared := Snapshot{Knows: s.Knows, Objects: s.Objects}
	text, err := json.Marshal(compared)
	if err != nil {
		panic(err) // strings in maps and slices can always be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// WithoutAccess is the snapshot without owners and privileges, for comparisons with a copy into which they were not restored
// (pg_restore --no-owner --no-privileges).
func (s *Snapshot) WithoutAccess() *Snapshot {
	rest := Snapshot{Server: s.Server, Knows: map[string][]string{}, Objects: []Object{}, Order: s.Order}
	access := func(kind string) bool { return kind == grant || kind == defaultPrivilege }
	for kind, properties := range s.Knows {
		if !access(kind) {
			rest.Knows[kind] = slices.DeleteFunc(slices.Clone(properties), func(p string) bool { return p == owner })
		}
	}
	for _, o := range s.Objects {
		if !access(o.Kind) {
			o.Properties = maps.Clone(o.Properties)
			delete(o.Properties, owner)
			rest.Objects = append(rest.Objects, o)
		}
	}
	return &rest
}

// Reordered are the tables of both snapshots whose common columns come in another order, by name.
func Reordered(before, after *Snapshot) []string {
	var tables []string
	for table, was := range before.Order {
		is := after.Order[table]
		was = slices.DeleteFunc(slices.Clone(was), func(c string) bool { return !slices.Contains(is, c) })
		is = slices.DeleteFunc(slices.Clone(is), func(c string) bool { return !slices.Contains(was, c) })
		if !slices.Equal(was, is) {
			tables = append(tables, table)
		}
	}
	slices.Sort(tables)
	return tables
}
