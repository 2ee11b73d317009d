package ledger

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestStateOfADeploymentIsKeptForTheNextLease(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	state, err := lease.Load(background, "d1")
	require.NoError(t, err)
	assert.Nil(t, state)
	for _, saved := range [][]byte{[]byte(`{"cursors": {"blue": "\u0000"}}`), {0, 0xff}, {}} {
		require.NoError(t, lease.Save(background, "d1", saved))
		state, err = lease.Load(background, "d1")
		require.NoError(t, err)
		assert.Equal(t, saved, state)
	}
	require.NoError(t, lease.Save(background, "d1", []byte("half the way")))
	require.NoError(t, lease.Release(background))
	next := acquire(t, l, "production")
	state, err = next.Load(background, "d1")
	require.NoError(t, err)
	assert.Equal(t, "half the way", string(state))

	elsewhere := acquire(t, l, "staging")
	require.ErrorIs(t, elsewhere.Save(background, "d1", nil), ErrUnknownDeployment)
	_, err = elsewhere.Load(background, "d1")
	require.ErrorIs(t, err, ErrUnknownDeployment)
}

func TestStateIsFenced(t *testing.T) {
	l, address := fresh(t)
	old := acquire(t, l, "production")
	started(t, l, old, "d1", "v1")
	require.NoError(t, l.Break(background, "production", old.Token, "bob", "the runner is gone"))
	require.ErrorIs(t, old.Save(background, "d1", []byte("old")), ErrLost, "broken")
	next := acquire(t, l, "production")
	require.NoError(t, next.Save(background, "d1", []byte("new")))
	require.ErrorIs(t, old.Save(background, "d1", []byte("old")), ErrLost, "given away")
	_, err := old.Load(background, "d1")
	require.ErrorIs(t, err, ErrLost)

	// Somebody clears the locks by hand: tokens begin anew.
	pgtest.Exec(t, address, "DELETE FROM pipeline.locks")
	again := acquire(t, l, "production")
	require.Less(t, again.Token, next.Token)
	err = again.Save(background, "d1", []byte("old"))
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, "a greater token")
	assert.Equal(t, "new", pgtest.Value(t, address, "SELECT convert_from(state, 'UTF8') FROM pipeline.deployment_states"))
}

func TestLedgerOfTheFirstVersionIsUpdated(t *testing.T) {
	l, address := fresh(t)
	lease := acquire(t, l, "production")
	deployed(t, l, lease, "d1", Deploy, "", "v1", "done")
	deployed(t, l, lease, "d2", Deploy, "v1", "v2", "rolled back")
	pgtest.Exec(t, address, `DROP TABLE pipeline.deployment_states; ALTER TABLE pipeline.verdicts DROP COLUMN lost, DROP COLUMN way;
		UPDATE pipeline.deployments SET serves = '' WHERE id = 'd2'; DELETE FROM pipeline.ledger_schema WHERE version = 2`)
	again := open(t, address, quick)
	s, err := again.Status(background, "production")
	require.NoError(t, err)
	assert.Equal(t, "d2", s.Serving.ID)
	assert.Equal(t, "v1", s.Serving.Serves)
	assert.Equal(t, "2", pgtest.Value(t, address, "SELECT count(*) FROM pipeline.ledger_schema"))
	sound(t, again, 6)
}
