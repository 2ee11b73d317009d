package checksum

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
)

// column is a column of a table.
type column struct {
	name     string
	base     string // its type, or the one below a domain
	builtin  bool   // that type is PostgreSQL's own
	enum     bool
	declared string // the type as people write it, with its modifier
	key      bool   // part of the primary key
}

func (c column) sql() string { return "t." + pg.Name(c.name) }

// is says that the column's type is one of these of PostgreSQL's own.
func (c column) is(types ...string) bool {
	for _, t := range types {
		if c.builtin && c.base == t {
			return true
		}
	}
	return false
}

// hash is SQL for a 64 bit hash of the column's value, in which two values are equal when what pg_dump writes of them is.
// The place sets the columns of a row apart.
//
// The functions are those of hash partitioning. They give the same in every version, for rows would be in the wrong
// partition after pg_upgrade otherwise, though not on machines of another byte order (pg_dump(1), --load-via-partition-root;
// hash_any in src/common/hashfn.c). TestSumsAreTheSameOnEveryServer holds them to it.
//
// But they hash what is equal, and equal is less than the same. Used as they are for a type, they miss (each is a test):
//   - int8, timestamp, time: hashed as 32 bits, high half xor low half, so that 1 and 4294967296 are one. A bigint is passed as
//     the seed, which is 64 bits wide; of the others the eight bytes on the wire are hashed.
//   - numeric: without sign and scale. -5, 5 and 5.00 are one.
//   - float: -0 and 0 are one.
//   - enum: by the label's oid, which is another one in another database.
//   - jsonb and arrays: without their nesting. [[1],2] and [[1,2]] are one, and so are 1 and 1.0.
//   - text under a collation that is not deterministic, citext, bpchar: without what their comparison ignores.
//
// So numeric, enum and all that is not named below are hashed as text, which costs 80 ns for a number and 300 ns for a jsonb of
// 60 bytes, where a timestamp costs 70 ns.
func (c column) hash(place int) string {
	v, seed := c.sql(), seed(place)
	switch {
	case c.is("int8"):
		return fmt.Sprintf("coalesce(hashint4extended(%d, %s), 0)", place, v)
	case c.is("int4", "int2", "bool"):
		return fmt.Sprintf("coalesce(hashint4extended(%s::int4, %d), 0)", v, seed)
	case c.is("text", "varchar"):
		return textHash(v+"::text", place)
	case c.is("uuid"):
		return fmt.Sprintf("coalesce(uuid_hash_extended(%s, %d), 0)", v, seed)
	case c.is("timestamp", "timestamptz", "time"):
		return fmt.Sprintf("hash_array_extended(ARRAY[%s_send(%s)], %d)", c.base, v, seed)
	case c.is("date", "bytea"): // their functions take what SQL cannot pass; those of arrays call them
		return fmt.Sprintf("hash_array_extended(ARRAY[%s::%s], %d)", v, c.base, seed)
	case c.is("float4", "float8"):
		return fmt.Sprintf("coalesce(CASE WHEN %s = 0 THEN hashtextextended(%s::text COLLATE \"C\", %d) ELSE hash%sextended(%s, %d) END, 0)", v, v, seed, c.base, v, seed)
	}
	// concat writes a value as pg_dump does; a cast to text may be a function that does not. It makes a null an empty text.
	// IS NULL would be true also of a row of nulls.
	return fmt.Sprintf("CASE WHEN %s IS DISTINCT FROM NULL THEN %s ELSE 0 END", v, textHash("concat("+v+")", place))
}

// textHash hashes a text by its bytes.
func textHash(text string, place int) string {
	return fmt.Sprintf(`coalesce(hashtextextended(%s COLLATE "C", %d), 0)`, text, seed(place))
}

// seed is a place in a row as a number that no value is likely to be: multiples of 2^64 over the golden ratio.
func seed(place int) int64 { return int64(uint64(place) * 0x9e3779b97f4a7c15) }

// comparable is SQL for a text that is the same for the same value of different types, where their text alone is not: 1.10
// and 1.100, or a timestamp and the moment it is in UTC.
func (c column) comparable() string {
	v := c.sql()
	switch {
	case c.is("int2", "int4", "int8", "numeric"):
		return "trim_scale(" + v + "::numeric)::text"
	case c.is("float4", "float8"):
		return v + "::float8::text"
	case c.is("timestamp", "timestamptz", "date"):
		return v + "::timestamp::text"
	case c.is("json", "jsonb"):
		return v + "::jsonb::text"
	case c.is("bpchar"): // without its padding
		return v + "::text"
	}
	return "CASE WHEN " + v + " IS DISTINCT FROM NULL THEN concat(" + v + ") END"
}

// hash is a column's, by its value or by its comparable text.
type hash func(place int) string

// exactly hashes columns by their values.
func exactly(columns []column) []hash {
	hashes := make([]hash, len(columns))
	for i, c := range columns {
		hashes[i] = c.hash
	}
	return hashes
}

// comparably hashes a column by its comparable text.
func comparably(c column) hash {
	return func(place int) string { return textHash(c.comparable(), place) }
}

// rowSum is SQL for the sum of a hash of each row. A sum does not depend on the order of rows, and unlike an exclusive or it
// does not lose pairs of equal rows; PostgreSQL adds bigint in 128 bits. The columns' hashes are joined by exclusive or, for
// their seeds keep them apart, and the whole is hashed once more, as a seed: what is added up must not itself be a sum of what
// the columns give. hash_record_extended is one (31 times the hash so far, plus the next), so two rows that exchange their
// values of a column leave its sum as it was, but for a carry.
func rowSum(columns []hash) string {
	terms := make([]string, len(columns))
	for i, h := range columns {
		terms[i] = h(i + 1)
	}
	return "coalesce(sum(hashint4extended(0, " + join(terms) + ")), 0)"
}

// join is the exclusive or of terms, as a balanced tree: a table may have 1600 columns, and a stack has an end.
func join(terms []string) string {
	switch len(terms) {
	case 0:
		return "0::int8"
	case 1:
		return terms[0]
	}
	half := len(terms) / 2
	return strings.Join([]string{"(", join(terms[:half]), " # ", join(terms[half:]), ")"}, "")
}
