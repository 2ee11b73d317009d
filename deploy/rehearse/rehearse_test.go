package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/notify"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/migrations/backup"
)

// machine is a platform whose slots are servers of this test and whose steps end as they are told.
type machine struct {
	result map[string]ci.Status // by "version/step"; passed unless named
	starts map[string]error     // by version: Start fails
	answer map[string]func(n int) int

	mu      sync.Mutex
	running map[deploy.Slot]*httptest.Server
	ran     []string
}

func (m *machine) Name() string { return "test" }

func (m *machine) Builder(_ context.Context, app Application, observer ci.Observer) (Builder, error) {
	return builder{m, app.Version}, nil
}

func (m *machine) Services(context.Context, []ci.Service) (map[string]string, error) {
	return map[string]string{}, nil
}
func (m *machine) Target(context.Context) (deploy.Target, error) { return m, nil }
func (m *machine) Dumper() backup.Dumper                         { return nil }
func (m *machine) Cluster() backup.Cluster                       { return nil }

type builder struct {
	*machine
	version string
}

func (b builder) Run(_ context.Context, steps ...ci.Step) ([]ci.Result, error) {
	var results []ci.Result
	for _, s := range steps {
		b.mu.Lock()
		b.ran = append(b.ran, b.version+"/"+s.Name)
		b.mu.Unlock()
		r := ci.Result{Step: s, Status: ci.Passed, Started: time.Now()}
		if status, ok := b.result[b.version+"/"+s.Name]; ok {
			r.Status, r.Err = status, errors.New("told so")
		}
		results = append(results, r)
	}
	return results, nil
}
func (b builder) Artifact(step ci.Step) (string, error) { return b.version + "/" + step.Name, nil }

func (m *machine) Start(_ context.Context, slot deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	if err := m.starts[release.Version]; err != nil {
		return deploy.Instance{}, err
	}
	var n int
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		count := n
		mu.Unlock()
		status := http.StatusOK
		if f := m.answer[release.Version]; f != nil {
			status = f(count)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, release.Version)
	}))
	m.mu.Lock()
	m.running[slot] = server
	m.mu.Unlock()
	at, _ := url.Parse(server.URL)
	return deploy.Instance{Slot: slot, Release: release, Endpoints: map[string]*url.URL{"app": at}}, nil
}
func (m *machine) Alive(context.Context, deploy.Slot) error { return nil }
func (m *machine) Logs(context.Context, deploy.Slot) (map[string]string, error) {
	return map[string]string{"app": "warming up\nboom"}, nil
}
func (m *machine) Stop(_ context.Context, slot deploy.Slot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.running[slot]; s != nil {
		s.Close()
		delete(m.running, slot)
	}
	return nil
}
func (m *machine) Close(ctx context.Context) error {
	return errors.Join(m.Stop(ctx, deploy.Blue), m.Stop(ctx, deploy.Green))
}

func application(t *testing.T, version string) Application {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"package.json": `{"scripts":{"test":"jest"}}`, "package-lock.json": "{}",
		"pipeline.yaml": "version: 1\nname: shop\ncomponents: {app: {path: ., runtimes: [node], serve: {command: [node, s.js], health: /, version: /, start: 1s}}}\n" +
			"checks: {secrets: false}\nrehearsal: {phase: 200ms, rate: 100, clients: 4, requests: [{path: /, expect: 200}, {path: /, method: POST, body: x, expect: 200}]}\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	cfg, err := config.Validate(files)
	require.NoError(t, err)
	return Application{Config: cfg, Files: files, Version: version, Origin: "test"}
}

// told is a notifier that remembers.
type told struct{ messages []notify.Message }

func (n *told) Started(_ context.Context, m notify.Message) { n.messages = append(n.messages, m) }
func (n *told) Finished(_ context.Context, m notify.Message) []string {
	n.messages = append(n.messages, m)
	return []string{"Slack did not answer"}
}

func rehearse(ctx context.Context, t *testing.T, m *machine) (*report.Report, *told) {
	t.Helper()
	m.running = map[deploy.Slot]*httptest.Server{}
	n := &told{}
	out := Run(ctx, Rehearsal{
		Release: application(t, "v2"), Running: application(t, "v1"), Why: "named by the test", Environment: "staging",
		Platform: m, Progress: report.NewProgress(nil, report.Silent), Notifier: n,
	})
	assert.Empty(t, m.running, "slots left running")
	return out, n
}

func names(stages []report.Stage) string {
	var all []string
	for _, s := range stages {
		all = append(all, s.Name+" "+string(s.Status))
	}
	return strings.Join(all, ", ")
}

func TestAReleaseThatServesEveryRequestIsProven(t *testing.T) {
	out, n := rehearse(t.Context(), t, &machine{})
	assert.Equal(t, report.Proven, out.Verdict, out.Reasons)
	assert.Empty(t, out.Reasons)
	assert.Equal(t, "install passed, test passed, build passed, environment passed, running release passed, traffic passed, "+
		"start passed, verify passed, switch passed, bake passed, rollback passed, forward passed, retire passed", names(out.Stages))
	assert.Zero(t, out.Traffic.Failed)
	assert.Greater(t, out.Traffic.Requests, 40)
	assert.True(t, out.Rollback.Proven)
	var marks []string
	for _, m := range out.Traffic.Marks {
		marks = append(marks, m.Label)
	}
	assert.Equal(t, []string{"switch to green", "rollback to blue", "forward to green"}, marks)
	assert.Contains(t, out.Running, "v1")
	require.Len(t, n.messages, 2)
	assert.Nil(t, n.messages[0].Report)
	assert.Equal(t, report.Proven, n.messages[1].Report.Verdict)
	assert.Contains(t, out.Notes, "Slack did not answer")
}

func TestWhatIsWrongDecidesTheVerdict(t *testing.T) {
	fails := func(from int) func(int) int {
		return func(n int) int {
			if n >= from {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}
	}
	tests := map[string]struct {
		machine *machine
		verdict report.Verdict
		reason  string
		last    string
	}{
		"a test fails":                     {&machine{result: map[string]ci.Status{"v2/app/unit": ci.Failed}}, report.Refused, "app/unit", "retire passed"},
		"a step cannot be run":             {&machine{result: map[string]ci.Status{"v2/app/unit": ci.Broken}}, report.Broken, "app/unit", "retire passed"},
		"the build fails":                  {&machine{result: map[string]ci.Status{"v2/app/build": ci.Failed}}, report.Refused, "app/build", "build failed"},
		"the running release has no build": {&machine{result: map[string]ci.Status{"v1/app/build": ci.Failed}}, report.Broken, "cannot be built", "build passed"},
		"the running release stays down":   {&machine{starts: map[string]error{"v1": errors.New("no port")}}, report.Broken, "nothing to rehearse from", "running release failed"},
		"the new release stays down":       {&machine{starts: map[string]error{"v2": errors.New("no port")}}, report.Refused, "no port", "start failed"},
		"the smoke test fails":             {&machine{answer: map[string]func(int) int{"v2": fails(3)}}, report.Refused, "smoke test", "verify failed"},
		"it fails under traffic":           {&machine{answer: map[string]func(int) int{"v2": fails(12)}}, report.Refused, "new release: ", "bake failed"},
		"the running one fails under it":   {&machine{answer: map[string]func(int) int{"v1": fails(9)}}, report.Broken, "before anything is changed", "traffic failed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, _ := rehearse(t.Context(), t, test.machine)
			assert.Equal(t, test.verdict, out.Verdict, out.Reasons)
			require.NotEmpty(t, out.Reasons)
			assert.Contains(t, out.Reasons[0], test.reason)
			assert.Contains(t, names(out.Stages), test.last)
		})
	}
}

func TestTheLogOfASlotThatWasGivenUpIsInTheReport(t *testing.T) {
	m := &machine{answer: map[string]func(int) int{"v2": func(n int) int { return http.StatusServiceUnavailable }}}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	out, _ := rehearse(ctx, t, m)
	require.NotEmpty(t, out.Failures)
	assert.Contains(t, out.Failures[0].Message, "boom")
}

func TestAnInterruptedRehearsalSaysSoAndLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	m := &machine{answer: map[string]func(int) int{"v2": func(int) int {
		cancel(errors.New("received interrupt"))
		return http.StatusOK
	}}}
	out, _ := rehearse(ctx, t, m)
	assert.Equal(t, report.Broken, out.Verdict)
	assert.Contains(t, out.Reasons[0], "received interrupt")
}
