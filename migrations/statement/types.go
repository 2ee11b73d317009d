package statement

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// spelled are the types whose names the grammar translates, as format_type() writes them.
var spelled = map[string]string{
	"bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision",
	"varchar": "character varying", "bpchar": "character", "timestamp": "timestamp without time zone",
	"timestamptz": "timestamp with time zone", "time": "time without time zone", "timetz": "time with time zone",
	"varbit": "bit varying", "decimal": "numeric", "serial": "integer", "serial4": "integer", "bigserial": "bigint", "serial8": "bigint",
	"smallserial": "smallint", "serial2": "smallint",
}

// TypeText is a type as format_type() writes it: "character varying(50)", "numeric(10,2)", "text[]", "public.mood".
func TypeText(t *pg.TypeName) string {
	name := listed(t.GetNames())
	text := name.SQL()
	if name.Schema == "" || name.Schema == "pg_catalog" {
		text = Quote(name.Name)
		if word, ok := spelled[name.Name]; ok && (name.Name != "bpchar" || len(t.GetTypmods()) > 0) {
			text = word
		} else if name.Schema != "" && slices.Contains(reserved, name.Name) {
			text = name.Name // interval, numeric, bit
		}
	}
	if t.GetPctType() {
		return listed(t.GetNames()).SQL() + "%TYPE"
	}
	var numbers []string
	for _, m := range t.GetTypmods() {
		switch v := m.GetAConst().GetVal().(type) {
		case *pg.A_Const_Ival:
			numbers = append(numbers, strconv.Itoa(int(v.Ival.GetIval())))
		case *pg.A_Const_Sval:
			numbers = append(numbers, literal(v.Sval.GetSval()))
		default: // geometry(Point, 4326)
			numbers = append(numbers, strings.Join(texts(m.GetColumnRef().GetFields()), "."))
		}
	}
	if len(numbers) > 0 && name.Name != "interval" { // whose number is a set of bits
		word, zone, _ := strings.Cut(text, " with")
		if text = word + "(" + strings.Join(numbers, ",") + ")"; zone != "" {
			text += " with" + zone
		}
	}
	return text + strings.Repeat("[]", len(t.GetArrayBounds()))
}

var typeForm = regexp.MustCompile(`^([a-z][a-z ]*?)(?:\((\d+)(?:,(\d+))?\))?( with(?:out)? time zone)?$`)

// Widens says whether a column's type is changed without its values being looked at or the table being written anew, with
// both types as format_type() and TypeText write them. Source: ATColumnChangeRequiresRewrite in
// src/backend/commands/tablecmds.c and the support functions of the length coercions (varchar_support, numeric_support,
// timestamp_support, …). utc says whether the session's TimeZone is UTC, which timestamp and timestamptz depend on.
// Prepared statements that return the column must be prepared again even so.
func Widens(from, to string, utc bool) bool {
	if from == to {
		return true
	}
	a, b := typeForm.FindStringSubmatch(from), typeForm.FindStringSubmatch(to)
	if a == nil || b == nil {
		return false
	}
	length := func(m []string) int { // 0: no limit
		n, _ := strconv.Atoi(m[2])
		return n
	}
	wider := func() bool { return length(b) == 0 || length(a) != 0 && length(b) >= length(a) }
	switch pair := fmt.Sprintf("%s%s -> %s%s", a[1], a[4], b[1], b[4]); pair {
	case "character varying -> text", "text -> character varying":
		return length(b) == 0
	case "character varying -> character varying", "bit varying -> bit varying":
		return wider()
	case "numeric -> numeric":
		return b[2] == "" || a[2] != "" && scale(a) == scale(b) && length(b) >= length(a)
	case "timestamp without time zone -> timestamp without time zone", "timestamp with time zone -> timestamp with time zone",
		"time without time zone -> time without time zone", "time with time zone -> time with time zone":
		return precision(b) >= precision(a)
	case "timestamp without time zone -> timestamp with time zone", "timestamp with time zone -> timestamp without time zone":
		return utc && b[2] == ""
	case "xml -> character varying":
		return length(b) == 0
	case "cidr -> inet", "xml -> text", "integer -> oid", "oid -> integer", "oid -> regclass", "regclass -> oid", "integer -> regclass", "regclass -> integer":
		return true // binary coercible: castmethod 'b' in pg_cast
	}
	return false
}

func scale(m []string) string {
	if m[3] == "" {
		return "0"
	}
	return m[3]
}

// precision of a time; 6 digits where it is not written.
func precision(m []string) int {
	if m[2] == "" {
		return 6
	}
	n, _ := strconv.Atoi(m[2])
	return n
}
