package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func rehearsedOn(t *testing.T, r *rehearsal.Report, columns int, colour bool) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, WriteMigrations(&b, r, columns, colour))
	return b.String()
}

func TestTheRehearsalOfMigrations(t *testing.T) {
	golden(t, "rehearsal-refused-80.txt", rehearsedOn(t, refusedRehearsal(), 80, false))
	golden(t, "rehearsal-refused-120.txt", rehearsedOn(t, refusedRehearsal(), 120, false))
	golden(t, "rehearsal-proven-80.txt", rehearsedOn(t, provenRehearsal(), 80, false))
	golden(t, "rehearsal-proven-120.txt", rehearsedOn(t, provenRehearsal(), 120, false))
	golden(t, "rehearsal-refused.ansi", strings.ReplaceAll(rehearsedOn(t, refusedRehearsal(), 120, true), "\x1b", "␛"))
}
