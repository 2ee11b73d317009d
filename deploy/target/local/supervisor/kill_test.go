package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

// dies says where the supervisor, or a client, will die.
func (p *place) dies(t *testing.T, point string) {
	t.Helper()
	require.NoError(t, os.WriteFile(p.point, []byte(point), 0o600))
}

// died checks that it has.
func (p *place) died(t *testing.T) {
	t.Helper()
	eventually(t, "nobody came by the point", func() bool { _, err := os.Stat(p.point); return err != nil })
}

// known checks that every slot is whole or empty, and that nothing else runs. It returns the slots that run.
func (p *place) known(t *testing.T, c *Client) map[deploy.Slot]SlotStatus {
	t.Helper()
	found := map[deploy.Slot]SlotStatus{}
	var status Status
	eventually(t, "the state is known", func() bool {
		var err error
		status, err = c.Status(bounded(t))
		require.NoError(t, err)
		units := 0
		for _, one := range status.Slots {
			if one.Phase != string(running) {
				return false
			}
			units += len(one.Units)
		}
		return len(p.processes()) == units
	})
	for _, one := range status.Slots {
		found[one.Slot] = one
		assert.Len(t, one.Units, 2, "slot %s", one.Slot)
		for _, u := range one.Units {
			serves(t, u.URL, one.Release)
		}
	}
	return found
}

// A supervisor that is killed, wherever: the next command finds the serving slot on its address, and the other one whole
// or empty, as the point says.
func TestASupervisorIsKilledAtEveryPoint(t *testing.T) {
	const boot, start, stop = "boot", "start", "stop"
	for _, c := range []struct {
		while, point string
		green        bool // whether green is there afterwards
	}{
		{boot, "locked", false},
		{boot, "restoring", false},
		{boot, "start: written", false},
		{boot, "start: started", false},
		{boot, "start: recorded", false},
		{boot, "restored", false},
		{boot, "routing", false},
		{boot, "listening", false},
		{start, "start: asked", false},
		{start, "start: written", false},
		{start, "start: started", false},
		{start, "start: recorded", true},
		{start, "answered: PUT", true},
		{stop, "stop: asked", true},
		{stop, "stop: written", false},
		{stop, "stop: stopped", false},
		{stop, "stop: recorded", false},
		{stop, "answered: DELETE", false},
	} {
		t.Run(c.while+" at "+c.point, func(t *testing.T) {
			p := newPlace(t)
			p.route = c.while == boot
			client := p.open(t, p.options())
			blue, err := client.Start(bounded(t), deploy.Blue, app(t, "one", "api", "page"))
			require.NoError(t, err)
			for _, url := range blue.Endpoints {
				serves(t, url.String(), "one")
			}
			next := app(t, "two", "api", "page")
			if c.while == stop {
				_, err := client.Start(bounded(t), deploy.Green, next)
				require.NoError(t, err)
			}

			switch c.while {
			case boot:
				p.kill(t, client)
				p.dies(t, c.point)
				_, err = Open(bounded(t), p.options())
				if c.point != "listening" { // it may have answered already
					require.ErrorContains(t, err, "signal: killed")
				}
			case start:
				p.dies(t, c.point)
				_, err = client.Start(bounded(t), deploy.Green, next)
				require.Error(t, err)
			case stop:
				p.dies(t, c.point)
				require.Error(t, client.Stop(bounded(t), deploy.Green))
			}
			eventually(t, "the supervisor is gone", func() bool { return !answers(t.Context(), p.dir) })
			p.died(t)

			client = p.open(t, p.options())
			slots := p.known(t, client)
			require.Contains(t, slots, deploy.Blue)
			for _, u := range slots[deploy.Blue].Units {
				assert.Equal(t, blue.Endpoints[u.Component].String(), u.URL, "the router leads there")
			}
			assert.Equal(t, c.green, slots[deploy.Green].Phase == string(running))

			require.NoError(t, client.Stop(bounded(t), deploy.Green), "and on it goes")
			_, err = client.Start(bounded(t), deploy.Green, next)
			require.NoError(t, err)
			assert.Len(t, p.known(t, client), 2)
		})
	}
}

func TestASupervisorIsKilledAtEveryPointOfADown(t *testing.T) {
	for _, point := range []string{"drained", "answered: POST", "removing"} {
		t.Run(point, func(t *testing.T) {
			p := newPlace(t)
			p.route = true
			client := p.open(t, p.options())
			_, err := client.Start(bounded(t), deploy.Blue, shell("sleep 600"))
			require.NoError(t, err)
			p.dies(t, point)
			_, first := Down(bounded(t), p.dir)
			if point == "drained" {
				require.Error(t, first)
			}
			p.died(t)
			_, err = Down(bounded(t), p.dir)
			require.NoError(t, err, "the next one finishes it")
			assert.Empty(t, p.processes())
			assert.NoFileExists(t, p.dir)
		})
	}
}

// With a keeper the command that is at it goes on, too.
func TestACommandSurvivesItsSupervisor(t *testing.T) {
	for _, c := range []struct {
		point string
		start bool // whether a start fails; what it began is taken back
	}{
		{"start: asked", true}, {"start: written", true}, {"start: started", true}, {"start: recorded", true}, {"answered: PUT", true},
		{"stop: asked", false}, {"stop: written", false}, {"stop: stopped", false}, {"stop: recorded", false}, {"answered: DELETE", false},
	} {
		t.Run(c.point, func(t *testing.T) {
			p := newPlace(t)
			p.keep = true
			client := p.open(t, p.options())
			_, err := client.Start(bounded(t), deploy.Blue, app(t, "one", "api", "page"))
			require.NoError(t, err)
			next := app(t, "two", "api", "page")
			if c.start {
				p.dies(t, c.point)
				_, err = client.Start(bounded(t), deploy.Green, next)
				require.Error(t, err)
			} else {
				_, err = client.Start(bounded(t), deploy.Green, next)
				require.NoError(t, err)
				p.dies(t, c.point)
				require.NoError(t, client.Stop(bounded(t), deploy.Green))
			}
			p.died(t)
			slots := p.known(t, client)
			assert.Contains(t, slots, deploy.Blue)
			assert.NotContains(t, slots, deploy.Green)
			_, err = client.Start(bounded(t), deploy.Green, next)
			require.NoError(t, err)
			assert.Len(t, p.known(t, client), 2)
		})
	}
}

// clientTask is what a client in a process of its own is told to do.
type clientTask struct {
	Options Options
	Point   string // the file that says where it dies
	Release *deploy.Release
	Stop    bool
}

func beClient(text string) error {
	var task clientTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	task.Options.at = dieAt(task.Point)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Open(ctx, task.Options)
	if err != nil {
		return err
	}
	if task.Stop {
		return c.Stop(ctx, deploy.Green)
	}
	_, err = c.Start(ctx, deploy.Green, *task.Release)
	return err
}

// runClient runs a client that is killed.
func runClient(t *testing.T, task clientTask) {
	t.Helper()
	text, err := json.Marshal(task)
	require.NoError(t, err)
	cmd := exec.CommandContext(bounded(t), os.Args[0])
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), asClient + "=" + string(text)}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v: %s", err, out)
	require.Equal(t, "signal: killed", exit.Error(), "%s", out)
}

// A command that is killed, wherever: the slot is whole or empty.
func TestACommandIsKilledAtEveryPoint(t *testing.T) {
	for _, c := range []struct {
		name, point        string
		fresh, stop, green bool
	}{
		{name: "before anything", point: "opening", fresh: true},
		{name: "when it has launched the supervisor", point: "launched", fresh: true},
		{name: "when it knows the environment", point: "opened"},
		{name: "when it has asked for a start", point: "sent: PUT"},
		{name: "when the start is done", point: "start: answered", green: true},
		{name: "when it has asked for a stop", point: "sent: DELETE", stop: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			next := app(t, "two", "api", "page")
			if !c.fresh {
				client := p.open(t, p.options())
				_, err := client.Start(bounded(t), deploy.Blue, app(t, "one", "api", "page"))
				require.NoError(t, err)
				if c.stop {
					_, err := client.Start(bounded(t), deploy.Green, next)
					require.NoError(t, err)
				}
			}
			mine := t.TempDir() + "/point"
			require.NoError(t, os.WriteFile(mine, []byte(c.point), 0o600))
			runClient(t, clientTask{Options: p.options(), Point: mine, Release: &next, Stop: c.stop})

			client := p.open(t, p.options())
			if c.stop {
				eventually(t, "the stop is finished", func() bool {
					status, err := client.Status(bounded(t))
					return err == nil && len(status.Slots) == 1
				})
			}
			slots := p.known(t, client)
			assert.Equal(t, !c.fresh, slots[deploy.Blue].Phase == string(running))
			assert.Equal(t, c.green, slots[deploy.Green].Phase == string(running))
			require.NoError(t, client.Stop(bounded(t), deploy.Green))
			_, err := client.Start(bounded(t), deploy.Green, next)
			require.NoError(t, err)
			p.known(t, client)
		})
	}
}

func TestACommandThatGivesUpLeavesNothing(t *testing.T) {
	p := newPlace(t)
	o := p.options()
	ctx, cancel := context.WithCancel(bounded(t))
	o.at = func(point string) {
		if point == "sent: PUT" {
			cancel()
		}
	}
	c := p.open(t, o)
	_, err := c.Start(ctx, deploy.Green, app(t, "one", "api", "page"))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, p.known(t, c))
}

func TestAStopInTimeIsFinishedByKilling(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	release := shell("trap '' TERM; echo up; while :; do sleep .05; done")
	release.Units[0].Stop = time.Hour
	_, err := c.Start(bounded(t), deploy.Blue, release)
	require.NoError(t, err)
	eventually(t, "it runs", func() bool { logs, err := c.Logs(bounded(t), deploy.Blue); return err == nil && logs["api"] == "up\n" })
	ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Stop(ctx, deploy.Blue), context.DeadlineExceeded)
	assert.Empty(t, p.known(t, c))
}
