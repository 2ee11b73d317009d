package corpus

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	parser "github.com/wasilibs/go-pgquery"

	"github.com/metaextract/pipeline/migrations/statement"
)

// sends are the words that a statement begins with which reads or changes rows, or calls. All others are about the schema,
// the session or the transaction.
var sends = map[string]bool{
	"SELECT": true, "INSERT": true, "UPDATE": true, "DELETE": true, "MERGE": true, "WITH": true, "VALUES": true, "TABLE": true,
	"CALL": true, "(": true,
}

// tidy is a statement as it is kept: one that reads or changes rows, without comments (those of a tracer differ with every
// call), with its constants as $n. The second result says that it is none.
//
// Where a statement was sent within PREPARE or DECLARE CURSOR, it is taken out: PostgreSQL counts the calls of the former
// under that text (also pg_stat_statements 1.10 of PostgreSQL 15), and shows the latter with its constants up to version 15.
// pg_stat_statements leaves constants in GROUP BY where the same expression is in the target list with a parameter, and so
// makes a text that PostgreSQL does not accept; the parser's own normalization makes them the same parameter again.
func tidy(sql string) (string, bool) {
	tokens, err := scan(sql)
	if err != nil {
		text := conceal(strings.Join(strings.Fields(sql), " "))
		return text, sends[strings.ToUpper(first(text))]
	}
	tokens = unwrap(tokens)
	begin := slices.IndexFunc(tokens, func(t token) bool { return !t.comment() })
	if begin < 0 || !sends[strings.ToUpper(tokens[begin].text)] {
		return "", false
	}
	text := join(tokens)
	if !slices.ContainsFunc(tokens, token.constant) {
		return text, true
	}
	if _, err := statement.Parse(text); err != nil || depth(tokens) > maxDepth {
		return conceal(text), true
	}
	normal, err := parser.Normalize(text)
	if err != nil {
		return conceal(text), true
	}
	return normal, true
}

// token is a word, name, constant or sign.
type token struct {
	text  string
	kind  pg_query.Token
	apart bool // white space or a comment stands before it
}

func (t token) comment() bool {
	return t.kind == pg_query.Token_SQL_COMMENT || t.kind == pg_query.Token_C_COMMENT
}

func (t token) constant() bool {
	switch t.kind {
	case pg_query.Token_SCONST, pg_query.Token_USCONST, pg_query.Token_BCONST, pg_query.Token_XCONST, pg_query.Token_ICONST, pg_query.Token_FCONST:
		return true
	}
	return false
}

// maxDepth bounds how deep the parentheses of a text nest that is normalized: it takes the parser a second at 200 levels, and
// minutes at 500.
const maxDepth = 50

// depth is how deep parentheses and CASE nest.
func depth(tokens []token) int {
	depth, most := 0, 0
	for _, t := range tokens {
		switch t.kind {
		case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91, pg_query.Token_CASE: // ( [
			depth++
			most = max(most, depth)
		case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93, pg_query.Token_END_P: // ) ]
			depth--
		}
	}
	return most
}

// scan splits a text by PostgreSQL's own lexer, leaving out comments, but not those that are a hint to pg_hint_plan, and
// the semicolon at the end.
func scan(sql string) ([]token, error) {
	result, err := parser.Scan(sql)
	if err != nil {
		return nil, err
	}
	var tokens []token
	end := int32(0)
	for _, t := range result.Tokens {
		next := token{sql[t.Start:t.End], t.Token, t.Start > end}
		if !next.comment() || strings.HasPrefix(next.text, "/*+") {
			tokens = append(tokens, next)
			end = t.End
		}
	}
	for len(tokens) > 0 && tokens[len(tokens)-1].text == ";" {
		tokens = tokens[:len(tokens)-1]
	}
	return tokens, nil
}

// unwrap takes the statement out of PREPARE name (types) AS and out of DECLARE name CURSOR FOR.
func unwrap(tokens []token) []token {
	if len(tokens) == 0 {
		return nil
	}
	until := map[string]string{"PREPARE": "AS", "DECLARE": "FOR"}[strings.ToUpper(tokens[0].text)]
	if until == "" {
		return tokens
	}
	for i, t := range tokens {
		if strings.EqualFold(t.text, until) {
			return tokens[i+1:]
		}
	}
	return nil
}

func join(tokens []token) string {
	var text strings.Builder
	for i, t := range tokens {
		if t.apart && i > 0 && t.text != ")" && t.text != "," {
			text.WriteByte(' ')
		}
		text.WriteString(t.text)
	}
	return text.String()
}

// constant is a quoted one, also one that is cut off at the end of the text, or a number. Parameters are matched to be kept.
var constant = regexp.MustCompile(`\$[0-9]+|'(?:[^']|'')*(?:'|$)|\$(?:[A-Za-z_]\w*)?\$[\s\S]*|\b[0-9][\w.]*`)

// conceal takes the constants out of a text that cannot be parsed: they may be anybody's data, and it goes into reports. What
// is left is still a statement to a server whose grammar is newer than the parser's.
func conceal(text string) string {
	return constant.ReplaceAllStringFunc(text, func(c string) string {
		switch {
		case c[0] == '\'', c[0] == '$' && (len(c) < 2 || c[1] < '0' || c[1] > '9'):
			return "''"
		case c[0] == '$':
			return c
		}
		return "0"
	})
}

func first(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// typed are the names of types that a constant may follow (interval '1 day') and a parameter may not.
var typed = regexp.MustCompile(`(?i)\b(interval|date|timestamptz|timestamp|timetz|time|jsonb|json|uuid|inet|cidr|bytea|numeric|decimal|bool|boolean|text|` +
	`smallint|int|integer|bigint|int2|int4|int8|real|float4|float8|double precision|point|box|regclass|money|varchar|char)` +
	`((?: ?\( ?[0-9]+ ?\))?(?: with(?:out)? time zone)?) (\$[0-9]+)`)

// extracted is the field in extract(field FROM …), which the grammar takes as a constant only.
var extracted = regexp.MustCompile(`(?i)\bextract\( ?(\$[0-9]+) from\b`)

var parameter = regexp.MustCompile(`\$[0-9]+`)

// Preparable is the statement in a form that PREPARE and EXPLAIN accept where it has a parameter in the place of a constant
// that the grammar wants to see: interval $1 becomes $1::interval, which has the same type; the field of extract is taken
// to be epoch, for its type does not depend on the field. The parameters are numbered anew.
func (s Statement) Preparable() string {
	sql := replace(s.SQL, typed, func(m []string) string { return m[3] + "::" + m[1] + m[2] })
	sql = replace(sql, extracted, func(m []string) string { return strings.Replace(m[0], m[1], "epoch", 1) })
	if sql == s.SQL {
		return sql
	}
	numbers := map[string]string{}
	return replace(sql, parameter, func(m []string) string {
		if numbers[m[0]] == "" {
			numbers[m[0]] = "$" + strconv.Itoa(len(numbers)+1)
		}
		return numbers[m[0]]
	})
}

// quoted is a name in quotes or a constant.
var quoted = regexp.MustCompile(`"(?:[^"]|"")*"|'(?:[^']|'')*'`)

// replace replaces the matches outside quotes.
func replace(text string, pattern *regexp.Regexp, with func(match []string) string) string {
	plain := quoted.ReplaceAllStringFunc(text, func(q string) string { return strings.Repeat("\x00", len(q)) })
	var out strings.Builder
	end := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(plain, -1) {
		match := make([]string, len(at)/2)
		for i := range match {
			if at[2*i] >= 0 {
				match[i] = text[at[2*i]:at[2*i+1]]
			}
		}
		out.WriteString(text[end:at[0]])
		out.WriteString(with(match))
		end = at[1]
	}
	out.WriteString(text[end:])
	return out.String()
}
