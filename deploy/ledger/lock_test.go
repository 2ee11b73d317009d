package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestLockSaysWhoHoldsIt(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	_, err := l.Acquire(background, "production", holder("bob"), 20*time.Millisecond)
	var busy *BusyError
	require.ErrorAs(t, err, &busy)
	assert.Equal(t, lease.Token, busy.Lock.Token)
	assert.Regexp(t, `production is locked by ann \(deploy v1, pid 7 on builder\) since \d{4}-`, err.Error())
	acquire(t, l, "staging") // environments don't know of each other

	require.NoError(t, lease.Release(background))
	require.NoError(t, lease.Release(background), "once more is no error")
	require.ErrorIs(t, lease.Write(background, entry("d1", deploy.Planned, "v1")), ErrLost)
	assert.Equal(t, lease.Token+1, acquire(t, l, "production").Token)
}

func TestNewerRequestSupersedesOlderOnes(t *testing.T) {
	l, address := fresh(t)
	lease := acquire(t, l, "production")
	waiting := func(name string) string {
		return "EXISTS (SELECT FROM pipeline.lock_requests WHERE holder = '" + name + "' AND ended_at IS NULL)"
	}
	results := make(chan error, 2)
	ask := func(name string) {
		go func() {
			got, err := l.Acquire(background, "production", holder(name), time.Hour)
			if err == nil {
				err = got.Release(background)
			}
			results <- err
		}()
		pgtest.Eventually(t, address, waiting(name))
	}
	ask("bob")
	ask("cid")
	err := <-results
	var superseded *SupersededError
	require.ErrorAs(t, err, &superseded)
	assert.Equal(t, holder("cid"), superseded.Newer)
	s, err := l.Status(background, "production")
	require.NoError(t, err)
	require.Len(t, s.Waiting, 1)
	assert.Equal(t, "cid", s.Waiting[0].Holder.Name)
	assert.Equal(t, "ann", s.Lock.Holder.Name)
	require.NoError(t, lease.Release(background))
	require.NoError(t, <-results, "the newest gets it")
	s, err = l.Status(background, "production")
	require.NoError(t, err)
	assert.Empty(t, s.Waiting)
	assert.Nil(t, s.Lock)
}

func TestWaitEndsWithTheContext(t *testing.T) {
	l, address := fresh(t)
	acquire(t, l, "production")
	ctx, cancel := context.WithCancelCause(background)
	ended := make(chan error)
	go func() { _, err := l.Acquire(ctx, "production", holder("bob"), time.Hour); ended <- err }()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pipeline.lock_requests WHERE holder = 'bob')")
	reason := errors.New("somebody pressed ^C")
	cancel(reason)
	require.ErrorIs(t, <-ended, reason)
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pipeline.lock_requests WHERE ended_at IS NULL"))
}

func TestOneAtATime(t *testing.T) {
	for _, contenders := range []int{2, 20} {
		t.Run(fmt.Sprint(contenders, " contenders"), func(t *testing.T) {
			l, address := fresh(t)
			require.NoError(t, l.RecordRelease(background, Release{Version: "v1"}))
			var inside, most, got, superseded, tokens atomic.Int64
			var group sync.WaitGroup
			for i := range contenders {
				own := open(t, address, quick) // as a process of its own
				group.Go(func() {
					lease, err := own.Acquire(background, "production", holder(fmt.Sprint("contender ", i)), time.Hour)
					var newer *SupersededError
					if errors.As(err, &newer) {
						superseded.Add(1)
						return
					}
					if !assert.NoError(t, err) {
						return
					}
					got.Add(1)
					most.Store(max(most.Load(), inside.Add(1)))
					assert.Greater(t, lease.Token, tokens.Swap(lease.Token), "tokens grow")
					id := fmt.Sprint("d", lease.Token)
					assert.NoError(t, lease.Begin(background, Deployment{ID: id, Release: "v1", Kind: Deploy}))
					assert.NoError(t, lease.Write(background, entry(id, deploy.Planned, "v1")))
					inside.Add(-1)
					assert.NoError(t, lease.Release(background))
				})
			}
			group.Wait()
			assert.EqualValues(t, 1, most.Load())
			assert.EqualValues(t, contenders, got.Load()+superseded.Load())
			assert.Positive(t, got.Load())
			sound(t, l, 2*got.Load())
		})
	}
}

func TestBrokenLockFencesItsHolder(t *testing.T) {
	l, address := fresh(t)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	require.ErrorContains(t, l.Break(background, "production", lease.Token, "bob", ""), "say who breaks it, and why")
	require.ErrorContains(t, l.Break(background, "production", lease.Token-1, "bob", "hangs"), "nobody holds it with token 0")
	require.NoError(t, l.Break(background, "production", lease.Token, "bob", "the runner is gone"))
	err := lease.Write(background, entry("d1", deploy.Planned, "v1"))
	require.ErrorIs(t, err, ErrLost)
	assert.ErrorContains(t, err, "it was broken")
	next := acquire(t, l, "production")
	assert.Equal(t, lease.Token+2, next.Token)
	err = lease.Write(background, entry("d1", deploy.Planned, "v1"))
	assert.ErrorContains(t, err, "it was given to ann (deploy v1, pid 7 on builder) with token 3")
	require.ErrorIs(t, lease.Measure(background, "d1", Measurement{Name: "n"}), ErrLost)
	require.ErrorIs(t, lease.Bad(background, "d1", noon, noon), ErrLost)
	require.ErrorIs(t, lease.Begin(background, Deployment{ID: "d2", Release: "v1"}), ErrLost)
	write(t, next, "d1", "v1", deploy.Planned)
	assert.Equal(t, "bob: ann (deploy v1, pid 7 on builder): the runner is gone", pgtest.Value(t, address, `SELECT concat_ws(': ', r->>'actor', r->'facts'->>'holder', r->'facts'->>'reason')
		FROM (SELECT record::jsonb r FROM pipeline.audit_records) a WHERE r->>'kind' = 'lock broken'`))
	sound(t, l, 3)
}

func TestHolderOfABrokenLockHearsOfIt(t *testing.T) {
	address := pgtest.Database(t)
	options := quick
	options.TTL = 12 * time.Second // a heartbeat every two; the lease doesn't run out meanwhile
	l := open(t, address, options)
	lease := acquire(t, l, "production")
	ctx, cancel := lease.Bind(background)
	defer cancel()
	require.NoError(t, lease.Err())
	require.NoError(t, l.Break(background, "production", lease.Token, "bob", "hangs"))
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), ErrLost)
	require.ErrorIs(t, lease.Err(), ErrLost)
	assert.ErrorContains(t, lease.Err(), "was broken")
}

// hold is a process that holds a lock, says so, and when told to writes a transition and says what became of that.
func hold(address string) int {
	l, err := Open(background, address, Options{TTL: 600 * time.Millisecond, Patience: time.Minute})
	if err != nil {
		fmt.Println("cannot open:", err)
		return 1
	}
	lease, err := l.Acquire(background, "production", Holder{Name: "child", Host: "here", PID: os.Getpid()}, 0)
	if err != nil {
		fmt.Println("cannot lock:", err)
		return 1
	}
	fmt.Println("holds", lease.Token)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	err = lease.Write(background, entry("d1", deploy.Shifting, "v1"))
	fmt.Println("lost:", errors.Is(err, ErrLost), err)
	return 0
}

// child starts a holder and returns when it holds the lock.
func child(t *testing.T, address string) (process *os.Process, say func(), line func() string) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holderVariable+"="+address)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	lines := bufio.NewScanner(out)
	line = func() string { lines.Scan(); return lines.Text() }
	require.True(t, strings.HasPrefix(line(), "holds 2"))
	return c.Process, func() { _, _ = in.Write([]byte("go\n")) }, line
}

func TestHolderThatIsKilledOrPausedLosesTheLock(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "paused, and awake too late": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			l, address := fresh(t)
			first := acquire(t, l, "production")
			started(t, l, first, "d1", "v1")
			require.NoError(t, first.Release(background))
			process, say, line := child(t, address)
			require.NoError(t, process.Signal(signal))
			lease, err := l.Acquire(background, "production", holder("ann"), time.Hour) // when the child's has run out
			require.NoError(t, err)
			defer func() { require.NoError(t, lease.Release(background)) }()
			assert.EqualValues(t, 3, lease.Token)
			write(t, lease, "d1", "v1", deploy.Planned)
			if signal == syscall.SIGSTOP {
				require.NoError(t, process.Signal(syscall.SIGCONT))
				say()
				assert.Contains(t, line(), "lost: true")
			}
			write(t, lease, "d1", "v1", deploy.Done)
			assert.Equal(t, "planned, done", pgtest.Value(t, address, "SELECT string_agg(state, ', ' ORDER BY seq) FROM pipeline.transitions"))
			sound(t, l, 3)
		})
	}
}

func TestPausedTransactionHoldsUpNobodyForLong(t *testing.T) {
	l, address := fresh(t)
	conn := pgtest.Session(t, address)
	_, err := conn.Exec(background, begin, pgtest.Simply) // as one that was stopped there
	require.NoError(t, err)
	_, err = conn.Exec(background, "SELECT pg_advisory_xact_lock($1)", auditKey)
	require.NoError(t, err)
	require.NoError(t, l.RecordKey(background, "ann", KeyAdded, "k"))
	sound(t, l, 1)
}

func TestOutage(t *testing.T) {
	cluster := pgtest.Start(t, nil) // with synchronous_commit off: what the ledger confirms must survive nevertheless
	address := pgtest.DatabaseOn(t, cluster.URL)
	l := open(t, address, quick)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	write(t, lease, "d1", "v1", deploy.Planned)
	cluster.Crash()

	t.Run("longer than the patience fails the write", func(t *testing.T) {
		impatient := *lease.ledger
		impatient.options.Patience = 300 * time.Millisecond
		other := &Lease{Environment: lease.Environment, Token: lease.Token, ledger: &impatient, ctx: lease.ctx}
		require.ErrorIs(t, other.Write(background, entry("d1", deploy.Migrating, "v1")), ErrUnreachable)
	})
	written := make(chan error)
	go func() { written <- lease.Write(background, entry("d1", deploy.Starting, "v1")) }()
	require.NoError(t, cluster.Launch())
	require.NoError(t, <-written, "shorter than that is waited for")
	require.NoError(t, lease.Err(), "shorter than the TTL, it loses no lock")
	cluster.Crash()
	require.NoError(t, cluster.Launch())
	list, err := l.Transitions(background, "d1")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, deploy.Starting, list[1].State)
	sound(t, l, 3)
}

func TestOutageLongerThanTheTTLEndsTheLease(t *testing.T) {
	_, address := fresh(t)
	var away atomic.Bool
	proxy := pgtest.NewProxy(t, address, func(pgtest.Message) pgtest.Verdict {
		if away.Load() {
			return pgtest.Cut
		}
		return pgtest.Pass
	})
	l := open(t, proxy.URL(t, address), Options{TTL: 500 * time.Millisecond, Patience: 100 * time.Millisecond})
	lease := acquire(t, l, "production")
	ctx, cancel := lease.Bind(background)
	defer cancel()
	away.Store(true)
	<-ctx.Done()
	away.Store(false)
	require.ErrorIs(t, context.Cause(ctx), ErrLost)
	require.ErrorIs(t, lease.Write(background, entry("d1", deploy.Planned, "v1")), ErrLost, "the holder knows by itself")
}
