package statement

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAParserThatEndedAbnormallyIsNotUsedAgain(t *testing.T) {
	defer func() { grammar.broken = false }()
	_, err := alone(func() (string, error) { panic("stack overflow") })
	require.ErrorIs(t, err, ErrBroken)
	_, err = Parse("SELECT 1")
	require.ErrorIs(t, err, ErrBroken)
	require.ErrorIs(t, err, ErrNotUnderstood)
	s := File([]string{"SELECT 1"})[0]
	assert.Equal(t, Contract, s.Class())
	assert.ErrorIs(t, s.Err(), ErrBroken)
}
