package supervisor

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func TestASupervisorThatIsKilledIsReplacedWithoutACommandAndWithItsSecrets(t *testing.T) {
	const secret = "hunter2-hunter2"
	p := newPlace(t)
	p.route, p.keep = true, true
	o := p.options()
	o.Secrets = map[string]string{"TOKEN": secret}
	c := p.open(t, o)
	release := app(t, "one", "api", "page")
	release.Units[0].Env["TOKEN"] = secret
	instance, err := c.Start(bounded(t), deploy.Blue, release)
	require.NoError(t, err)
	_, err = c.Start(bounded(t), deploy.Green, release)
	require.NoError(t, err)
	require.NoError(t, c.Stop(bounded(t), deploy.Green))
	require.NoError(t, c.Splitter().Register(bounded(t), deploy.Instance{
		Slot: deploy.Blue, Release: app(t, "one", "api"), Endpoints: instance.Endpoints,
	}))
	require.NoError(t, c.Splitter().Shift(bounded(t), map[deploy.Slot]int{deploy.Blue: 100}))

	for range 3 {
		var before Status
		eventually(t, "it is up", func() bool { before, err = c.Status(bounded(t)); return err == nil })
		serves(t, before.Router.URL, "one")
		require.NoError(t, syscall.Kill(before.PID, syscall.SIGKILL))
		killed := time.Now()
		eventually(t, "there is another one", func() bool {
			now, err := c.Status(bounded(t))
			return err == nil && now.PID != before.PID && now.Keeper == before.Keeper
		})
		serves(t, before.Router.URL, "one")
		t.Logf("users have answers again after %s", time.Since(killed).Round(time.Millisecond))
		text, err := get(instance.Endpoints["api"].String() + "/environment")
		require.NoError(t, err)
		env := map[string]string{}
		require.NoError(t, json.Unmarshal([]byte(text), &env))
		assert.Equal(t, secret, env["TOKEN"])
		assert.Len(t, p.known(t, c), 1)
	}
	state, err := os.ReadFile(p.dir + "/" + stateFile)
	require.NoError(t, err)
	assert.NotContains(t, string(state), "hunter2")
}

func TestAKeeperThatIsKilledTakesEverythingWithItAndTheNextCommandBringsItBack(t *testing.T) {
	p := newPlace(t)
	p.keep = true
	c := p.open(t, p.options())
	instance, err := c.Start(bounded(t), deploy.Blue, app(t, "one", "api", "page"))
	require.NoError(t, err)
	serves(t, instance.Endpoints["api"].String(), "one")
	status, err := c.Status(bounded(t))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(status.Keeper, syscall.SIGKILL))
	eventually(t, "all is gone", func() bool { return len(p.processes()) == 0 && !answers(t.Context(), p.dir) })
	c = p.open(t, p.options())
	serves(t, instance.Endpoints["api"].String(), "one")
	assert.Len(t, p.known(t, c), 1)
}

func TestAKeeperEndsWithItsSupervisorWhereThatEndsAsItShould(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *place, Status){
		"by a down": func(t *testing.T, p *place, _ Status) {
			_, err := Down(bounded(t), p.dir)
			require.NoError(t, err)
		},
		"by SIGTERM": func(t *testing.T, _ *place, s Status) { require.NoError(t, syscall.Kill(s.PID, syscall.SIGTERM)) },
		"by its own": func(t *testing.T, _ *place, s Status) { require.NoError(t, syscall.Kill(s.Keeper, syscall.SIGTERM)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.keep = true
			c := p.open(t, p.options())
			_, err := c.Start(bounded(t), deploy.Blue, shell("exec sleep 600"))
			require.NoError(t, err)
			status, err := c.Status(bounded(t))
			require.NoError(t, err)
			end(t, p, status)
			eventually(t, "the keeper has ended", func() bool { return syscall.Kill(status.Keeper, 0) != nil })
			assert.Empty(t, p.processes())
		})
	}
}

func TestAKeeperGivesUpWhatCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	p := newPlace(t)
	p.route, p.keep = true, true
	o := p.options()
	o.Listen = taken.Addr().String()
	_, err = Open(bounded(t), o)
	require.ErrorContains(t, err, "start the router on "+o.Listen)
}

func TestAKeeperStartsNothingWhereTheEnvironmentIsGone(t *testing.T) {
	dir := t.TempDir()
	count := dir + "/count"
	script := `echo >> ` + count + `; echo '{"serving": true}'; [ $(wc -l < ` + count + `) -lt 3 ] || rm -r ` + dir + `/env; exit 7`
	require.NoError(t, os.Mkdir(dir+"/env", 0o700))
	err := Keep(bounded(t), dir+"/env", []string{"sh", "-c", script})
	require.ErrorContains(t, err, "exit code 7")
	starts, err := os.ReadFile(count)
	require.NoError(t, err)
	assert.Equal(t, "\n\n\n", string(starts))
}

func TestAKeeperRemembersWhatIsInTheSlotsHoweverItIsSaid(t *testing.T) {
	say := func(all ...news) []byte {
		var out bytes.Buffer
		for _, one := range all {
			require.NoError(t, json.NewEncoder(&out).Encode(one))
		}
		return out.Bytes()
	}
	blue := startMessage{Token: "b", Secrets: map[string]string{"A": "two\nlines"}}
	text := say(news{Slot: "green", Start: &startMessage{Token: "g"}}, news{Slot: "blue", Start: &startMessage{Token: "old"}}, news{Serving: true},
		news{Slot: "blue", Start: &blue}, news{Slot: "green"})
	for cut := range len(text) {
		k := &keeper{starts: map[deploy.Slot]startMessage{}}
		for _, part := range [][]byte{text[:cut], text[cut:]} {
			n, err := k.Write(part)
			require.NoError(t, err)
			require.Equal(t, len(part), n)
		}
		require.True(t, k.hasServed())
		kept, err := NewKept(k.memory(), nil)
		require.NoError(t, err)
		require.Equal(t, os.Getpid(), kept.pid)
		require.Equal(t, map[deploy.Slot]startMessage{"blue": blue}, kept.starts)
		_, ok := kept.remembers("blue", "old")
		require.False(t, ok, "another start")
	}
	_, err := NewKept(strings.NewReader(`{"slot": "hunter2", oh`), nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}
