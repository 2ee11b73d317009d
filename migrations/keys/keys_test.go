package keys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/finding"
)

const password = "correct-horse%battery"

// server starts a Redis of the test's own and returns its URL and a client.
func server(t *testing.T, arguments ...string) (address string, client redis.Conn) {
	t.Helper()
	port, err := pgtest.FreePort()
	require.NoError(t, err)
	c := exec.Command("redis-server", append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--requirepass", password, "--dir", t.TempDir(), "--enable-debug-command", "yes"}, arguments...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	address = fmt.Sprintf("redis://:correct-horse%%25battery@127.0.0.1:%d/0", port)
	deadline := time.Now().Add(time.Minute)
	for {
		client, err = redis.DialURL(address)
		if err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline), "%v", err)
		time.Sleep(5 * time.Millisecond)
	}
	t.Cleanup(func() { _ = client.Close() })
	return address, client
}

func open(t *testing.T, address string) *Watch {
	t.Helper()
	w, err := Open(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// do runs commands, one a line.
func do(t *testing.T, client redis.Conn, commands ...string) {
	t.Helper()
	for _, command := range commands {
		words := strings.Fields(command)
		var arguments []any
		for _, a := range words[1:] {
			arguments = append(arguments, a)
		}
		_, err := client.Do(words[0], arguments...)
		require.NoError(t, err, command)
	}
}

// both are a release that runs and the next one.
var both = map[string]string{"running": "v1", "next": "v2"}

func texts(t *testing.T, w *Watch, o Options) (list []string) {
	t.Helper()
	findings, err := w.Findings(context.Background(), o)
	require.NoError(t, err)
	for _, f := range findings {
		assert.Equal(t, finding.Measured, f.Basis)
		list = append(list, string(f.Level)+": "+f.String())
	}
	return list
}

func TestWhatTwoReleasesDoToEachOther(t *testing.T) {
	address, client := server(t)
	for _, tt := range []struct {
		name                   string
		before, running, next  []string
		migrate                []string
		prefix                 string
		want                   []string
		withoutTTLs, withNotes bool
	}{
		{name: "nothing"},
		{name: "each under its own prefix", prefix: "app:{release}:",
			running: []string{"SET app:v1:user:1 x EX 60", "HSET app:v1:cart:1 a b", "EXPIRE app:v1:cart:1 60"}, next: []string{"SET app:v2:cart:1 x EX 60"}},
		{name: "a flush in the migration", migrate: []string{"FLUSHALL", "FLUSHALL ASYNC"},
			want: []string{"refuse: phase migrate called FLUSHALL 2 times: it empties the cache of the running release, whose load then falls on the database (redis-flush)"}},
		{name: "a flush by the next release, in a script", next: []string{"EVAL redis.call('FLUSHDB') 0"},
			want: []string{"refuse: phase next (release v2) called FLUSHDB once: it empties the cache of the running release, whose load then falls on the database (redis-flush)"}},
		{name: "databases swapped", migrate: []string{"SWAPDB 0 1"},
			want: []string{"refuse: phase migrate called SWAPDB once: it takes the running release's keys away from under it (redis-flush)"}},
		{name: "a flush before the watch", before: []string{"FLUSHALL"}},
		{name: "keys without the release's prefix", prefix: "app:{release}:", next: []string{"SET cart:7 x EX 60", "SET cart:8 x EX 60"},
			want: []string{"refuse: release v2 writes keys cart:* without its prefix app:{release}: (2 keys): the other release reads and overwrites them, whatever their format is (redis-prefix)"}},
		{name: "keys of the other release", prefix: "app:{release}:", running: []string{"SET app:v1:cart:7 x EX 60"}, next: []string{"SET app:v1:cart:7 y EX 60"},
			want: []string{"refuse: release v2 writes keys app:{release}:cart:* (1 key) that belong to release v1 (redis-prefix)"}},
		{name: "keys of a release that nobody knows", prefix: "app:{release}:", next: []string{"SET app:v9:cart:7 y EX 60"},
			want: []string{"refuse: release v2 writes keys app:{release}:cart:* (1 key) that belong to another release (redis-prefix)"}},
		{name: "keys without the application's prefix", prefix: "app:", running: []string{"SET app:a x EX 60"}, next: []string{"SET cart:7 x EX 60"},
			want: []string{"warn: phase next writes keys cart:* without the prefix app: (1 key): other applications of the server may use the same names (redis-prefix)"}},
		{name: "keys of both releases", running: []string{"SET app:session:1 x EX 60"}, next: []string{"SET app:session:2 y EX 60"},
			want: []string{"note: releases v1 and v2 write keys app:session:*: each must be able to read what the other wrote (redis-shared-keys)"}},
		{name: "the same key, overwritten", running: []string{"SET app:top x EX 60"}, next: []string{"SET app:top y EX 60"},
			want: []string{"note: releases v1 and v2 write keys app:top: each must be able to read what the other wrote (redis-shared-keys)"}},
		{name: "keys that the first release wrote before the watch", before: []string{"SET app:top x EX 60"}, next: []string{"SET app:top y EX 60"}},
		{name: "keys that went while the next one ran", running: []string{"SET app:session:1 x EX 60"}, next: []string{"DEL app:session:1", "SET app:other:1 x PX 1", "DEL app:other:1"}},
		{name: "formats with versions", running: []string{"SET v1:user:1 x EX 60"}, next: []string{"SET v2:user:1 y EX 60"}},
		{name: "keys of one form and another type", running: []string{"SET cart:1 x EX 60"}, next: []string{"HSET cart:2 a b", "EXPIRE cart:2 60"},
			want: []string{"refuse: keys cart:* are string to release v1 and hash to release v2: who reads the other's gets WRONGTYPE (redis-key-type)",
				"note: releases v1 and v2 write keys cart:*: each must be able to read what the other wrote (redis-shared-keys)"}},
		{name: "a key whose type the migration changed", before: []string{"SET cart:1 x EX 60"}, migrate: []string{"DEL cart:1", "LPUSH cart:1 a", "EXPIRE cart:1 60"},
			want: []string{"refuse: the type of keys cart:* was changed in phase migrate from string to list: a release that reads the other type gets WRONGTYPE (redis-key-type)"}},
		{name: "keys that stay for ever", running: []string{"SET a:1 x", "SET a:2 x EX 60"},
			want: []string{"note: 1 of 2 keys a:* that phase running wrote have no TTL: nobody removes them when no release reads them any more (redis-no-ttl)"}},
		{name: "keys in another database", prefix: "app:", next: []string{"SELECT 3", "SET cart:7 x", "SELECT 0"},
			want: []string{"warn: phase next writes keys cart:* without the prefix app: (1 key): other applications of the server may use the same names (redis-prefix)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			do(t, client, "FLUSHALL")
			do(t, client, tt.before...)
			w := open(t, address)
			for _, phase := range []struct {
				label    string
				commands []string
			}{{"running", tt.running}, {"migrate", tt.migrate}, {"next", tt.next}} {
				do(t, client, phase.commands...)
				require.NoError(t, w.Mark(context.Background(), phase.label))
			}
			assert.Equal(t, tt.want, texts(t, w, Options{Prefix: tt.prefix, Releases: both}))
		})
	}
}

func TestServerThatDoesNotTellOfWritesSaysWhatIsNotSeen(t *testing.T) {
	address, client := server(t, "--rename-command", "CLIENT", "HIDDEN")
	do(t, client, "SET app:top x EX 60")
	w := open(t, address)
	do(t, client, "SET app:top y EX 60", "SET app:new x EX 60")
	require.NoError(t, w.Mark(context.Background(), "next"))
	assert.Equal(t, []string{
		"warn: phase next writes keys app:new without the prefix shop: (1 key): other applications of the server may use the same names (redis-prefix)",
		"note: in phase next, keys that were there before and were only overwritten may not have been seen: the server did not tell of all writes (CLIENT TRACKING) (redis-unseen)",
	}, texts(t, w, Options{Prefix: "shop:"}))
}

func TestRestartedServerIsCountedFromZero(t *testing.T) {
	address, client := server(t)
	do(t, client, "FLUSHALL", "FLUSHALL")
	w := open(t, address)
	do(t, client, "CONFIG RESETSTAT", "FLUSHALL")
	require.NoError(t, w.Mark(context.Background(), "migrate"))
	require.Len(t, w.phases, 1)
	assert.Equal(t, map[string]int64{"flushall": 1}, w.phases[0].called)
}

func TestManyKeysAreLookedAtInPartAndQuickly(t *testing.T) {
	address, client := server(t)
	do(t, client, fmt.Sprintf("DEBUG POPULATE %d app:user 8", maxKeys+20_000))
	start := time.Now()
	w := open(t, address)
	do(t, client, "SET app:cart:1 x EX 60", "SET app:user:1 y EX 60")
	require.NoError(t, w.Mark(context.Background(), "next"))
	assert.Less(t, time.Since(start), 2*maxTime+5*time.Second)
	require.Len(t, w.phases, 1)
	assert.True(t, w.phases[0].partial)
	assert.False(t, w.phases[0].blind)
	assert.Len(t, w.phases[0].written, 2, "the server tells of these, and what is not known to be new is not taken for it")
	assert.Equal(t, []string{
		"warn: phase next writes keys app:cart:* without the prefix shop: (1 key): other applications of the server may use the same names (redis-prefix)",
		"warn: phase next writes keys app:user:* without the prefix shop: (1 key): other applications of the server may use the same names (redis-prefix)",
		"note: after phase next, only a part of the keys was looked at: no more than 100000, and for no longer than 10s (redis-unseen)",
	}, texts(t, w, Options{Prefix: "shop:"}))
}

func TestNoErrorShowsThePassword(t *testing.T) {
	address, _ := server(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // and nobody answers
	for _, wrong := range []string{
		strings.Replace(address, "battery", "staple", 1), "redis://:correct-horse%battery@127.0.0.1/", "redis:correct-horse@x", "correct-horse",
		"http://:correct-horse@127.0.0.1:1/", "redis://:correct-horse@127.0.0.1:1/x", "redis://:correct-horse@" + listener.Addr().String(),
	} {
		ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, errors.New("too late"))
		_, err := Open(ctx, wrong)
		cancel()
		require.Error(t, err, wrong)
		assert.NotContains(t, err.Error(), "horse")
		assert.Contains(t, err.Error(), "watch Redis: ")
	}
}

func TestPhaseThatWasNotMarkedIsAMistake(t *testing.T) {
	_, err := (&Watch{}).Findings(context.Background(), Options{Releases: both})
	require.ErrorContains(t, err, "was marked")
}

func TestMarkEndsWithItsContext(t *testing.T) {
	address, client := server(t)
	w := open(t, address)
	do(t, client, "CLIENT PAUSE 60000 ALL")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 200*time.Millisecond, errors.New("too late"))
	defer cancel()
	start := time.Now()
	require.EqualError(t, w.Mark(ctx, "next"), "look at Redis after next: too late")
	assert.Less(t, time.Since(start), 5*time.Second)
}
