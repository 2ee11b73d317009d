// Package targettest is what every deploy.Target must do. An implementation's test calls Run.
package targettest

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

//go:embed app.py
var app string

// patience bounds every wait for what must happen.
const patience = 60 * time.Second

// Suite is what the tests need of an implementation.
type Suite struct {
	// New makes a target for one test. The suite closes it.
	New func(t *testing.T) deploy.Target
	// Artifact makes files available to the target and returns the reference that a unit names: a directory for
	// processes, an image for containers. What the suite's commands need there is Program; a page's files are served by
	// the target, or by what the image runs when nothing else is said.
	Artifact func(t *testing.T, files map[string]string) string
	// Program runs the suite's application in an artifact. Default: python3 app.py, Python 3.8 or later. An image made
	// from nothing has the program of targettest/app instead.
	Program []string
	// Hidden is the name of an environment variable of the machine that no unit may see; the suite sets it.
	Hidden string
}

// Run runs the suite.
func Run(t *testing.T, suite Suite) {
	if suite.Program == nil {
		suite.Program = []string{"python3", "app.py"}
	}
	if suite.Hidden == "" {
		suite.Hidden = "PIPELINE_TARGETTEST_HIDDEN"
	}
	t.Setenv(suite.Hidden, "seen")
	for _, c := range []struct {
		name string
		test func(*testing.T, *stage)
	}{
		{"a release serves where the target says", serves},
		{"static files are served", servesStatic},
		{"units see their environment and nothing of the machine's", environment},
		{"two slots have addresses of their own", twoSlots},
		{"slots start at the same time", concurrent},
		{"a slot in use takes no second release", inUse},
		{"a start that fails leaves nothing", failedStart},
		{"an end at the start is noticed, with the log", exitAtStart},
		{"logs are told apart by component", logs},
		{"a stop lets a request finish", graceful},
		{"what ignores SIGTERM is killed in time", stubborn},
		{"a stopped slot can be used again", again},
		{"stopping nothing is no error", stopNothing},
		{"close leaves nothing", closes},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &stage{Suite: suite, target: suite.New(t)}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				require.NoError(t, s.target.Close(ctx))
			})
			c.test(t, s)
		})
	}
}

// stage is one test's target.
type stage struct {
	Suite
	target deploy.Target
}

// unit is a unit that answers its name and behaves as mode says.
func (s *stage) unit(t *testing.T, component, name, mode string) deploy.Unit {
	t.Helper()
	return deploy.Unit{
		Component: component, Artifact: s.Artifact(t, map[string]string{"app/app.py": app}), Dir: "app",
		Command: append(slices.Clone(s.Program), "--listen", "$HOST:${PORT}", "$PORTAL", "$OTHER"),
		Env:     map[string]string{"NAME": name, "MODE": mode}, Routes: []string{"/" + component}, Stop: 5 * time.Second,
	}
}

func release(version string, units ...deploy.Unit) deploy.Release {
	return deploy.Release{Version: version, Source: "targettest", Units: units}
}

func (s *stage) start(t *testing.T, slot deploy.Slot, r deploy.Release) deploy.Instance {
	t.Helper()
	instance, err := s.target.Start(bounded(t), slot, r)
	require.NoError(t, err)
	require.Equal(t, slot, instance.Slot)
	require.Equal(t, r, instance.Release)
	return instance
}

// up waits until a component answers.
func (s *stage) up(t *testing.T, i deploy.Instance, component string) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := get(i.Endpoints[component], "/"); return err == nil },
		patience, 20*time.Millisecond, "component %s does not answer", component)
}

// gone waits until nobody answers at an address any more: Stop has returned, but a container's port may take a moment.
func gone(t *testing.T, endpoint *url.URL) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := get(endpoint, "/"); return err != nil }, 5*time.Second, 20*time.Millisecond,
		"%s still answers", endpoint)
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(endpoint *url.URL, path string) (string, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, endpoint.JoinPath(path).String(), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, data)
	}
	return string(data), err
}
