package supervisor

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func TestSIGTERMKeepsTheStateAndEndsEverything(t *testing.T) {
	p := newPlace(t)
	p.route = true
	c := p.open(t, p.options())
	instance, err := c.Start(bounded(t), deploy.Green, app(t, "one", "api"))
	require.NoError(t, err)
	url := instance.Endpoints["api"].String()
	serves(t, url, "one")
	require.NoError(t, c.Splitter().Register(bounded(t), instance))
	require.NoError(t, c.Splitter().Shift(bounded(t), map[deploy.Slot]int{deploy.Green: 100}))
	status, err := c.Status(bounded(t))
	require.NoError(t, err)
	traffic := status.Router.URL
	serves(t, traffic, "one")

	require.NoError(t, syscall.Kill(status.PID, syscall.SIGTERM))
	eventually(t, "all has ended", func() bool { return len(p.processes()) == 0 && !answers(t.Context(), p.dir) })

	c = p.open(t, p.options())
	serves(t, url, "one")
	serves(t, traffic, "one")
	require.NoError(t, c.Alive(bounded(t), deploy.Green))
}

func TestARouterThatCrashesTakesNothingWithIt(t *testing.T) {
	p := newPlace(t)
	p.route = true
	c := p.open(t, p.options())
	instance, err := c.Start(bounded(t), deploy.Blue, app(t, "one", "api"))
	require.NoError(t, err)
	serves(t, instance.Endpoints["api"].String(), "one")
	require.NoError(t, c.Splitter().Register(bounded(t), instance))
	require.NoError(t, c.Splitter().Shift(bounded(t), map[deploy.Slot]int{deploy.Blue: 100}))
	before, err := c.Status(bounded(t))
	require.NoError(t, err)
	serves(t, before.Router.URL, "one")
	require.NoError(t, syscall.Kill(before.Router.PID, syscall.SIGKILL))
	eventually(t, "the router is started again", func() bool {
		now, err := c.Status(bounded(t))
		return err == nil && now.Router.Ends == 1 && now.Router.PID != 0
	})
	serves(t, before.Router.URL, "one")
	after, err := c.Status(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, before.Slots[0].Units[0].PID, after.Slots[0].Units[0].PID, "the unit has not noticed")
}

func TestDownEndsWhatRunsAndSaysWhat(t *testing.T) {
	p := newPlace(t)
	p.route = true
	c := p.open(t, p.options())
	instance, err := c.Start(bounded(t), deploy.Blue, app(t, "one", "api"))
	require.NoError(t, err)
	api := instance.Endpoints["api"].String()
	serves(t, api, "one")
	require.NoError(t, c.Splitter().Register(bounded(t), instance))
	require.NoError(t, c.Splitter().Shift(bounded(t), map[deploy.Slot]int{deploy.Blue: 100}))
	status, err := c.Status(bounded(t))
	require.NoError(t, err)
	ended, err := Down(bounded(t), p.dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"router on " + strings.TrimPrefix(status.Router.URL, "http://"), "slot blue, release one"}, ended)
	assert.Empty(t, p.processes())
	assert.NoFileExists(t, p.dir)
	ended, err = Down(bounded(t), p.dir)
	require.NoError(t, err, "twice is no error")
	assert.Empty(t, ended)
	require.Error(t, c.Alive(bounded(t), deploy.Blue))
}

func TestDownRemovesWhatAKilledSupervisorLeft(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	_, err := c.Start(bounded(t), deploy.Blue, shell("sleep 600"))
	require.NoError(t, err)
	p.kill(t, c)
	ended, err := Down(bounded(t), p.dir)
	require.NoError(t, err)
	assert.Empty(t, ended)
	assert.Empty(t, p.processes(), "it waits until the last one is gone")
	assert.NoFileExists(t, p.dir)
}

func TestASupervisorWithoutItsDirectoryEndsWhatItHolds(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	_, err := c.Start(bounded(t), deploy.Blue, shell("exec sleep 600"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(p.dir))
	c = p.open(t, p.options()) // another one, which it must not disturb
	_, err = c.Start(bounded(t), deploy.Green, shell("exec sleep 600"))
	require.NoError(t, err)
	eventually(t, "the first has ended", func() bool { return len(p.processes()) == 1 })
	require.NoError(t, c.Alive(bounded(t), deploy.Green))
	p.kill(t, c)
	c = p.open(t, p.options())
	require.NoError(t, c.Alive(bounded(t), deploy.Green))
	require.ErrorContains(t, c.Alive(bounded(t), deploy.Blue), "runs nothing")
}
