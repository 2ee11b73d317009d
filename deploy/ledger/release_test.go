package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func TestReleasesAreRebuilt(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	deployed(t, l, lease, "d1", Deploy, "", "v1", deploy.Done)
	deployed(t, l, lease, "d2", Deploy, "v1", "v2", deploy.Done)
	releases := l.Releases("production", rebuilt)
	good, err := releases.LastGood(background)
	require.NoError(t, err)
	assert.Equal(t, deploy.Release{Version: "v1", Source: "sha256:v1"}, good)
	v2, err := releases.Release(background, "v2")
	require.NoError(t, err)
	assert.Equal(t, "sha256:v2", v2.Source)
	_, err = releases.Release(background, "v9")
	require.ErrorIs(t, err, ErrUnknownRelease)
	_, err = l.Releases("staging", rebuilt).LastGood(background)
	require.ErrorIs(t, err, ErrNothingGood)

	gone := errors.New("the image is gone")
	_, err = l.Releases("production", func(context.Context, Release) (deploy.Release, error) { return deploy.Release{}, gone }).LastGood(background)
	require.ErrorIs(t, err, gone)
	_, err = l.Releases("production", func(context.Context, Release) (deploy.Release, error) { return v2, nil }).LastGood(background)
	require.ErrorContains(t, err, `rebuild release v1: it became "v2"`)
}

func TestVerdictIsRememberedWhole(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	deployed(t, l, lease, "d1", Deploy, "", "v1", deploy.Done)
	deployed(t, l, lease, "d2", Deploy, "v1", "v2", deploy.Done)
	verdict := deploy.Verdict{From: "v2", To: "v1", Safety: deploy.SafeWithLoss, Reasons: []string{"3 \x00rows"},
		Lost: []deploy.Loss{{What: "rows of orders with kind = 'x' < 1", Rows: 3}}, Way: "mend it", At: noon}
	releases := l.Releases("production", rebuilt)
	require.NoError(t, releases.Judged(background, deploy.Verdict{From: "v2", To: "v1", Safety: deploy.Safe}))
	require.NoError(t, releases.Judged(background, verdict))
	good, err := l.LastGood(background, "production")
	require.NoError(t, err)
	assert.Equal(t, deploy.SafeWithLoss, good.Verdict.Safety)
	assert.Equal(t, []string{"3 \uFFFDrows"}, good.Verdict.Reasons)
	assert.Equal(t, verdict.Lost, good.Verdict.Lost)
	assert.Equal(t, "mend it", good.Verdict.Way)
	sound(t, l, 8)
}
