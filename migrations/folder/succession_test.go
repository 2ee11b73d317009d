package folder

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestReleaseFollowsTheRunningOne(t *testing.T) { // F
	running, err := Open(pgtest.Files("1_a.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 3"), Options{Dir: "m"})
	require.NoError(t, err)
	tests := []struct {
		name    string
		release []string
		want    []string
	}{
		{"with nothing new", []string{"1_a.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 3"}, nil},
		{"with one on top", []string{"1_a.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 3", "4_d.up.sql", "SELECT 4"}, nil},
		{"renamed", []string{"1_other.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 3"}, nil},
		{"with one accepted into one that is applied", []string{"1_a.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 3", "3_x.up.sql", "SELECT 4", "03_w.up.sql", "SELECT 5"}, nil},
		{"with one accepted, but not edited", []string{"1_a.up.sql", "SELECT 1", "3_c.up.sql", "SELECT 4", "3_x.up.sql", "SELECT 4", "03_w.up.sql", "SELECT 5"},
			[]string{"m/3_c.up.sql: the running release has applied it with other content, which will not change any more: undo the edit and write a new migration: applied migrations do not change"}},
		{"not with one in between", []string{"1_a.up.sql", "SELECT 1", "2_b.up.sql", "SELECT 2", "3_c.up.sql", "SELECT 3"},
			[]string{"m/2_b.up.sql: new, but its version 2 is below 3 of 3_c, which the running release has applied, so it would never run: generate it anew on top: applied migrations do not change"}},
		{"not edited and not removed", []string{"1_a.up.sql", "SELECT 2"},
			[]string{"m/1_a.up.sql: the running release has applied it with other content, which will not change any more: undo the edit and write a new migration: applied migrations do not change",
				"m/3_c.up.sql: the running release has applied it (version 3), and it is not here any more: applied migrations do not change"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var accept []Accept
			if strings.HasPrefix(tt.name, "with one accepted") {
				accept = []Accept{{"m/3_x.up.sql", "3_c"}, {"m/03_w.up.sql", ""}}
			}
			release, err := Open(pgtest.Files(tt.release...), Options{Dir: "m", Accept: accept})
			require.NoError(t, err)
			err = release.Follows(running)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrRewritten)
			assert.Equal(t, tt.want, strings.Split(err.Error(), "\n"))
		})
	}
}
