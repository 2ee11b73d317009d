package statement

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/proto"
)

// ErrNotUnderstood is a statement that the grammar does not know: it is wrong, or newer than the grammar (PostgreSQL 17).
// It says nothing about whether the server understands it.
var ErrNotUnderstood = errors.New("statement not understood")

// ErrBroken is a parser that ended abnormally: this process cannot parse any more. It is ErrNotUnderstood too.
var ErrBroken = fmt.Errorf("%w: the parser ended abnormally", ErrNotUnderstood)

const (
	// maxLength bounds a statement's text in bytes: a syntax tree takes a hundred times as much.
	maxLength = 8 << 20
	// maxNesting bounds how deep expressions nest. The parser's stack overflows between 1000 and 4000 levels, by their
	// kind, and leaves it unusable, where PostgreSQL's max_stack_depth reports an error.
	maxNesting = 500
	// maxWritten bounds how many messages of a tree that is written as SQL nest. The code that does it has large frames on a
	// small stack without a guard: from 40 levels of subqueries (240 messages) on it overwrites what the parser keeps.
	maxWritten = 80
)

// grammar is PostgreSQL's own parser, compiled to WebAssembly. One instance takes a second and 200 MB to start and is
// started by the first use. The library starts another one for every call that runs at the same time as others; hence one
// call at a time.
var grammar struct {
	sync.Mutex
	broken bool
}

// Warm starts the parser, which takes a second or more; the first Parse does it otherwise. It is meant to be called in a
// goroutine as soon as it is known that statements will be parsed.
func Warm() { _, _ = parse("SELECT 1") }

// guarded calls the parser.
func guarded[T any](sql string, call func(string) (T, error)) (result T, err error) {
	if err := refused(sql); err != nil {
		return result, err
	}
	result, err = alone(func() (T, error) {
		if len(sql) > 2*maxNesting { // a level takes two bytes at least
			if err := nesting(sql); err != nil {
				return result, err
			}
		}
		return call(sql)
	})
	return result, misunderstood(sql, err)
}

// alone makes one call to the parser at a time.
func alone[T any](call func() (T, error)) (result T, err error) {
	grammar.Lock()
	defer grammar.Unlock()
	if grammar.broken {
		return result, fmt.Errorf("%w on an earlier statement", ErrBroken)
	}
	defer func() {
		if reason := recover(); reason != nil {
			grammar.broken = true // its memory is in an unknown state, and what it answered from now on would be too
			err = fmt.Errorf("%w: %v", ErrBroken, reason)
		}
	}()
	return call()
}

// refused says why a text is not given to the parser.
func refused(sql string) error {
	switch {
	case len(sql) > maxLength:
		return fmt.Errorf("%w: it is longer than %d MiB", ErrNotUnderstood, maxLength>>20)
	case strings.IndexByte(sql, 0) >= 0:
		return fmt.Errorf("%w: it holds a NUL byte", ErrNotUnderstood)
	case !utf8.ValidString(sql):
		return fmt.Errorf("%w: it is not UTF-8", ErrNotUnderstood)
	}
	return nil
}

// nesting refuses a text that may nest too deep. A comma, AND, OR and the words of clauses end what can nest to the left of
// them (the grammar keeps chains of AND and OR flat). Chains of set operations and joins nest whatever stands between, and
// so does the AND of BETWEEN.
func nesting(sql string) error {
	scanned, err := pgquery.Scan(sql)
	if err != nil {
		return err
	}
	type level struct{ expression, chain int }
	levels, depth := []level{{}}, 0
	for _, token := range scanned.GetTokens() {
		top := &levels[len(levels)-1]
		switch token.GetToken() {
		case pg.Token_SQL_COMMENT, pg.Token_C_COMMENT, pg.Token_IDENT, pg.Token_SCONST, pg.Token_ICONST, pg.Token_FCONST:
			continue
		case pg.Token_ASCII_40, pg.Token_ASCII_91, pg.Token_CASE: // ( [
			levels = append(levels, level{})
			depth++
		case pg.Token_ASCII_41, pg.Token_ASCII_93, pg.Token_END_P: // ) ]
			if len(levels) > 1 {
				depth -= 1 + top.expression + top.chain
				levels = levels[:len(levels)-1]
			}
		case pg.Token_ASCII_44, pg.Token_AND, pg.Token_OR, pg.Token_ON, pg.Token_WHERE: // ,
			depth -= top.expression
			top.expression = 0
		case pg.Token_ASCII_59: // ;
			levels, depth = []level{{}}, 0
		case pg.Token_UNION, pg.Token_EXCEPT, pg.Token_INTERSECT, pg.Token_JOIN, pg.Token_BETWEEN:
			top.chain++
			depth++
		default:
			top.expression++
			depth++
		}
		if depth > maxNesting {
			return fmt.Errorf("%w: it nests deeper than %d levels", ErrNotUnderstood, maxNesting)
		}
	}
	return nil
}

// misunderstood is the parser's error with its place in the text.
func misunderstood(sql string, err error) error {
	var said *parser.Error
	switch {
	case err == nil || errors.Is(err, ErrNotUnderstood):
		return err
	case !errors.As(err, &said):
		return fmt.Errorf("%w: %w", ErrNotUnderstood, err)
	}
	return &SyntaxError{Message: said.Message, Offset: byteOffset(sql, said.Cursorpos-1)}
}

// SyntaxError is what PostgreSQL's grammar says of a text that it does not know. It is ErrNotUnderstood.
type SyntaxError struct {
	Message string // PostgreSQL's
	Offset  int    // in bytes, where PostgreSQL stopped
}

// Error is PostgreSQL's message.
func (e *SyntaxError) Error() string { return ErrNotUnderstood.Error() + ": " + e.Message }

// Is makes it ErrNotUnderstood.
func (e *SyntaxError) Is(target error) bool { return target == ErrNotUnderstood }

// byteOffset is where a character of a text begins.
func byteOffset(text string, characters int) int {
	for at := range text {
		if characters--; characters < 0 {
			return at
		}
	}
	return len(text)
}

func parse(sql string) (*pg.ParseResult, error) { return guarded(sql, pgquery.Parse) }

// Deparse is the SQL of a syntax tree that does not nest deep, as definitions do not.
func Deparse(tree *pg.Node) (string, error) {
	if deeper(tree, maxWritten) {
		return "", fmt.Errorf("write statement: its tree is more than %d levels deep", maxWritten)
	}
	text, err := alone(func() (string, error) {
		return pgquery.Deparse(&pg.ParseResult{Stmts: []*pg.RawStmt{{Stmt: tree}}})
	})
	if err != nil {
		return "", fmt.Errorf("write statement: %w", err)
	}
	return text, nil
}

// deeper says whether messages nest deeper than so many levels.
func deeper(root proto.Message, levels int) bool {
	found := levels < 0
	if !found {
		children(root, func(m proto.Message) { found = found || deeper(m, levels-1) })
	}
	return found
}

// Expression is the SQL of an expression; "…" of one that nests deep.
func Expression(n *pg.Node) string {
	target := &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: n}}}
	text, err := Deparse(&pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{
		TargetList: []*pg.Node{target}, LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE,
	}}})
	if err != nil {
		return "…"
	}
	return strings.TrimPrefix(text, "SELECT ")
}

// fingerprint is equal for statements that differ in constants only (github.com/pganalyze/libpg_query/wiki/Fingerprinting).
func fingerprint(sql string) string {
	text, _ := guarded(sql, pgquery.Fingerprint) // it was parsed before
	return text
}
