package plans

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	parser "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/statement"
)

// read is the part of a statement that finds rows.
type read struct {
	statement  *statement.Statement
	parameters map[int]bool // those it uses, by the numbers of the whole
}

// reading is how a statement finds its rows: of an UPDATE or DELETE the rows that it is about, of a SELECT that locks them the
// rows without the locks. So it can be executed without a trace: rows that are changed and rolled back stay in their tables
// until VACUUM, and what is counted next would go through them. The second result is why there is none.
//
// The text is cut at its key words; the library's way from a tree back to a text overwrites the parser's memory where
// expressions nest a hundred levels. A wrong cut is at worst another query, executed where nothing can be written.
func reading(sql string) (read, string) {
	parsed, err := statement.Parse(sql)
	if err != nil {
		return read{}, "it cannot be parsed"
	}
	const inseparable = "what it reads cannot be told apart from what it changes"
	t, err := scan(sql)
	if err != nil {
		return read{}, inseparable
	}
	switch n := parsed.Tree().GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		if len(n.SelectStmt.GetLockingClause()) > 0 {
			sql = t.unlocked()
		}
	case *pg_query.Node_UpdateStmt:
		sql = t.updated()
	case *pg_query.Node_DeleteStmt:
		sql = t.deleted()
	default:
		return read{}, parsed.Kind() + " is not executed"
	}
	r := read{parameters: map[int]bool{}}
	if r.statement, err = statement.Parse(sql); err != nil {
		return read{}, inseparable
	}
	if len(r.statement.Writes()) > 0 {
		return read{}, "it changes rows within WITH"
	}
	statement.Walk(r.statement.Tree(), func(m proto.Message) bool {
		if p, is := m.(*pg_query.ParamRef); is {
			r.parameters[int(p.GetNumber())] = true
		}
		return true
	})
	return r, ""
}

// text is a statement and its words outside parentheses.
type text struct {
	sql   string
	words []word
}

// word is a token in capitals, with its place.
type word struct {
	text       string
	start, end int
}

func scan(sql string) (text, error) {
	result, err := parser.Scan(sql)
	if err != nil {
		return text{}, err
	}
	t := text{sql: sql}
	depth := 0
	for _, token := range result.GetTokens() {
		w := word{strings.ToUpper(sql[token.GetStart():token.GetEnd()]), int(token.GetStart()), int(token.GetEnd())}
		switch w.text {
		case "(":
			depth++
		case ")":
			depth--
		default:
			if depth == 0 {
				t.words = append(t.words, w)
			}
		}
	}
	return t, nil
}

// next is the place among the words of the first of the texts after one; the end where there is none.
func (t text) next(after int, texts ...string) int {
	for i := after + 1; i < len(t.words); i++ {
		from := t.words[i].text == "FROM" && t.words[i-1].text == "DISTINCT" // IS DISTINCT FROM
		if slices.Contains(texts, t.words[i].text) && !from {
			return i
		}
	}
	return len(t.words)
}

// between is the text after one word and before another.
func (t text) between(after, before int) string {
	start, end := 0, len(t.sql)
	if after >= 0 && after < len(t.words) {
		start = t.words[after].end
	}
	if before < len(t.words) {
		end = t.words[before].start
	}
	return t.sql[min(start, end):end]
}

// updated is the query for the rows of WITH … UPDATE table SET … FROM others WHERE … RETURNING ….
func (t text) updated() string {
	update := t.next(-1, "UPDATE")
	set := t.next(update, "SET")
	from := t.next(set, "FROM", "WHERE", "RETURNING")
	where, others := from, ""
	if from < len(t.words) && t.words[from].text == "FROM" {
		where = t.next(from, "WHERE", "RETURNING")
		others = "," + t.between(from, where)
	}
	return t.between(-1, update) + "SELECT 1 FROM" + t.between(update, set) + others + t.condition(where)
}

// deleted is the query for the rows of WITH … DELETE FROM table USING others WHERE … RETURNING ….
func (t text) deleted() string {
	remove := t.next(-1, "DELETE")
	using := t.next(remove, "USING", "WHERE", "RETURNING")
	where, others := using, ""
	if using < len(t.words) && t.words[using].text == "USING" {
		where = t.next(using, "WHERE", "RETURNING")
		others = "," + t.between(using, where)
	}
	return t.between(-1, remove) + "SELECT 1 FROM" + t.between(remove+1, using) + others + t.condition(where)
}

// condition is WHERE …, if that is at a place.
func (t text) condition(where int) string {
	if where >= len(t.words) || t.words[where].text != "WHERE" {
		return ""
	}
	return " WHERE" + t.between(where, t.next(where, "RETURNING"))
}

// unlocked is a query without FOR UPDATE and the like.
func (t text) unlocked() string {
	var sql strings.Builder
	from := -1 // what is kept begins after it
	for {
		lock := t.next(from, "FOR")
		sql.WriteString(t.between(from, lock))
		if lock >= len(t.words) {
			return sql.String()
		}
		end := t.next(lock, "FOR", "LIMIT", "OFFSET", "FETCH")
		if end >= len(t.words) {
			return sql.String()
		}
		from = end - 1
	}
}
