package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// childVariable makes this test binary a pipeline that does a task until it is killed.
const childVariable = "BACKUP_TEST_CHILD"

// errand is a child's task. It stops at a place, says so, and waits there to be killed.
type errand struct {
	Stop, Programs          string // where: "dumping", "loaded"; "" nowhere
	URL, Dir, Scratch, Temp string
	Recipients              []string
	File                    string // of the backup to restore; without it one is made
}

// stopping is a Dumper that stops at that place.
type stopping struct {
	tools
	at string
}

func (s stopping) here(place string) {
	if s.at == place {
		fmt.Println("here")
		select {}
	}
}

func (s stopping) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	if s.at == "dumping" {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	s.here("dumping")
	return s.tools.Dump(ctx, url, snapshot, w)
}

func (s stopping) Restore(ctx context.Context, url, file string, load Load) error {
	err := s.tools.Restore(ctx, url, file, load)
	s.here("loaded")
	return err
}

func child(task string) int {
	var e errand
	if err := json.Unmarshal([]byte(task), &e); err != nil {
		panic(err)
	}
	go func() { // the parent is gone, however it ended
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	dumper := stopping{tools{programs: e.Programs}, e.Stop}
	var err error
	if e.File == "" {
		_, err = Make(context.Background(), Options{URL: e.URL, Dumper: dumper, Dir: e.Dir, Scratch: e.Scratch, Temp: e.Temp, Recipients: e.Recipients})
	} else {
		_, err = Restore(context.Background(), RestoreOptions{URL: e.URL, Dumper: dumper, File: e.File, Temp: e.Temp, Confirmed: true, Terminate: true})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// start starts a child and, where it is to stop somewhere, waits until it is there.
func start(t testing.TB, e errand) *exec.Cmd {
	e.Programs = filepath.Dir(pgtest.Binary(t, "pg_dump"))
	task, err := json.Marshal(e)
	require.NoError(t, err)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+string(task))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = in.Close(); _ = c.Wait() })
	if e.Stop != "" {
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "here\n", line)
	}
	return c
}

// killed kills a child and waits until the server has noticed.
func killed(t testing.TB, c *exec.Cmd) {
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	pgtest.Eventually(t, pgtest.Server(t), "NOT EXISTS (SELECT FROM pg_stat_activity WHERE starts_with(application_name, 'pipeline'))")
}

func inDirectory(t testing.TB, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, filepath.Ext(e.Name()))
	}
	return names
}

func TestNextBackupSweepsWhatAKilledOneLeft(t *testing.T) {
	_, recipient := pair(t)
	for _, test := range []struct {
		stop   string
		left   []string // extensions in the directory
		counts string   // scratch databases
		after  []string
	}{
		{"dumping", []string{".part"}, "1", []string{".age", ".json"}},
		{"loaded", []string{".age", ".json"}, "1", []string{".age", ".json", ".age", ".json"}},
	} {
		t.Run("killed while "+test.stop, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
			o := options(t, address)
			o.Dir, o.Recipients = t.TempDir(), []string{recipient}
			c := start(t, errand{Stop: test.stop, URL: address, Dir: o.Dir, Scratch: o.Scratch, Temp: o.Temp, Recipients: o.Recipients})
			assert.Equal(t, test.left, inDirectory(t, o.Dir))

			// One that is at work is let alone, by another backup as by pruning.
			o.Dumper = tools{TB: t}
			second := o
			second.Dir = t.TempDir()
			_, err := Make(context.Background(), second)
			require.NoError(t, err)
			_, err = Prune(o.Dir, Policy{Keep: 1, Now: noon})
			require.NoError(t, err)
			assert.Equal(t, test.left, inDirectory(t, o.Dir))
			assert.Equal(t, test.counts, scratchDatabases(t))
			assert.Len(t, inDirectory(t, o.Temp), 1)

			killed(t, c)
			assert.Equal(t, test.counts, scratchDatabases(t))
			list, err := List(o.Dir)
			require.NoError(t, err)
			for _, s := range list {
				assert.Equal(t, Unproven, s.State)
			}
			_, err = Make(context.Background(), o)
			require.NoError(t, err)
			assert.Equal(t, test.after, inDirectory(t, o.Dir))
			assert.Empty(t, inDirectory(t, o.Temp))
			assert.Equal(t, "0", scratchDatabases(t))
		})
	}
}

func TestRestoreThatIsKilledLeavesTheOldDatabase(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	b := made(t, address, nil)
	pgtest.Exec(t, address, "UPDATE t SET a = 2")
	dropped(t, name(address)+"_before_restore_20261125T120000Z")
	intact := func() {
		t.Helper()
		assert.Equal(t, name(address), databases(t, name(address)))
		assert.Equal(t, "2", pgtest.Value(t, address, "SELECT a FROM t"))
	}
	killed(t, start(t, errand{Stop: "loaded", URL: address, File: b.File}))
	intact()
	assert.Equal(t, "1", scratchDatabases(t))

	// In the middle of the exchange: the old database has its new name already, in a transaction that waits for a session
	// to go.
	busy := pgtest.Session(t, address)
	key, err := migrationKey(context.Background(), busy)
	require.NoError(t, err)
	c := start(t, errand{URL: address, File: b.File})
	pgtest.Eventually(t, pgtest.Server(t), "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
	for taken := false; !taken; { // a migrator that comes when the restore has let go of the lock; it is not terminated
		require.NoError(t, busy.QueryRow(context.Background(), "SELECT pg_try_advisory_lock($1)", key).Scan(&taken))
	}
	pgtest.Eventually(t, pgtest.Server(t), "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%RENAME%' AND state = 'active')")
	killed(t, c)
	intact()

	require.NoError(t, busy.Close(context.Background()))
	r, err := Restore(context.Background(), restoring(t, address, b))
	require.NoError(t, err)
	assert.True(t, r.Done)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT a FROM t"))
	assert.Equal(t, "0", scratchDatabases(t))
}
