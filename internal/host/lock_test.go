package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLockIsHeldByOneOrSharedByMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	one, err := tryLock(path, true)
	require.NoError(t, err)
	for _, exclusive := range []bool{true, false} {
		_, err = tryLock(path, exclusive)
		assert.ErrorIs(t, err, errLocked)
	}
	require.NoError(t, one.share())
	two, err := tryLock(path, false)
	require.NoError(t, err)
	_, err = tryLock(path, true)
	assert.ErrorIs(t, err, errLocked)
	one.unlock()
	two.unlock()
	again, err := tryLock(path, true)
	require.NoError(t, err)
	again.remove()
	assert.NoFileExists(t, path)
}

func TestWaitingForALockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := tryLock(path, true)
	require.NoError(t, err)
	defer held.unlock()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(bounded(t))
	cancel(why)
	_, err = lock(ctx, path)
	assert.ErrorIs(t, err, why)
}

// A lock whose file its holder removes is still one: never do two hold it, and none waits forever.
func TestRemovedLocksExcludeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, most atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 30 {
				l, err := lock(bounded(t), path)
				if !assert.NoError(t, err) {
					return
				}
				most.Store(max(most.Load(), holders.Add(1)))
				_, err = os.Stat(path)
				assert.NoError(t, err)
				holders.Add(-1)
				l.remove()
			}
		})
	}
	wait.Wait()
	assert.Equal(t, int32(1), most.Load())
}
