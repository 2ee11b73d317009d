package pgtest

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Major is the major version of a database's server: 13, 14 …
func Major(t testing.TB, address string) int {
	t.Helper()
	number, err := strconv.Atoi(Value(t, address, "SELECT current_setting('server_version_num')"))
	require.NoError(t, err)
	return number / 10000
}

// exhaustiveVariable asks tests for all that they can try, which takes an hour, instead of what matters most.
const exhaustiveVariable = "PIPELINE_TEST_EXHAUSTIVE"

// Exhaustive says whether tests shall try everything.
func Exhaustive() bool { return os.Getenv(exhaustiveVariable) != "" }
