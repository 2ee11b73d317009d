package ledger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestTransitionsAreKeptAsWritten(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	e := entry("d1", deploy.Planned, "v1")
	e.Detail = "a process said: \x00\xff 'quoted' \u2028 <b>Ünï</b> \x1b[31m"
	require.NoError(t, lease.Write(background, e))
	write(t, lease, "d1", "v1", deploy.Starting)
	list, err := l.Transitions(background, "d1")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "a process said: \uFFFD\uFFFD 'quoted' \u2028 <b>Ünï</b> \x1b[31m", list[0].Detail)
	assert.True(t, noon.Equal(list[1].At))
	list[1].At = time.Time{}
	assert.Equal(t, Transition{Deployment: "d1", Seq: 2, State: deploy.Starting, Slot: deploy.Green, Release: "v1", Detail: "because", Token: 1, Audit: 2}, list[1])
	require.ErrorIs(t, lease.Write(background, entry("d9", deploy.Planned, "v1")), ErrUnknownDeployment)
	require.ErrorIs(t, acquire(t, l, "staging").Write(background, entry("d1", deploy.Planned, "v1")), ErrUnknownDeployment)
	sound(t, l, 3)
}

func TestConcurrentDeploymentsLeaveNoGaps(t *testing.T) {
	l, address := fresh(t)
	var group sync.WaitGroup
	for i := range 5 {
		own := open(t, address, quick)
		lease := acquire(t, own, fmt.Sprint("environment ", i))
		id := fmt.Sprint("d", i)
		started(t, own, lease, id, "v1")
		for range 2 { // and two writers each
			group.Go(func() {
				for range 10 {
					assert.NoError(t, lease.Write(background, entry(id, deploy.Baking, "v1")))
				}
			})
		}
	}
	group.Wait()
	assert.Equal(t, "5", pgtest.Value(t, address, `SELECT count(*) FROM (SELECT deployment FROM pipeline.transitions GROUP BY deployment
		HAVING count(*) = 20 AND min(seq) = 1 AND max(seq) = 20) whole`))
	sound(t, l, 5+100)
}

// operations is what is asked of the ledger, the n-th time, and what must answer 1 afterwards. What needs to be there before
// is made by before.
var operations = map[string]struct {
	before func(*Ledger, int) error
	do     func(*Lease, int) error
	count  string
}{
	"write a transition": {nil, func(lease *Lease, n int) error {
		return lease.Write(background, deploy.Entry{Deployment: "d1", State: deploy.Shifting, Release: "v1", Detail: fmt.Sprint(n)})
	}, "SELECT count(*) FROM pipeline.transitions WHERE detail = '%d'"},
	"begin": {nil, func(lease *Lease, n int) error {
		return lease.Begin(background, Deployment{ID: fmt.Sprint("begun ", n), Release: "v1", Kind: Deploy})
	}, "SELECT count(*) FROM pipeline.deployments WHERE id = 'begun %d'"},
	"approve": {nil, func(lease *Lease, n int) error {
		return lease.ledger.Approve(background, "p", fmt.Sprint("bob ", n), time.Hour)
	}, "SELECT count(*) FROM pipeline.approvals WHERE approver = 'bob %d'"},
	"break a lock": {func(l *Ledger, n int) error {
		_, err := l.pool.Exec(background, "INSERT INTO pipeline.locks (environment, token, held) VALUES ($1, 5, true)", fmt.Sprint("broken ", n))
		return err
	}, func(lease *Lease, n int) error {
		return lease.ledger.Break(background, fmt.Sprint("broken ", n), 5, "bob", "hangs")
	}, "SELECT count(*) FROM pipeline.audit_records r JOIN pipeline.locks l ON l.environment = r.record::jsonb->>'environment' AND l.token = 6 AND NOT l.held WHERE l.environment = 'broken %d'"},
	"take a lock": {nil, func(lease *Lease, n int) error {
		taken, err := lease.ledger.Acquire(background, fmt.Sprint("taken ", n), holder("cid"), 0)
		if err == nil {
			taken.lose(taken.lost("the test has ended"))
		}
		return err
	}, "SELECT count(*) FROM pipeline.locks WHERE environment = 'taken %d' AND held AND token = 1"},
	"measure": {nil, func(lease *Lease, n int) error {
		return lease.Measure(background, "d1", Measurement{Name: "a", At: noon, Value: float64(n)}, Measurement{Name: "b", At: noon.Add(time.Duration(n) * time.Second), Value: float64(n)})
	}, "SELECT count(*) FROM pipeline.measurements WHERE name = 'b' AND value = %d"},
}

// TestConnectionCutAnywhere cuts the connection before each message of each operation, in either direction: once with
// patience, when it must be done exactly once, and once without, when it must be done wholly or not at all.
func TestConnectionCutAnywhere(t *testing.T) {
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			direct, address := fresh(t)
			lease := acquire(t, direct, "production")
			started(t, direct, lease, "d1", "v1")
			require.NoError(t, direct.Request(background, Plan{Hash: "p", By: "ann"}))

			var left atomic.Int64 // messages until the cut; negative where there is none to come
			left.Store(-1)
			proxy := pgtest.NewProxy(t, address, func(pgtest.Message) pgtest.Verdict {
				if left.Load() >= 0 && left.Add(-1) < 0 {
					return pgtest.Cut
				}
				return pgtest.Pass
			})
			patient := open(t, proxy.URL(t, address), quick)
			impatient := *patient
			impatient.options.Patience = time.Nanosecond
			n := 0
			cutAt := func(l *Ledger, point int64) (cut bool) {
				n++
				if operation.before != nil {
					require.NoError(t, operation.before(direct, n))
				}
				through := &Lease{Environment: lease.Environment, Token: lease.Token, ledger: l, ctx: lease.ctx}
				_, err := patient.Status(background, "production") // on a connection that works
				require.NoError(t, err)
				left.Store(point)
				err = operation.do(through, n)
				cut = left.Swap(-1) < 0
				found := pgtest.Value(t, address, fmt.Sprintf(operation.count, n))
				switch {
				case l == patient || !cut || err == nil:
					require.NoError(t, err, "point %d", point)
					require.Equal(t, "1", found, "point %d", point)
				default:
					require.ErrorIs(t, err, ErrUnreachable, "point %d", point)
					require.Contains(t, []string{"0", "1"}, found, "point %d", point)
				}
				return cut
			}
			point := int64(0)
			for ; cutAt(patient, point); point++ {
				cutAt(&impatient, point)
			}
			t.Log(point, "points")
			assert.Greater(t, point, int64(8), "points")
			_, err := direct.Verify(background, note.VerifierList())
			require.NoError(t, err)
			assert.Equal(t, "true", pgtest.Value(t, address, `SELECT bool_and(transitions = (SELECT count(*) FROM pipeline.transitions WHERE deployment = id)
				AND transitions = (SELECT coalesce(max(seq), 0) FROM pipeline.transitions WHERE deployment = id)) FROM pipeline.deployments`))
		})
	}
}
