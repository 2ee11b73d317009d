package targettest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func serves(t *testing.T, s *stage) {
	i := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", ""), s.unit(t, "page", "two", "")))
	require.Len(t, i.Endpoints, 2)
	for component, want := range map[string]string{"api": "one", "page": "two"} {
		s.up(t, i, component)
		answer, err := get(i.Endpoints[component], "/")
		require.NoError(t, err)
		assert.Equal(t, want, answer)
	}
	assert.NoError(t, s.target.Alive(bounded(t), deploy.Blue))
}

func servesStatic(t *testing.T, s *stage) {
	artifact := s.Artifact(t, map[string]string{"web/dist/index.html": "<title>shop</title>", "web/secret.txt": "secret"})
	i := s.start(t, deploy.Blue, release("v1", deploy.Unit{Component: "page", Artifact: artifact, Dir: "web", Static: "dist", Routes: []string{"/"}}))
	s.up(t, i, "page")
	answer, err := get(i.Endpoints["page"], "/")
	require.NoError(t, err)
	assert.Equal(t, "<title>shop</title>", answer)
	answer, _ = get(i.Endpoints["page"], "/../secret.txt")
	assert.NotEqual(t, "secret", answer)
	require.NoError(t, s.target.Stop(bounded(t), deploy.Blue))
	gone(t, i.Endpoints["page"])
}

func environment(t *testing.T, s *stage) {
	unit := s.unit(t, "api", "one", "")
	unit.Env["GREETING"] = "a b\n\"c\" $HOST"
	i := s.start(t, deploy.Blue, release("v1", unit))
	s.up(t, i, "api")
	text, err := get(i.Endpoints["api"], "/environment")
	require.NoError(t, err)
	env := map[string]string{}
	require.NoError(t, json.Unmarshal([]byte(text), &env))
	assert.Equal(t, unit.Env["GREETING"], env["GREETING"], "values are passed as they are")
	assert.NotEmpty(t, env["HOST"])
	assert.NotEmpty(t, env["PORT"])
	assert.NotContains(t, env, s.Hidden)

	text, err = get(i.Endpoints["api"], "/arguments")
	require.NoError(t, err)
	var arguments []string
	require.NoError(t, json.Unmarshal([]byte(text), &arguments))
	assert.Equal(t, []string{"--listen", env["HOST"] + ":" + env["PORT"], "$PORTAL", "$OTHER"}, arguments)
}

func twoSlots(t *testing.T, s *stage) {
	blue := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "old", "")))
	green := s.start(t, deploy.Green, release("v2", s.unit(t, "api", "new", "")))
	assert.NotEqual(t, blue.Endpoints["api"].Host, green.Endpoints["api"].Host)
	s.up(t, blue, "api")
	s.up(t, green, "api")
	old, err := get(blue.Endpoints["api"], "/")
	require.NoError(t, err)
	assert.Equal(t, "old", old)

	require.NoError(t, s.target.Stop(bounded(t), deploy.Blue))
	gone(t, blue.Endpoints["api"])
	answer, err := get(green.Endpoints["api"], "/")
	require.NoError(t, err, "the other slot goes on")
	assert.Equal(t, "new", answer)
}

func concurrent(t *testing.T, s *stage) {
	ctx := bounded(t)
	instances := map[deploy.Slot]*deploy.Instance{deploy.Blue: {}, deploy.Green: {}}
	var all sync.WaitGroup
	for slot, instance := range instances {
		r := release("v1", s.unit(t, "api", string(slot), ""), s.unit(t, "page", string(slot), ""))
		all.Go(func() {
			var err error
			*instance, err = s.target.Start(ctx, slot, r)
			assert.NoError(t, err)
			_ = s.target.Alive(ctx, slot)
			_, _ = s.target.Logs(ctx, slot)
		})
	}
	all.Wait()
	for slot, instance := range instances {
		require.Len(t, instance.Endpoints, 2)
		s.up(t, *instance, "page")
		answer, err := get(instance.Endpoints["page"], "/")
		require.NoError(t, err)
		assert.Equal(t, string(slot), answer)
	}
}

func inUse(t *testing.T, s *stage) {
	i := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", "")))
	s.up(t, i, "api")
	_, err := s.target.Start(bounded(t), deploy.Blue, release("v2", s.unit(t, "api", "two", "")))
	require.ErrorContains(t, err, "blue")
	answer, err := get(i.Endpoints["api"], "/")
	require.NoError(t, err, "the first goes on")
	assert.Equal(t, "one", answer)
}

func failedStart(t *testing.T, s *stage) {
	missing := s.unit(t, "worker", "two", "")
	missing.Command = []string{"no-such-program"}
	_, err := s.target.Start(bounded(t), deploy.Blue, release("v1", s.unit(t, "api", "one", ""), missing))
	require.ErrorContains(t, err, "worker")
	require.ErrorContains(t, err, "no-such-program")
	i := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", "")))
	s.up(t, i, "api")
}

func exitAtStart(t *testing.T, s *stage) {
	s.start(t, deploy.Green, release("v1", s.unit(t, "api", "one", ""), s.unit(t, "page", "two", "exit")))
	var err error
	require.Eventually(t, func() bool { err = s.target.Alive(bounded(t), deploy.Green); return err != nil }, patience, 20*time.Millisecond)
	require.ErrorContains(t, err, "page")
	require.ErrorContains(t, err, "exit code 3")
	require.ErrorContains(t, err, "ModuleNotFoundError: No module named 'fastapi'")
	assert.NotContains(t, err.Error(), "component api", "the other unit is alive")
	require.NoError(t, s.target.Stop(bounded(t), deploy.Green), "what has ended can be stopped")
}

func logs(t *testing.T, s *stage) {
	s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", ""), s.unit(t, "page", "two", "")))
	require.Eventually(t, func() bool {
		logs, err := s.target.Logs(bounded(t), deploy.Blue)
		return err == nil && strings.Contains(logs["api"], "one listens") && strings.Contains(logs["page"], "two listens") &&
			!strings.Contains(logs["api"], "two")
	}, patience, 20*time.Millisecond)
}

func graceful(t *testing.T, s *stage) {
	i := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", "")))
	s.up(t, i, "api")
	type result struct {
		answer string
		err    error
	}
	results := make(chan result, 1)
	go func() {
		answer, err := get(i.Endpoints["api"], "/wait")
		results <- result{answer, err}
	}()
	require.Eventually(t, func() bool { n, err := get(i.Endpoints["api"], "/waiting"); return err == nil && n == "1" }, patience, 20*time.Millisecond)
	require.NoError(t, s.target.Stop(bounded(t), deploy.Blue))
	r := <-results
	require.NoError(t, r.err)
	assert.Equal(t, "finished", r.answer)
	gone(t, i.Endpoints["api"])
}

func stubborn(t *testing.T, s *stage) {
	unit := s.unit(t, "api", "one", "stubborn")
	unit.Stop = 300 * time.Millisecond
	i := s.start(t, deploy.Blue, release("v1", unit))
	s.up(t, i, "api")
	started := time.Now()
	require.NoError(t, s.target.Stop(bounded(t), deploy.Blue))
	assert.GreaterOrEqual(t, time.Since(started), unit.Stop, "it had its time")
	assert.Less(t, time.Since(started), patience/2)
	gone(t, i.Endpoints["api"])
}

func again(t *testing.T, s *stage) {
	for _, version := range []string{"v1", "v2"} {
		i := s.start(t, deploy.Green, release(version, s.unit(t, "api", version, "")))
		s.up(t, i, "api")
		answer, err := get(i.Endpoints["api"], "/")
		require.NoError(t, err)
		assert.Equal(t, version, answer)
		require.NoError(t, s.target.Stop(bounded(t), deploy.Green))
	}
}

func stopNothing(t *testing.T, s *stage) {
	require.NoError(t, s.target.Stop(bounded(t), deploy.Green))
	s.start(t, deploy.Green, release("v1", s.unit(t, "api", "one", "")))
	require.NoError(t, s.target.Stop(bounded(t), deploy.Green))
	require.NoError(t, s.target.Stop(bounded(t), deploy.Green))
}

func closes(t *testing.T, s *stage) {
	blue := s.start(t, deploy.Blue, release("v1", s.unit(t, "api", "one", "")))
	green := s.start(t, deploy.Green, release("v2", s.unit(t, "api", "two", "")))
	s.up(t, blue, "api")
	s.up(t, green, "api")
	require.NoError(t, s.target.Close(bounded(t)))
	gone(t, blue.Endpoints["api"])
	gone(t, green.Endpoints["api"])
	_, err := s.target.Start(context.Background(), deploy.Blue, release("v3", s.unit(t, "api", "three", "")))
	require.Error(t, err, "a closed target starts nothing that nobody would stop")
}
