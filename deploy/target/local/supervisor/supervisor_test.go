package supervisor

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/targettest"
)

func TestTarget(t *testing.T) {
	targettest.Run(t, targettest.Suite{
		New: func(t *testing.T) deploy.Target {
			p := newPlace(t)
			return p.open(t, p.options())
		},
		Artifact: artifact,
	})
}

func TestWhatACommandStartedGoesOnWithoutIt(t *testing.T) {
	p := newPlace(t)
	first := p.open(t, p.options())
	instance, err := first.Start(bounded(t), deploy.Blue, app(t, "one", "api"))
	require.NoError(t, err)
	url := instance.Endpoints["api"].String()
	serves(t, url, "one")

	second := p.open(t, p.options())
	require.Equal(t, p.pid(t, first), p.pid(t, second), "it is the same supervisor")
	status, err := second.Status(bounded(t))
	require.NoError(t, err)
	require.Len(t, status.Slots, 1)
	unit := status.Slots[0].Units[0]
	assert.Equal(t, url, unit.URL)
	assert.Equal(t, 1, unit.Processes)
	assert.Greater(t, unit.ResidentBytes, int64(1<<20))
	assert.Greater(t, unit.MemoryBytes, int64(1<<20))
	assert.Positive(t, unit.CPUMS)
	assert.Zero(t, unit.Ends)
	found, ok, err := second.Running(bounded(t), deploy.Blue)
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, deploy.Instance{Slot: deploy.Blue, Release: deploy.Release{Version: "one"}, Endpoints: instance.Endpoints}, found)
	require.NoError(t, second.Stop(bounded(t), deploy.Blue))
	_, ok, err = second.Running(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.False(t, ok)
	_, err = get(url)
	require.Error(t, err)
}

func TestThereIsOneSupervisorHoweverManyCommandsLaunchOne(t *testing.T) {
	p := newPlace(t)
	pids := make(chan int, 6)
	for range cap(pids) {
		go func() {
			c, err := Open(bounded(t), p.options())
			if assert.NoError(t, err) {
				status, err := c.Status(bounded(t))
				assert.NoError(t, err)
				pids <- status.PID
				return
			}
			pids <- 0
		}()
	}
	first := <-pids
	for range cap(pids) - 1 {
		require.Equal(t, first, <-pids)
	}
}

func TestAUnitThatDiesIsStartedAgainOnItsPort(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	instance, err := c.Start(bounded(t), deploy.Blue, app(t, "one", "api", "page"))
	require.NoError(t, err)
	for _, url := range instance.Endpoints {
		serves(t, url.String(), "one")
	}
	unit := func() UnitStatus {
		status, err := c.Status(bounded(t))
		require.NoError(t, err)
		return status.Slots[0].Units[0]
	}
	require.NoError(t, syscall.Kill(unit().PID, syscall.SIGKILL))
	eventually(t, "Alive tells", func() bool { return c.Alive(bounded(t), deploy.Blue) != nil })
	require.ErrorContains(t, c.Alive(bounded(t), deploy.Blue), "api: python3 was ended by signal 9 (killed); the end of its log:")
	assert.NotContains(t, c.Alive(bounded(t), deploy.Blue).Error(), "page:")
	serves(t, instance.Endpoints["api"].String(), "one")
	eventually(t, "it is alive again", func() bool { return c.Alive(bounded(t), deploy.Blue) == nil })
	assert.Equal(t, 1, unit().Ends)
}

func TestAUnitThatTakesTooMuchMemoryIsStartedAgain(t *testing.T) {
	p := newPlace(t)
	o := p.options()
	o.Memory = map[string]int64{"api": 64 << 20}
	c := p.open(t, o)
	release := shell(`echo up; exec python3 -c "import time; x = b'x' * (200 << 20); time.sleep(600)"`)
	_, err := c.Start(bounded(t), deploy.Blue, release)
	require.NoError(t, err)
	eventually(t, "it is killed", func() bool { return c.Alive(bounded(t), deploy.Blue) != nil })
	require.ErrorContains(t, c.Alive(bounded(t), deploy.Blue), "MiB of memory and may use 64 MiB")
}

func TestSecretsAreInNoFileAndNoLog(t *testing.T) {
	const secret = "hunter2-hunter2"
	p := newPlace(t)
	o := p.options()
	o.Secrets = map[string]string{"TOKEN": secret}
	o.Env = append(o.Env, "COMMON=x"+secret)
	c := p.open(t, o)
	release := shell(`echo "token $TOKEN, $URL, $COMMON"; sleep 600`)
	release.Units[0].Env = map[string]string{"TOKEN": secret, "URL": "postgres://u:" + secret + "@h/d", "PLAIN": "plain"}
	_, err := c.Start(bounded(t), deploy.Blue, release)
	require.NoError(t, err)
	eventually(t, "it writes", func() bool {
		logs, err := c.Logs(bounded(t), deploy.Blue)
		return err == nil && logs["api"] == "token ***, postgres://u:***@h/d, x***\n"
	})
	assertNoSecret := func() {
		t.Helper()
		files := 0
		require.NoError(t, filepath.Walk(p.dir, func(path string, info os.FileInfo, err error) error {
			require.NoError(t, err)
			if !info.Mode().IsRegular() {
				return nil
			}
			files++
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.NotContains(t, string(data), "hunter2", path)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
			return nil
		}))
		assert.GreaterOrEqual(t, files, 4)
	}
	assertNoSecret()
	for _, s := range stats(t, p.pid(t, c)) {
		assert.NotContains(t, s, "hunter2")
	}

	// A supervisor that is killed takes them with it. The next command brings those it has.
	p.kill(t, c)
	o.Secrets = map[string]string{"TOKEN": "new-secret"}
	c = p.open(t, o)
	require.ErrorContains(t, c.Alive(bounded(t), deploy.Blue),
		"slot blue is lost: it needs the secrets COMMON, URL again, which are not kept on disk; release again")
	assertNoSecret()
	o.Secrets = map[string]string{"TOKEN": "new-secret", "URL": "new-url", "COMMON": secret}
	c = p.open(t, o)
	require.NoError(t, c.Alive(bounded(t), deploy.Blue))
	eventually(t, "it has them", func() bool {
		logs, err := c.Logs(bounded(t), deploy.Blue)
		return err == nil && logs["api"] == "token ***, ***, ***\n"
	})
	assertNoSecret()

	release.Units[0].Command = []string{"echo", secret}
	_, err = c.Start(bounded(t), deploy.Green, release)
	require.ErrorContains(t, err, "the command of component api holds a secret's value")
	assert.NotContains(t, err.Error(), "hunter2")
}

// stats is what the process list shows of a process.
func stats(t *testing.T, pid int) (texts []string) {
	t.Helper()
	for _, name := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		require.NoError(t, err)
		texts = append(texts, string(data))
	}
	return texts
}

func TestASupervisorThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	p := newPlace(t)
	p.route = true
	o := p.options()
	o.Listen = taken.Addr().String()
	_, err = Open(bounded(t), o)
	require.ErrorContains(t, err, "start the router on "+o.Listen)
	require.ErrorContains(t, err, "address already in use")
	o = p.options()
	o.Launch = []string{"/no/such/program"}
	_, err = Open(bounded(t), o)
	require.ErrorContains(t, err, "launch the supervisor: fork/exec /no/such/program: no such file or directory")
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, stateFile), []byte(`{"version": 7}`), 0o600))
	_, err = Open(bounded(t), p.options())
	require.ErrorContains(t, err, "it has format 7, this program reads 1; `pipeline down` removes the environment")
}

func TestTheSocketIsTheOwnersAlone(t *testing.T) {
	p := newPlace(t)
	p.open(t, p.options())
	for name, want := range map[string]os.FileMode{"": 0o700, socketFile: 0o600, lockFile: 0o600, ownLog: 0o600} {
		info, err := os.Stat(filepath.Join(p.dir, name))
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().Perm(), name)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	for text, message := range map[string]any{
		"the start has no token":                                startMessage{},
		"is there twice or has no name":                         startMessage{Token: "t", Release: deploy.Release{Units: []deploy.Unit{{}}}},
		`unknown field "tokens"`:                                map[string]string{"tokens": "x"},
		"the request is over 4 MiB":                             map[string]string{"token": strings.Repeat("x", maxMessage)},
		"token must be string":                                  json.RawMessage(`{"token": 4711}`),
		"it has neither a command nor static files; set serve.": startMessage{Token: "t", Release: deploy.Release{Units: []deploy.Unit{{Component: "a"}}}},
	} {
		err := c.call(bounded(t), http.MethodPut, slotPath(deploy.Blue), message, nil)
		require.ErrorContains(t, err, text)
	}
	require.ErrorContains(t, c.call(bounded(t), http.MethodPut, slotPath("../x"), startMessage{Token: "t"}, nil), `"../x" is no name for a slot`)
	require.ErrorContains(t, c.call(bounded(t), http.MethodGet, "/nothing", nil, nil), "there is no GET /v1/nothing")
	require.ErrorContains(t, c.call(bounded(t), http.MethodDelete, slotPath(deploy.Blue), stopMessage{Milliseconds: -1}, nil), "limit_ms is -1")
	status, err := c.Status(bounded(t))
	require.NoError(t, err)
	assert.Empty(t, status.Slots)
}

func TestDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		state, home, application, environment, want, problem string
	}{
		"by default":            {"", "/home/u", "shop", "staging", "/home/u/.local/state/pipeline/shop/staging", ""},
		"where XDG says":        {"/s", "/home/u", "shop", "staging", "/s/pipeline/shop/staging", ""},
		"a relative XDG is not": {"s", "/home/u", "shop", "staging", "/home/u/.local/state/pipeline/shop/staging", ""},
		"nowhere":               {"", "", "shop", "staging", "", "set one of them"},
		"too long for a socket": {"/" + strings.Repeat("x", 80), "", "shop", "staging", "", "set XDG_STATE_HOME to a shorter directory"},
		"not outside":           {"/s", "", "..", "staging", "", `".." is no name`},
		"not below":             {"/s", "", "shop", "a/b", "", `"a/b" is no name`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Directory(c.application, c.environment, func(name string) string {
				return map[string]string{"XDG_STATE_HOME": c.state, "HOME": c.home}[name]
			})
			if c.problem != "" {
				require.ErrorContains(t, err, c.problem)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestWorkersAreQuietAndTheRestGoesOn(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	require.NoError(t, c.Quiet(bounded(t), deploy.Blue), "nothing runs")
	release := app(t, "one", "api", "worker")
	release.Units[1].Routes = nil
	instance, err := c.Start(bounded(t), deploy.Blue, release)
	require.NoError(t, err)
	api, worker := instance.Endpoints["api"].String(), instance.Endpoints["worker"].String()
	serves(t, api, "one")
	serves(t, worker, "one")
	require.NoError(t, c.Quiet(bounded(t), deploy.Blue))
	eventually(t, "the worker has ended", func() bool { return len(p.processes()) == 1 })
	serves(t, api, "one")
	require.NoError(t, c.Alive(bounded(t), deploy.Blue), "it is as it should be")
	require.NoError(t, c.Wake(bounded(t), deploy.Blue))
	serves(t, worker, "one")
	require.NoError(t, c.Alive(bounded(t), deploy.Blue))
	require.NoError(t, c.Quiet(bounded(t), deploy.Blue))
	require.NoError(t, c.Stop(bounded(t), deploy.Blue))
	assert.Empty(t, p.processes())
}
