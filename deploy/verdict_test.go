package deploy

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/history"
)

type losses struct {
	list []Loss
	err  error
}

func (l losses) Losses(context.Context, string, string) ([]Loss, error) { return l.list, l.err }

func TestAVerdictSaysWhatARollbackWouldDo(t *testing.T) {
	tests := map[string]struct {
		database bool
		allows   error
		losses   Losses
		text     string
		refused  bool
		accepted bool // with AcceptLoss
	}{
		"no database":               {text: "going back from v2 to v1 is SAFE: the application has no database"},
		"the schema fits":           {database: true, text: "going back from v2 to v1 is SAFE: v1 works on the schema as it is"},
		"nothing would be lost":     {database: true, losses: losses{list: []Loss{{"rows", 0}}}, text: "going back from v2 to v1 is SAFE: v1 works on the schema as it is"},
		"rows would be lost":        {database: true, losses: losses{list: []Loss{{"rows of orders with kind 'gift'", 12}, {"rows", 0}}}, text: "going back from v2 to v1 is SAFE-WITH-LOSS: v1 works on the schema as it is; v1 does not understand 12 rows of orders with kind 'gift'", refused: true, accepted: true},
		"rows could not be counted": {database: true, losses: losses{err: errors.New("timeout")}, text: "going back from v2 to v1 is SAFE-WITH-LOSS: v1 works on the schema as it is; what would be lost could not be counted: timeout", refused: true, accepted: true},
		"the schema excludes it":    {database: true, allows: fmt.Errorf("migration 3 drops a.b: %w", history.ErrBelowFloor), text: "going back from v2 to v1 is UNSAFE: migration 3 drops a.b: the release is below the schema's floor; repair it with a newer release instead", refused: true},
		"the database is away":      {database: true, allows: errors.New("connection refused"), text: "going back from v2 to v1 is UNSAFE: connection refused; make the database answer, then ask again", refused: true},
	}
	for name, test := range tests {
		for _, warm := range []bool{true, false} {
			for _, accept := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, warm %v, loss accepted %v", name, warm, accept), func(t *testing.T) {
					s := opened(t, BlueGreen)
					d := s.now(t.Context(), t, "d1")
					d.Losses, d.AcceptLoss = test.losses, accept
					if !test.database {
						d.Database = nil
					}
					var told []Verdict
					d.Progress = func(e Event) {
						if e.Kind == VerdictEvent {
							told = append(told, *e.Verdict)
						}
					}
					require.NoError(t, d.Run(t.Context(), s.release("v2")))
					require.Len(t, told, 1, "at deploy time")
					if !warm {
						require.NoError(t, d.Retire(t.Context()))
						next := s.command("d2")
						next.Adopt(d.Serving())
						next.Losses, next.AcceptLoss, next.Database, next.Progress = d.Losses, d.AcceptLoss, d.Database, d.Progress
						d = next
					}
					if test.allows != nil {
						s.fails["allow v1"] = test.allows
					}
					did := len(s.did)
					err := d.RollBack(t.Context())
					require.Len(t, told, 2, "and again before it is done")
					assert.Equal(t, test.text, told[1].String())
					if test.refused && !(accept && test.accepted) {
						var refused *VerdictError
						require.ErrorAs(t, err, &refused)
						assert.Equal(t, test.text, refused.Verdict.String())
						assert.Len(t, s.did, did, "it did something")
						if test.allows != nil {
							assert.ErrorIs(t, err, test.allows)
						}
						return
					}
					require.NoError(t, err)
					require.NoError(t, d.Retire(t.Context()))
					assert.Empty(t, s.whole(d.Serving(), false))
					assert.Equal(t, "v1", d.Serving().Release.Version)
				})
			}
		}
	}
}

func TestABadReleaseStaysWhereTheSchemaExcludesTheOneBefore(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["bake"], s.fails["allow v1"] = errTold, history.ErrBelowFloor
	d := s.now(t.Context(), t, "d1")
	require.ErrorIs(t, d.Run(t.Context(), s.release("v2")), errTold)
	assert.Empty(t, s.whole(d.Serving(), false))
	last := s.entries[len(s.entries)-1]
	assert.Equal(t, Failed, last.State)
	assert.Equal(t, "v2", last.Release)
	assert.Contains(t, last.Detail, "UNSAFE")
	assert.Contains(t, last.Detail, "repair it with a newer release")

	next := s.command("")
	require.NoError(t, next.Resume(t.Context(), s.of("d1")))
	forward := s.command("d2")
	forward.Adopt(next.Serving())
	delete(s.fails, "bake")
	require.NoError(t, forward.Run(t.Context(), s.release("v3")))
	require.NoError(t, forward.Retire(t.Context()))
	assert.Empty(t, s.whole(forward.Serving(), false))
}

func TestNothingIsStoppedWhereNeitherReleaseCanServe(t *testing.T) {
	s := stopped(t, BlueGreen, "bake")
	green := s.hosts[0].slots[Green]
	delete(s.hosts[0].slots, Green)
	s.fails["allow v1"] = history.ErrBelowFloor
	did := len(s.did)
	require.ErrorContains(t, s.command("").Resume(t.Context(), s.of("d1")), "v2 in green is gone, and going back from v2 to v1 is UNSAFE")
	assert.Len(t, s.did, did)

	s.hosts[0].slots[Green], s.wrong = green, nil // its supervisor did
	d := s.command("")
	require.NoError(t, d.Resume(t.Context(), s.of("d1")))
	assert.Empty(t, s.whole(d.Serving(), false))
}

func TestADatabaseThatIsAwayKeepsNobodyOnABadRelease(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["bake"], s.fails["allow v1"] = errTold, errors.New("connection refused")
	d := s.now(t.Context(), t, "d1")
	var told []string
	d.Progress = func(e Event) {
		if e.Kind == VerdictEvent {
			told = append(told, string(e.Verdict.Safety)+" "+string(s.entries[len(s.entries)-1].State))
		}
	}
	require.ErrorIs(t, d.Run(t.Context(), s.release("v2")), errTold)
	assert.Equal(t, []string{"UNSAFE shifting", "UNSAFE rolled back"}, told)
	assert.Equal(t, "v1", d.Serving().Release.Version)
	assert.Empty(t, s.whole(d.Serving(), false))
}

func TestARecreationIsRolledBackBeforeItIsRetired(t *testing.T) {
	s := opened(t, Recreate)
	d := s.now(t.Context(), t, "d1")
	require.NoError(t, d.Run(t.Context(), s.release("v2")))
	require.NoError(t, d.RollBack(t.Context()))
	assert.Empty(t, s.whole(d.Serving(), false))
	assert.Equal(t, "v1", d.Serving().Release.Version)
	assert.Equal(t, RolledBack, s.entries[len(s.entries)-1].State)
}
