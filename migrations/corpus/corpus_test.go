package corpus

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMergeAddsUp(t *testing.T) {
	traffic := []Statement{{"SELECT a", 5, 50, "traffic"}, {"SELECT b", 9, 9, "traffic"}}
	tests := []Statement{{"SELECT c", 9, 1, "tests"}, {"SELECT a", 6, 1, "tests"}}
	want := []Statement{{"SELECT a", 11, 51, "tests, traffic"}, {"SELECT b", 9, 9, "traffic"}, {"SELECT c", 9, 1, "tests"}}
	assert.Equal(t, want, Merge(traffic, tests))
	assert.Equal(t, want, Merge(tests, traffic), "in any order")
	assert.Equal(t, want, Merge(want), "and once more")
	assert.Equal(t, []Statement{}, Merge(), "an array in JSON, not null")
}

func TestFileIsReadAsItWasWritten(t *testing.T) {
	statements := []Statement{{"SELECT a FROM t WHERE b <> $1", 5, 50, "traffic"}, {Hidden, 2, 0, "traffic"}}
	var file bytes.Buffer
	require.NoError(t, Encode(&file, statements))
	assert.Contains(t, file.String(), "b <> $1", "for people, too")
	read, err := Decode(&file)
	require.NoError(t, err)
	assert.Equal(t, statements, read)
}

func TestFileMadeByHandIsTidied(t *testing.T) {
	read, err := Decode(strings.NewReader(`[{"sql": "SELECT a FROM t WHERE b = 'secret';"}, {"sql": "BEGIN"}, {"sql": "SELECT a FROM t WHERE b = 'other'", "calls": 3}]`))
	require.NoError(t, err)
	assert.Equal(t, []Statement{{SQL: "SELECT a FROM t WHERE b = $1", Calls: 3}}, read)
}

func TestFileThatIsNoneIsRefused(t *testing.T) {
	tests := []struct{ name, file, says string }{
		{"no JSON", "SELECT 1", "JSON array"},
		{"another form", `{"statements": []}`, "JSON array"},
		{"an unknown key", `[{"query": "SELECT 1"}]`, "query"},
		{"no SQL", `[{"sql": "SELECT 1"}, {"calls": 1}]`, "number 2 has no sql"},
		{"calls below 0", `[{"sql": "SELECT 'secret'", "calls": -1}]`, "number 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(tt.file))
			require.ErrorContains(t, err, tt.says)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestStatementsOfMigrationsAreLeftOut(t *testing.T) {
	sent := []Statement{
		{SQL: "UPDATE users SET kind = $1 WHERE kind IS NULL", Calls: 1}, {SQL: "SELECT kind FROM users", Calls: 9}, {SQL: "SELECT ( broken", Calls: 2}, {SQL: Hidden, Calls: 1},
	}
	migrations := []string{"-- fill\nUPDATE users SET kind = 'plain' WHERE kind IS NULL", "ALTER TABLE users ADD kind text", "SELECT ( broken"}
	assert.Equal(t, sent[1:], Without(sent, migrations), "in any constants; what is not understood stays")
	assert.Equal(t, sent, Without(sent, nil))
	assert.Len(t, sent, 4)
}
