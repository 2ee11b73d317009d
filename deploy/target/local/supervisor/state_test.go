package supervisor

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

// Whatever the variables are: what is written holds no secret, and with the secrets it gives what was there.
func TestSealedAndUnsealedIsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for range 2000 {
		secrets := map[string]string{}
		for range random.IntN(4) {
			secrets[pick("A", "B", "C", "D")] = pick("s3cret", `with "quotes"`, "two\nlines", "päss", "xyz", "s3", "")
		}
		value := func(name string) string {
			if secret, ok := secrets[name]; ok && random.IntN(2) == 0 {
				return secret
			}
			return pick("plain", "", "a=b", "x\ny")
		}
		start := startMessage{Token: "t", Secrets: secrets, Release: deploy.Release{Version: "v1"}}
		names := map[string]bool{}
		for range random.IntN(3) {
			if name := pick("A", "B", "E", "F"); !names[name] {
				names[name] = true
				start.Env = append(start.Env, name+"="+value(name))
			}
		}
		for i := range random.IntN(3) {
			u := deploy.Unit{Component: fmt.Sprint("unit", i), Port: 20000 + i, Stop: time.Second, Env: map[string]string{}}
			for range random.IntN(4) {
				name := pick("A", "B", "C", "D", "E")
				u.Env[name] = value(name)
			}
			start.Release.Units = append(start.Release.Units, u)
		}

		written, err := json.Marshal(state{Version: stateVersion, Slots: map[deploy.Slot]slotState{deploy.Blue: (&slot{phase: running, start: start}).state()}})
		require.NoError(t, err)
		read, err := parseState(written)
		require.NoError(t, err)
		one := read.Slots[deploy.Blue]
		var values []string
		for _, pair := range one.Start.Env {
			_, value, _ := strings.Cut(pair, "=")
			values = append(values, value)
		}
		for _, u := range one.Start.Release.Units {
			for _, value := range u.Env {
				values = append(values, value)
			}
		}
		for _, value := range values {
			require.False(t, start.secret(value), "%q is written: %s", value, written)
		}
		require.Empty(t, one.Start.Secrets)

		lostSlot := &slot{phase: lost, start: one.Start, sealed: one.Sealed}
		back, missing := lostSlot.unseal(secrets)
		require.Empty(t, missing)
		require.ElementsMatch(t, start.Env, back.Env)
		require.Equal(t, start.Release, back.Release)
		// A lost slot that is written again loses nothing more.
		require.Equal(t, one, lostSlotAgain(lostSlot, one.Phase))
	}
}

func lostSlotAgain(s *slot, p phase) slotState {
	out := s.state()
	out.Phase = p
	return roundTrip(out)
}

func roundTrip(s slotState) (out slotState) {
	data, _ := json.Marshal(s)
	_ = json.Unmarshal(data, &out)
	return out
}

func TestAStateThatCannotBeWrittenStopsNothingAndStartsNothing(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	block := func() {
		path := filepath.Join(p.dir, stateFile)
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	}
	block()
	_, err := c.Start(bounded(t), deploy.Blue, shell("sleep 600"))
	require.ErrorContains(t, err, "write state:")
	assert.Equal(t, 1, strings.Count(err.Error(), "write state:"), err)
	assert.Empty(t, p.processes())
	require.NoError(t, os.RemoveAll(filepath.Join(p.dir, stateFile)))
	_, err = c.Start(bounded(t), deploy.Blue, shell("sleep 600"))
	require.NoError(t, err, "the slot is free")
	block()
	require.ErrorContains(t, c.Stop(bounded(t), deploy.Blue), "write state:")
	assert.Empty(t, p.processes())
	require.NoError(t, c.Stop(bounded(t), deploy.Blue))
}

func TestALostSlotSaysWhyAndCanBeUsedAgain(t *testing.T) {
	p := newPlace(t)
	c := p.open(t, p.options())
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		release := shell("sleep 600")
		release.Units[0].Artifact = filepath.Join(t.TempDir(), "artifact")
		require.NoError(t, os.Mkdir(release.Units[0].Artifact, 0o755))
		_, err := c.Start(bounded(t), slot, release)
		require.NoError(t, err)
		defer os.RemoveAll(release.Units[0].Artifact)
		require.NoError(t, os.Remove(release.Units[0].Artifact))
	}
	p.kill(t, c)
	c = p.open(t, p.options())
	require.ErrorContains(t, c.Alive(bounded(t), deploy.Blue), "slot blue is lost: start component api of release v1 in slot blue: stat")
	_, found, err := c.Running(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.False(t, found)
	require.NoError(t, c.Stop(bounded(t), deploy.Blue))
	require.EqualError(t, c.Alive(bounded(t), deploy.Blue), "slot blue runs nothing")
	_, err = c.Start(bounded(t), deploy.Green, shell("sleep 600"))
	require.NoError(t, err)
	require.NoError(t, c.Alive(bounded(t), deploy.Green))
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version": 1, "listen": "127.0.0.1:1", "slots": {"blue": {"phase": "running", "start": {"token": "t", "release": {"Version": "v1", "Units": [{"Component": "a", "Env": {"A": "b"}}]}}, "sealed": {"a": ["B"], "": ["C"]}}}}`))
	f.Add([]byte(`{"version": 1, "slots": {"../x": {"phase": "running"}}}`))
	f.Add([]byte(`{"version": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseState(data)
		if err != nil {
			return
		}
		for name, one := range file.Slots {
			require.NoError(t, checkSlot(name))
			s := &slot{phase: lost, start: one.Start, sealed: one.Sealed}
			_, missing := s.unseal(nil)
			sealed := 0
			for _, names := range one.Sealed {
				sealed += len(names)
			}
			require.LessOrEqual(t, len(missing), sealed)
			_ = s.state()
		}
	})
}
