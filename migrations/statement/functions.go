package statement

import (
	_ "embed"
	"strings"
	"sync"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Volatility says how a function's answer may change (PostgreSQL 38.7, "Function Volatility Categories").
type Volatility byte

// The volatilities, as pg_proc.provolatile has them; Unknown is a function that is not PostgreSQL's own.
const (
	Immutable Volatility = 'i'
	Stable    Volatility = 's'
	Volatile  Volatility = 'v'
	Unknown   Volatility = '?'
)

// builtin are the functions in pg_catalog of PostgreSQL 15 and what later versions added, by volatility; the most volatile
// where several functions have the name. A test compares them with a server.
//
//go:embed functions.txt
var builtin string

var volatilities = sync.OnceValue(func() map[string]Volatility {
	known := map[string]Volatility{}
	for line := range strings.Lines(builtin) {
		names := strings.Fields(line)
		for _, name := range names[1:] {
			known[name] = max(known[name], Volatility(names[0][0]), 0)
		}
	}
	return known
})

// VolatilityOf is the volatility of a function by its name.
func VolatilityOf(n Name) Volatility {
	if n.Schema == "" || n.Schema == "pg_catalog" {
		if v, ok := volatilities()[n.Name]; ok {
			return v
		}
	}
	return Unknown
}

// Calls are the functions that a part of a syntax tree calls.
func Calls(root proto.Message) []Name {
	var list []Name
	Walk(root, func(m proto.Message) bool {
		if f, ok := m.(*pg.FuncCall); ok {
			list = append(list, listed(f.GetFuncname()))
		}
		return true
	})
	return list
}
