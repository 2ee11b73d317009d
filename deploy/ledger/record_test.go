package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordHasOneForm(t *testing.T) {
	text := `{"index":3,"at":"2026-11-25T12:00:00.123456Z","kind":"approval","actor":"Zoë <zoe@example.com>","facts":{"a":"1","b":"\"2\""}}`
	r, err := ParseRecord([]byte(text))
	require.NoError(t, err)
	again, err := r.encode()
	require.NoError(t, err)
	assert.Equal(t, text, string(again))
	for name, other := range map[string]string{
		"a space":            `{"index":3, "at":"2026-11-25T12:00:00Z","kind":"approval"}`,
		"another order":      `{"at":"2026-11-25T12:00:00Z","index":3,"kind":"approval"}`,
		"a key twice":        `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"approval","kind":"approval"}`,
		"a key more":         `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"approval","x":1}`,
		"another zone":       `{"index":3,"at":"2026-11-25T13:00:00+01:00","kind":"approval"}`,
		"more than micro":    `{"index":3,"at":"2026-11-25T12:00:00.1234567Z","kind":"approval"}`,
		"an escape":          `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"\u0061pproval"}`,
		"an empty value":     `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"approval","actor":""}`,
		"facts out of order": `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"approval","facts":{"b":"","a":""}}`,
		"something after it": `{"index":3,"at":"2026-11-25T12:00:00Z","kind":"approval"}{}`,
		"no record":          `null`,
	} {
		_, err := ParseRecord([]byte(other))
		assert.Error(t, err, name)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"index":3,"at":"2026-11-25T12:00:00.123456Z","kind":"approval","facts":{"a":"1"}}`))
	f.Add([]byte(`{"index":0,"at":"0001-01-01T00:00:00Z","kind":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRecord(text)
		if err != nil {
			return
		}
		again, err := r.encode()
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
		require.Equal(t, time.UTC, r.At.Location())
	})
}
