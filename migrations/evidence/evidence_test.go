package evidence

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
)

func TestStrongestLockIsKeptInWhateverOrderTheyAreListed(t *testing.T) {
	was := moment{relations: map[string]relation{"1": {name: "public.t"}}}
	row := func(mode string) [][]byte { return [][]byte{[]byte("1"), []byte(mode)} }
	for i, strong := range strength {
		for _, weak := range strength[:i+1] {
			for _, rows := range [][][][]byte{{row(weak), row(strong)}, {row(strong), row(weak)}} {
				assert.Equal(t, []Lock{{"public.t", strong}}, strongest(was, &pgconn.Result{Rows: rows}))
			}
		}
	}
}

func TestRewriteOfLargeValuesAloneIsARewriteOfTheirTable(t *testing.T) {
	was := moment{relations: map[string]relation{
		"1": {name: "public.same", table: true, file: "10", toast: "11"},
		"2": {name: "public.large", table: true, file: "20", toast: "21"},
		"3": {name: "public.first", table: true, file: "30", toast: "0"},
		"4": {name: "public.sequence", file: "40", toast: "0"},
		"5": {name: "public.gone", table: true, file: "50", toast: "0"},
	}}
	is := moment{relations: map[string]relation{
		"1": {file: "10", toast: "11"}, "2": {file: "20", toast: "22"}, "3": {file: "30", toast: "31"}, "4": {file: "41", toast: "0"},
		"6": {name: "public.new", table: true, file: "60"},
	}}
	assert.Equal(t, []string{"public.large"}, rewrites(was, is))
}
