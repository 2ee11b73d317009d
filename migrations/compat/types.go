package compat

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// kind is a type as drivers see it.
type kind struct {
	Name     string // with its schema
	Category string // as pg_type has it: S for texts, N numbers, D dates and times, E enums, A arrays, U others …
}

// String is the type for people.
func (k kind) String() string { return strings.TrimPrefix(k.Name, "pg_catalog.") }

// texts says whether a type's values are sent and received as texts by those drivers that do not know it.
func (k kind) texts() bool {
	return k.Category == "S" || k.Category == "E" || k.Category == "I" || k.Name == "pg_catalog.uuid"
}

func (k kind) json() bool { return k.Name == "pg_catalog.json" || k.Name == "pg_catalog.jsonb" }

// changes says what the change of a type does to code that was written for the old one; "" where nothing. It is
// PostgreSQL's type as PREPARE infers it, so what it does depends on the driver: some send the type that they think a value
// has (JDBC, asyncpg), some ask PostgreSQL first (pgx), some send texts (node-postgres, psycopg2).
func (k kind) changes(to kind) (level finding.Level, why string) {
	switch {
	case k.Name == to.Name, k.Category == "S" && to.Category == "S", k.Name == "pg_catalog.unknown":
		return "", ""
	case k.Category == "N" && to.Category == "N":
		return finding.Warn, "a driver may have another type for it: node-postgres gives integer as number, and bigint and numeric as text"
	case k.Category == "D" && to.Category == "D":
		return finding.Warn, "the same text is another time, or another kind of time"
	case k.texts() && to.texts():
		return finding.Warn, "a driver that sends values with their type is refused, and not every text is a value of it"
	case k.json() && to.json():
		return finding.Warn, "the order of keys, duplicate keys and white space are not kept"
	}
	return finding.Refuse, "values of the one are not values of the other"
}

// modifier is the length, or precision and scale, in a type as SQL writes it.
var modifier = regexp.MustCompile(`\((\d+)(?:,(-?\d+))?\)`)

// integers are the sizes of integer types, in bytes.
var integers = map[string]int{"pg_catalog.int2": 2, "pg_catalog.int4": 4, "pg_catalog.int8": 8}

// digits are those of the largest number of so many bytes.
var digits = map[int]int{2: 5, 4: 10, 8: 19}

// fractions are the types of numbers that may have one.
var fractions = map[string]bool{"pg_catalog.numeric": true, "pg_catalog.float4": true, "pg_catalog.float8": true}

// narrower says what values of a column no longer fit it, in words and as a condition on the column in SQL; "" where all do, or
// where the type is of another category, about which PREPARE tells.
func narrower(before, after column) (what, condition string) {
	name := statement.Quote(before.Name)
	if a, b := integers[before.Type], integers[after.Type]; a > 0 && b > 0 && b < a {
		most := int64(1)<<(8*b-1) - 1
		return "numbers that need more than " + strconv.Itoa(b) + " bytes", fmt.Sprintf("%s NOT BETWEEN %d AND %d", name, -most-1, most)
	}
	if fractions[before.Type] && integers[after.Type] > 0 {
		return "numbers with a fraction, which is rounded,", fmt.Sprintf("%[1]s <> pg_catalog.trunc(%[1]s)", name)
	}
	from, to := limits(before.Written), limits(after.Written)
	whole := func() (int, string) {
		return to[0] - to[1], fmt.Sprintf("pg_catalog.abs(%s) >= 10::numeric ^ %d", name, to[0]-to[1])
	}
	switch {
	case before.Type == "pg_catalog.float8" && after.Type == "pg_catalog.float4":
		return "numbers of more than 6 digits", fmt.Sprintf("%[1]s::float4::float8 <> %[1]s", name)
	case text[before.Type] && text[after.Type] && to != nil && (from == nil || to[0] < from[0]):
		return "texts of more than " + strconv.Itoa(to[0]) + " characters", fmt.Sprintf("pg_catalog.length(%s) > %d", name, to[0])
	case before.Type == "pg_catalog.numeric" && after.Type == "pg_catalog.numeric" && to != nil && (from == nil || to[0]-to[1] < from[0]-from[1]):
		digits, condition := whole()
		return "numbers of more than " + strconv.Itoa(digits) + " digits before the point", condition
	case integers[before.Type] > 0 && after.Type == "pg_catalog.numeric" && to != nil && to[0]-to[1] < digits[integers[before.Type]]:
		digits, condition := whole()
		return "numbers of more than " + strconv.Itoa(digits) + " digits", condition
	}
	return "", ""
}

// text are the types of texts that may have a length.
var text = map[string]bool{"pg_catalog.text": true, "pg_catalog.varchar": true, "pg_catalog.bpchar": true}

// limits are the numbers in a type as SQL writes it; nil where there are none. A scale that is not written is 0.
func limits(written string) []int {
	m := modifier.FindStringSubmatch(written)
	if m == nil {
		return nil
	}
	precision, _ := strconv.Atoi(m[1])
	scale, _ := strconv.Atoi(m[2])
	return []int{precision, scale}
}
