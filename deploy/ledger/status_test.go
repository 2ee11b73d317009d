package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// deployed runs a deployment to its end.
func deployed(t *testing.T, l *Ledger, lease *Lease, id string, kind Kind, from, to string, end deploy.State) {
	t.Helper()
	require.NoError(t, l.RecordRelease(background, Release{Version: to, Commit: "c" + to, Digests: map[string]string{"web": "sha256:" + to}, Committed: noon}))
	require.NoError(t, lease.Begin(background, Deployment{ID: id, Release: to, From: from, Kind: kind, By: "ann", Strategy: "canary", Plan: "p"}))
	release := to
	switch end {
	case deploy.Done:
	case stays:
		end = deploy.Failed
	default:
		release = from
	}
	write(t, lease, id, release, deploy.Planned, end)
}

// stays is an end that leaves the release serving, as nothing else can.
const stays deploy.State = "stays"

func TestLastGoodIsTheReleaseToGoBackTo(t *testing.T) {
	type step struct {
		kind     Kind
		from, to string
		end      deploy.State
	}
	up := func(from, to string) step { return step{Deploy, from, to, deploy.Done} }
	back := func(from, to string) step { return step{RollBack, from, to, deploy.Done} }
	cases := map[string]struct {
		steps []step
		want  string // nothing: none
	}{
		"nothing was ever deployed":                            {nil, ""},
		"the first release":                                    {[]step{up("", "v1")}, ""},
		"the release before":                                   {[]step{up("", "v1"), up("v1", "v2")}, "v1"},
		"not one that was rolled back by itself":               {[]step{up("", "v1"), up("v1", "v2"), {Deploy, "v2", "v3", deploy.RolledBack}}, "v1"},
		"not one that failed":                                  {[]step{up("", "v1"), up("v1", "v2"), {Deploy, "v2", "v3", deploy.Failed}}, "v1"},
		"not the one that was rolled back from":                {[]step{up("", "v1"), up("v1", "v2"), up("v2", "v3"), back("v3", "v2")}, "v1"},
		"nothing, when all else was rolled back":               {[]step{up("", "v1"), up("v1", "v2"), back("v2", "v1")}, ""},
		"one that was put right and came again":                {[]step{up("", "v1"), up("v1", "v2"), back("v2", "v1"), up("v1", "v2"), up("v2", "v3")}, "v2"},
		"past the same release deployed again":                 {[]step{up("", "v1"), up("v1", "v2"), up("v2", "v2")}, "v1"},
		"a rollback that failed leaves it as good":             {[]step{up("", "v1"), up("v1", "v2"), up("v2", "v3"), {RollBack, "v3", "v1", deploy.Failed}}, "v2"},
		"not one that served, came again and was rolled back":  {[]step{up("", "v1"), up("v1", "v2"), up("v2", "v3"), {Deploy, "v3", "v2", deploy.RolledBack}}, "v1"},
		"not one that served, came again and failed":           {[]step{up("", "v1"), up("v1", "v2"), up("v2", "v3"), {RollBack, "v3", "v2", deploy.Failed}}, "v1"},
		"the one before a bad one that must stay":              {[]step{up("", "v1"), up("v1", "v2"), {Deploy, "v2", "v3", stays}}, "v2"},
		"not a bad one that had to stay":                       {[]step{up("", "v1"), {Deploy, "v1", "v2", stays}, up("v2", "v3")}, "v1"},
		"not one that was left by a rollback that had to stay": {[]step{up("", "v0"), up("v0", "v1"), up("v1", "v2"), {RollBack, "v2", "v1", stays}}, "v0"},
		"one that a hotfix took the place of":                  {[]step{up("", "v1"), {Hotfix, "v1", "v2", deploy.Done}}, "v1"},
	}
	l, _ := fresh(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			lease := acquire(t, l, name)
			for i, s := range c.steps {
				deployed(t, l, lease, name+string(rune('a'+i)), s.kind, s.from, s.to, s.end)
			}
			good, err := l.LastGood(background, name)
			if c.want == "" {
				require.ErrorIs(t, err, ErrNothingGood)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, good.Release.Version)
			assert.Equal(t, map[string]string{"web": "sha256:" + c.want}, good.Release.Digests)
			assert.True(t, noon.Equal(good.Release.Committed))
			assert.True(t, good.Release.Built.IsZero())
		})
	}
}

func TestDeploymentThatIsDoneWithTheReleaseBeforeWasRolledBack(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	deployed(t, l, lease, "d1", Deploy, "", "v1", deploy.Done)
	started(t, l, lease, "d2", "v2")
	write(t, lease, "d2", "v2", deploy.Shifting)
	write(t, lease, "d2", "v1", deploy.RollingBack, deploy.Done)
	list, err := l.History(background, Filter{Limit: 1})
	require.NoError(t, err)
	assert.Equal(t, RolledBack, list[0].Outcome)
	s, err := l.Status(background, "production")
	require.NoError(t, err)
	assert.Equal(t, "v1", s.Serving.Serves)
	assert.Empty(t, s.InProgress)
}

func TestStatusAndHistory(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	deployed(t, l, lease, "d1", Deploy, "", "v1", deploy.Done)
	deployed(t, l, lease, "d2", Deploy, "v1", "v2", deploy.Done)
	deployed(t, l, lease, "d3", Deploy, "v2", "v3", deploy.RolledBack)
	deployed(t, l, acquire(t, l, "staging"), "s1", Deploy, "", "v3", deploy.Done)
	started(t, l, lease, "d4", "v4")
	write(t, lease, "d4", "v4", deploy.Planned, deploy.Shifting)
	require.NoError(t, lease.Bad(background, "d4", noon, noon.Add(time.Minute)))
	require.NoError(t, lease.Bad(background, "d4", noon.Add(time.Second), noon.Add(2*time.Second)))
	require.NoError(t, l.RecordVerdict(background, Verdict{Environment: "production", Verdict: deploy.Verdict{From: "v2", To: "v1", Safety: deploy.Unsafe, Reasons: []string{"column gone"}}}))
	require.NoError(t, l.RecordVerdict(background, Verdict{Environment: "production", Verdict: deploy.Verdict{From: "v2", To: "v1", Safety: deploy.SafeWithLoss, Reasons: []string{"3 rows", "of files"}}, Floor: "v1"}))

	s, err := l.Status(background, "production")
	require.NoError(t, err)
	assert.Equal(t, "v2", s.Serving.Serves)
	require.Len(t, s.InProgress, 1)
	assert.Equal(t, deploy.Shifting, s.InProgress[0].State)
	assert.Nil(t, s.InProgress[0].Ended)
	assert.True(t, noon.Equal(*s.InProgress[0].FirstBad), "the earliest")
	assert.True(t, noon.Add(2*time.Second).Equal(*s.InProgress[0].Detected))
	assert.Equal(t, lease.Token, s.Lock.Token)

	list, err := l.History(background, Filter{Environment: "production", Limit: 3})
	require.NoError(t, err)
	require.Len(t, list, 3)
	assert.Equal(t, []string{"d4", "d3", "d2"}, []string{list[0].ID, list[1].ID, list[2].ID})
	assert.Equal(t, RolledBack, list[1].Outcome)
	assert.Equal(t, "because", list[1].Reason)
	assert.NotNil(t, list[1].Ended)
	list, err = l.History(background, Filter{Environment: "production", Before: list[2].Number})
	require.NoError(t, err)
	require.Len(t, list, 1)
	list, err = l.History(background, Filter{})
	require.NoError(t, err)
	assert.Len(t, list, 5, "of all environments")

	good, err := l.LastGood(background, "production")
	require.NoError(t, err)
	assert.Equal(t, deploy.SafeWithLoss, good.Verdict.Safety, "the newest counts")
	assert.Equal(t, []string{"3 rows", "of files"}, good.Verdict.Reasons)
}

func TestReleaseIsOneArtifact(t *testing.T) {
	l, _ := fresh(t)
	before := int64(3)
	r := Release{Version: "v1", Digests: map[string]string{"web": "sha256:1"}, SchemaBefore: &before}
	require.NoError(t, l.RecordRelease(background, r))
	require.NoError(t, l.RecordRelease(background, r))
	r.Digests = map[string]string{"web": "sha256:2"}
	require.ErrorContains(t, l.RecordRelease(background, r), "recorded before with other digests")
	lease := acquire(t, l, "production")
	require.ErrorContains(t, lease.Begin(background, Deployment{ID: "d1", Release: "v9", Kind: Deploy}), `knows no release "v9"`)
	require.NoError(t, lease.Begin(background, Deployment{ID: "d1", Release: "v1", Kind: Deploy}))
	require.ErrorContains(t, lease.Begin(background, Deployment{ID: "d1", Release: "v1", Kind: Deploy}), "there is one with this id")
}

func TestMeasurements(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	two := []Measurement{{deploy.Blue, "errors", noon, 0.25}, {deploy.Green, "requests", noon.Add(time.Second), 1e9}}
	require.NoError(t, lease.Measure(background, "d1", two...))
	require.NoError(t, lease.Measure(background, "d1", two[1]), "once")
	require.NoError(t, lease.Measure(background, "d1"))
	require.ErrorIs(t, lease.Measure(background, "d2", two...), ErrUnknownDeployment)
	list, err := l.Measurements(background, "d1")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, 1e9, list[1].Value)
	assert.Equal(t, deploy.Green, list[1].Slot)
}

func TestApprovals(t *testing.T) {
	l, address := fresh(t)
	ask := func(hash, by string) {
		require.NoError(t, l.Request(background, Plan{Hash: hash, Environment: "production", Release: "v1", By: by}))
	}
	approvers := func(plan string) (names []string) {
		list, err := l.Approvals(background, plan)
		require.NoError(t, err)
		for _, a := range list {
			names = append(names, a.Approver)
		}
		return names
	}
	require.ErrorIs(t, l.Approve(background, "p1", "bob", time.Hour), ErrUnknownPlan)
	ask("p1", "Ann ")
	ask("p1", "Ann ")
	require.ErrorIs(t, l.Approve(background, "p1", "ann", time.Hour), ErrOwnPlan, "whatever the case")
	require.ErrorIs(t, l.Approve(background, "p1", " ANN", time.Hour), ErrOwnPlan)
	require.ErrorContains(t, l.Approve(background, "p1", " ", time.Hour), "the name of the approver")
	require.ErrorContains(t, l.Approve(background, "p1", "bob", 0), "how long")
	assert.Empty(t, approvers("p1"))

	require.NoError(t, l.Approve(background, "p1", "bob", time.Hour))
	require.NoError(t, l.Approve(background, "p1", "Bob", time.Minute))
	require.NoError(t, l.Approve(background, "p1", "cid", time.Hour))
	assert.Equal(t, []string{"bob", "cid"}, approvers("p1"), "one of each")
	ask("p2", "ann")
	assert.Empty(t, approvers("p2"), "another plan needs another approval")
	ask("p1", "cid")
	assert.Equal(t, []string{"bob"}, approvers("p1"), "who asks as well doesn't count any more")
	require.NoError(t, l.Approve(background, "p2", "bob", time.Microsecond))
	assert.Empty(t, approvers("p2"), "it has expired")
	assert.Equal(t, "4", pgtest.Value(t, address, "SELECT count(*) FROM pipeline.approvals"))
	sound(t, l, 3+4)
}
